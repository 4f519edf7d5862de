"""Confidence intervals of means over images."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean of one value per image.

    The spread is that between images (patients), not pixels or nuclei, since a new test set would
    consist of new images. For normally distributed values the interval misses the true mean in 5 %
    of cases, whatever their number; for as skewed ones as the exponential distribution's in 11 % of
    cases with 6 images and 9 % with 14. The percentile bootstrap misses more: 14 % and 9 % for
    normal values, 20 % and 12 % for exponential ones.

    Args:
        values: one per image, undefined ones left out.

    Returns:
        The ends of the 95 % interval, both the mean if all values are equal; None for fewer than
        two values, which say nothing about their spread.
    """
    count = len(values)
    if count < 2:
        return None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / count**0.5
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    return mean - reach, mean + reach
