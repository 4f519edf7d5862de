"""The networks, a folder each, and what they share."""
