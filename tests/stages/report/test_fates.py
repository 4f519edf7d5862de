"""How many nuclei of each size had which fate."""

from pathlib import Path

import numpy as np
import pytest

from monuseg.formats.images import write_labels
from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.rows import Row
from stages.report.fates import count_fates


def test_nuclei_are_counted_by_quarters_of_the_true_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/masks", "data/nuclei/unet"):
        (tmp_path / folder).mkdir(parents=True)
    truth = np.repeat([1, 0, 2, 0, 3, 0, 4], [2, 2, 4, 2, 6, 2, 8])[None].astype(np.uint16)
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
