"""Whether one row is better than another, from the same images."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from monuseg.scoring.intervals import LEVEL, interval
from monuseg.scoring.per_image import values
from monuseg.scoring.rows import Row

# With fewer, all differences have the same sign by chance alone in more than one case of twenty:
# only their distribution, which so few do not show, can make an interval of 95 %.
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
        left_out: how many images define the score in only one of the two rows.
    """

    images: int
    mean: float
    low: float
    high: float
    wins: int
    left_out: int = 0

    @property
    def holds(self) -> bool:
        """Whether the interval leaves out 0, so that one row may be called better."""
        return self.low > 0 or self.high < 0


class Pair(NamedTuple):
    """Two rows, and how much higher the first scores.

    Attributes:
        first: a row.
        second: another.
        found: the difference in each score; None if too few images define the score.
    """

    first: Row
    second: Row
    found: Mapping[str, Difference | None]


def difference(first: Sequence[float | None], second: Sequence[float | None]) -> Difference | None:
    """The paired difference between two rows, with its t interval.

    Images differ far more from each other than rows do on one image, so the rows' own intervals may
    overlap although the difference is certain.

    Args:
        first: a score of each image, None where it is undefined.
        second: the same images' score in another row.

    Returns:
        The difference; None if fewer than two images define the score in both rows.
    """
    pairs = [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if one is not None and other is not None
    ]
    differences = [one - other for one, other in pairs]
    ends = interval(differences)
    if ends is None:
        return None
    wins = sum(one > other for one, other in pairs)
    defined = len(first) + len(second) - first.count(None) - second.count(None)
    left_out = defined - 2 * len(pairs)
    return Difference(len(pairs), float(np.mean(differences)), *ends, wins, left_out)


def compare(
    rows: Sequence[Row], images: Mapping[str, pd.DataFrame], names: Collection[str]
) -> list[Pair]:
    """Compare every pair of rows that have scores of images, in the order of the rows.

    Args:
        rows: of one run.
        images: by row, as `monuseg.scoring.per_image.read_images` returns them.
        names: of the scores.
    """
    scored = [(row, images[row.key]) for row in rows if row.key in images]
    return [
        Pair(one, two, {name: difference(values(a, name), values(b, name)) for name in names})
        for (one, a), (two, b) in combinations(scored, 2)
    ]


def odds(comparisons: int) -> str:
    """How often "holds" is chance, as a sentence.

    Args:
        comparisons: how many intervals there are, at least one.
    """
    expected = comparisons * (1 - LEVEL)
    return (
        "Where there is no difference, an interval of 95 % still leaves out 0 by chance once in "
        f"{1 / (1 - LEVEL):.0f}; if there were none at all, {expected:.2g} of the {comparisons} "
        "intervals here would be expected to."
    )


def cautions(found: Iterable[tuple[str, Difference | None]]) -> list[str]:
    """A sentence of warning for each number of images that is small; none if all are enough.

    Args:
        found: differences, each with the title of its score.
    """
    titles: dict[int, list[str]] = defaultdict(list)
    for title, one in found:
        if one and one.images < FEWEST_IMAGES and title not in titles[one.images]:
            titles[one.images].append(title)
    return [
        f"{', '.join(titles[images])}: {images} images are few. An interval of 95 % then rests on "
        "differences that are normally distributed, which so few do not show; by chance alone, all "
        f"{images} have the same sign in one case of {2 ** (images - 1)}."
        for images in sorted(titles)
    ]
