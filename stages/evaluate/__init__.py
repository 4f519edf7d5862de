"""Stage evaluate@ROW: one row's predictions scored against the masks."""
