"""What became of nuclei."""

import numpy as np
import pytest

from monuseg.formats.images import Labels
from monuseg.scoring.fates import fates_of


def strip(*runs: tuple[int, int]) -> Labels:
    """A label map of one row: lengths and labels."""
    return np.concatenate([np.full(length, label, np.uint16) for length, label in runs])[None]


@pytest.mark.parametrize(
    ("truth", "predicted", "fates"),
    [
        # IoU 6 / 10 matches, 5 / 10 does not: then it is missed, and what was found is invented.
        (strip((10, 1)), strip((6, 1), (4, 0)), [(10, "matched")]),
        (strip((10, 1)), strip((5, 1), (5, 0)), [(10, "missed"), (5, "invented")]),
        (strip((10, 1)), strip((10, 0)), [(10, "missed")]),
        (strip((4, 1), (4, 2)), strip((8, 7)), [(4, "merged"), (4, "merged")]),
        # One of the two is large enough for a match.
        (strip((7, 1), (3, 2)), strip((10, 7)), [(7, "matched"), (3, "merged")]),
        (strip((10, 1)), strip((5, 1), (5, 2)), [(10, "split")]),
        # A piece beside a match is part of no split, and a false positive as for PQ.
        (strip((10, 1)), strip((6, 1), (4, 2)), [(10, "matched"), (4, "invented")]),
        (strip((10, 0)), strip((4, 3), (6, 0)), [(4, "invented")]),
        (strip((10, 0)), strip((10, 0)), []),
    ],
)
def test_fate(truth: Labels, predicted: Labels, fates: list[tuple[int, str]]) -> None:
    assert fates_of(truth, predicted).to_records(index=False).tolist() == fates
