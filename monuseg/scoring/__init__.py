"""Scores of pixels and nuclei, their intervals, and paired comparison."""
