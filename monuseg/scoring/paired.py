"""Whether one row is better than another, from the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monuseg.scoring.intervals import interval

# With fewer, all differences have the same sign by chance alone in more than one case of twenty, so
# they allow no interval of 95 %.
FEWEST_IMAGES = 6


@dataclass(frozen=True)
class Difference:
    """How much higher one row scores than another.

    Attributes:
        images: how many define the score in both rows.
        mean: mean of the differences image by image.
        low: lower end of its 95 % interval.
        high: upper end.
        wins: on how many images the first row is higher.
    """

    images: int
    mean: float
    low: float
    high: float
    wins: int

    @property
    def holds(self) -> bool:
        """Whether the interval leaves out 0, so that one row may be called better."""
        return self.low > 0 or self.high < 0


def difference(
    first: Sequence[float | None], second: Sequence[float | None], *, resamples: int, seed: int
) -> Difference | None:
    """The paired bootstrap of the difference between two rows.

    Images differ far more from each other than rows do on one image, so the rows' own intervals may
    overlap although the difference is certain.

    Args:
        first: a score of each image, None where it is undefined.
        second: the same images' score in another row.
        resamples: how often to draw as many images with replacement.
        seed: of the draws.

    Returns:
        The difference; None if fewer than two images define the score in both rows.
    """
    pairs = [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if one is not None and other is not None
    ]
    differences = [one - other for one, other in pairs]
    ends = interval(differences, resamples=resamples, seed=seed)
    if ends is None:
        return None
    wins = sum(one > other for one, other in pairs)
    return Difference(len(pairs), float(np.mean(differences)), *ends, wins)


def caution(images: int) -> str:
    """A sentence of warning about a comparison of few images; empty if they are enough.

    If all differences have the same sign, so has every resampled mean, however few there are.
    """
    if images < 2 or images >= FEWEST_IMAGES:  # fewer than two have no interval at all
        return ""
    return (
        f"{images} images are too few for an interval of 95 %: of two rows that are equally good, "
        f"one is higher on all {images} in one case of {2 ** (images - 1)}."
    )
