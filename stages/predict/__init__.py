"""Stage predict@MODEL: a trained model applied to whole images."""
