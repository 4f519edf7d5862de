"""The threshold of one image: where the outline of its mask runs along the boundary it predicts.

A network that is less sure on one slide than on another finds smaller nuclei there with one
threshold for both. Its output `boundary` says where edges are all the same, however sure it is: of
all thresholds, that of an image is the one whose outline has the highest mean P(boundary).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Sums = npt.NDArray[np.float64]

# 0.20, 0.22 ... 0.80
THRESHOLDS = tuple(percent / 100 for percent in range(20, 81, 2))
_LEVELS = np.array(THRESHOLDS, np.float32)
# Pairs of pixels that an outline parts, and their share of the longest outline's, below which its
# mean is of a few nuclei. On real images, outlines at all thresholds have two thirds of it.
SHORTEST = 200
LEAST_SHARE = 0.5
ROWS = 256  # worked on at once


@dataclass(frozen=True)
class Outlines:
    """The outlines of an image's mask at each of `THRESHOLDS`; those of parts can be added up.

    Attributes:
        lengths: (thresholds,) how many pairs of neighbouring pixels each parts, row by row and
            column by column.
        boundary: (thresholds,) the sum over these of the pair's mean P(boundary).
    """

    lengths: Sums
    boundary: Sums

    @classmethod
    def none(cls) -> Self:
        """Of no pixels."""
        return cls(np.zeros(len(_LEVELS)), np.zeros(len(_LEVELS)))

    @classmethod
    def of(cls, nucleus: Floats, boundary: Floats) -> "Outlines":
        """Those of an image, or of a part of one.

        Args:
            nucleus: (height, width) P(nucleus).
            boundary: (height, width) P(boundary).
        """
        found: Outlines = cls.none()
        height = len(nucleus)
        for top in range(0, height, ROWS):
            # With the next part's first row: neighbours across the seam count once.
            part = slice(top, min(top + ROWS + 1, height))
            found = found + cls._of_rows(
                np.asarray(nucleus[part], np.float32),
                np.asarray(boundary[part], np.float32),
                last=top + ROWS >= height,
            )
        return found

    @classmethod
    def _of_rows(cls, nucleus: Floats, boundary: Floats, *, last: bool) -> Self:
        # The number of thresholds that each pixel reaches.
        reached = np.searchsorted(_LEVELS, nucleus, side="right")
        own = slice(None) if last else slice(-1)
        pairs = [
            (reached[1:], reached[:-1], boundary[1:], boundary[:-1]),
            (reached[own, 1:], reached[own, :-1], boundary[own, 1:], boundary[own, :-1]),
        ]
        sums = [np.zeros(len(_LEVELS) + 1), np.zeros(len(_LEVELS) + 1)]
        for first, second, edge, other in pairs:
            parted = first != second
            low, high = first[parted], second[parted]
            low, high = np.minimum(low, high), np.maximum(low, high)
            mean = (edge[parted].astype(np.float64) + other[parted]) / 2
            # Parted by the thresholds that the lower one misses and the higher one reaches.
            for total, weights in zip(sums, (None, mean), strict=True):
                total += np.bincount(low, weights, len(total))
                total -= np.bincount(high, weights, len(total))
        lengths, boundaries = (np.cumsum(total)[:-1] for total in sums)
        return cls(lengths, boundaries)

    def __add__(self, other: "Outlines") -> "Outlines":
        return Outlines(self.lengths + other.lengths, self.boundary + other.boundary)

    @property
    def threshold(self) -> float | None:
        """The one of highest mean P(boundary), the lowest of equals.

        None if all outlines are too short, or there is no boundary along any.
        """
        long = self.lengths >= max(SHORTEST, LEAST_SHARE * self.lengths.max())
        if not long.any():
            return None
        mean = np.where(long, self.boundary / np.maximum(self.lengths, 1), -1)
        best = int(mean.argmax())
        return THRESHOLDS[best] if mean[best] > 0 else None


def shifted(probability: Floats, own: float, common: float) -> Floats:
    """P(nucleus) as if the threshold `own` were `common`: shifted in logits, in single precision.

    So what is chosen on other images for a probability, as how sure a nucleus must be, holds here.

    Args:
        probability: of any shape.
        own: the image's threshold.
        common: what it becomes.
    """
    # p' / (1 - p') = p / (1 - p) * factor
    factor = np.float32(common / (1 - common) * (1 - own) / own)
    p = np.asarray(probability, np.float32)
    return np.asarray(p * factor / (p * factor + (1 - p)), np.float32)
