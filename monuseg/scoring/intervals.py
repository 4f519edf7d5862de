"""Confidence intervals by resampling images, and block `intervals`, which configures them."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from monuseg.core.params import LARGEST_SEED, Block

LEVEL = 0.95


class IntervalParams(Block):
    """Block `intervals`.

    Attributes:
        resamples: how often the images are resampled for 95 % intervals.
        seed: of the draws.
    """

    key: ClassVar[str] = "intervals"

    resamples: int = Field(ge=1, le=1_000_000)
    seed: int = Field(ge=0, le=LARGEST_SEED)


def interval(values: Sequence[float], *, resamples: int, seed: int) -> tuple[float, float] | None:
    """The percentile bootstrap interval of the mean of one value per image.

    Images (patients) are resampled, not pixels or nuclei, since a new test set would consist of new
    images. The same number of images and the same seed give the same resamples, so intervals of
    different rows are comparable.

    Args:
        values: one per image, undefined ones left out.
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
