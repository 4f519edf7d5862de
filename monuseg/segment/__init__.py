"""Trained models applied to a user's own images; not part of the graph."""
