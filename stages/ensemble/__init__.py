"""Stage ensemble: the mean of all models' probabilities."""
