"""Intervals by resampling images."""

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


def interval(values: Sequence[float], *, resamples: int, seed: int) -> tuple[float, float] | None:
    """The percentile bootstrap interval of the mean of one value an image.

    Images (patients) are what a new test set would draw anew, not pixels or nuclei. Values of the
    same images with the same seed are resampled alike, so that intervals of rows compare.

    Args:
        values: one an image, undefined ones left out.
        resamples: how often to draw as many images with replacement.
        seed: of the draws.

    Returns:
        The ends of the middle 95 % of the resampled means; None for fewer than two values, which
        say nothing about their spread.
    """
    if len(values) < 2:
        return None
    count = len(values)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    means = np.asarray(values, np.float64)[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
