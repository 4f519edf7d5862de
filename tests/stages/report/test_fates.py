"""What became of nuclei."""

from pathlib import Path

import numpy as np
import pytest

from monuseg.formats.images import Labels, write_labels
from monuseg.formats.manifest import SplitRecord
from stages.report.fates import count_fates, fates_of
from stages.report.rows import Row


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


def test_nuclei_are_counted_by_quarters_of_the_true_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/masks", "data/nuclei/unet"):
        (tmp_path / folder).mkdir(parents=True)
    truth = strip((2, 1), (2, 0), (4, 2), (2, 0), (6, 3), (2, 0), (8, 4))
    write_labels(tmp_path / "data/masks/a.png", truth)
    write_labels(tmp_path / "data/nuclei/unet/a.png", np.where(truth == 3, 0, truth))
    records = [SplitRecord("a", "colon", "test", 0.25, 0.25, "aperio-xml")]
    found = count_fates(records, [Row("unet", {})])
    assert found is not None
    assert found.to_numpy().tolist() == [
        ["U-Net", "under 4 px", "matched", 1],
        ["U-Net", "4 to 4 px", "matched", 1],
        ["U-Net", "5 to 6 px", "missed", 1],
        ["U-Net", "7 px and more", "matched", 1],
    ]


def test_without_true_nuclei_there_is_nothing_to_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/masks", "data/nuclei/unet"):
        (tmp_path / folder).mkdir(parents=True)
        write_labels(tmp_path / folder / "a.png", np.zeros((4, 4), np.uint16))
    records = [SplitRecord("a", "colon", "test", 0.25, 0.25, "aperio-xml")]
    assert count_fates(records, [Row("unet", {})]) is None
    assert count_fates([], [Row("unet", {})]) is None
