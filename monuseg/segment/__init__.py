"""Trained models applied to a user's own images; no part of the graph."""
