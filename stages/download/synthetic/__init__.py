"""Synthetic H&E slides with known nuclei, in the layout of the official archives."""
