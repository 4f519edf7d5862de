"""Batches, augmentation, losses and the loop."""
