"""The networks, one folder each, and what they share."""
