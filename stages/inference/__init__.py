"""From a model to probabilities, and from those to nuclei."""
