"""Stage report: the page of tables, curves and pictures."""
