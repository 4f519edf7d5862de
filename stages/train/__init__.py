"""Stage train@MODEL: one model trained on the training tiles."""
