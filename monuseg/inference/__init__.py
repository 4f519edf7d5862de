"""From a model to the probabilities of an image of any size."""
