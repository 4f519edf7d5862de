"""Scores of pixels and of nuclei; imports no Keras."""
