"""Whether one row is better than another, from the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monuseg.scoring.intervals import interval

# With fewer, all differences have one sign by chance alone more often than in one case of twenty,
# so that no interval of 95 % can be had from them.
FEWEST_IMAGES = 6


@dataclass(frozen=True)
class Difference:
    """How much higher one row scores than another.

    Attributes:
        images: how many define the score in both rows.
        mean: of the differences, image by image.
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

    Images differ far more among themselves than rows do on one image, so that intervals of the
    rows apart may overlap where the difference is certain.

    Args:
        first: a score of each image, None where it is undefined.
        second: the same images' score in another row.
        resamples: how often to draw as many images with replacement.
        seed: of the draws.

    Returns:
        None if fewer than two images define the score in both.
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
    """What to say of a comparison of few images, in a sentence; nothing where they are enough.

    A resampled mean has the sign of all differences if they share one, however few they are.
    """
    if images < 2 or images >= FEWEST_IMAGES:  # of fewer than two there is no interval at all
        return ""
    return (
        f"{images} images are too few for an interval of 95 %: of two rows that are equally good, "
        f"one is higher on all {images} in one case of {2 ** (images - 1)}."
    )
