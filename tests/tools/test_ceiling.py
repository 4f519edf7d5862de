"""What post-processing makes of true maps."""

import argparse

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import MASKS, SPLITS
from tools import ceiling


def discs(centres: list[tuple[int, int]], radius: int = 12, side: int = 120) -> np.ndarray:
    labels = np.zeros((side, side), np.uint16)
    rows, columns = np.mgrid[:side, :side]
    for number, (row, column) in enumerate(centres, start=1):
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        labels[inside & (labels == 0)] = number
    return labels


def written(labels: np.ndarray, split: str = "train") -> None:
    MASKS.mkdir(parents=True)
    write_labels(MASKS / "a.png", labels)
    record = SplitRecord("a", "lung", split, 0.25, 0.25, "outlines")
    write_records(SPLITS, [record])


def by_name(rows: list[dict[str, str | float | None]]) -> dict[tuple[str, str], float]:
    return {(str(row["maps"]), str(row["separation"])): float(row["AJI"] or 0) for row in rows}


def test_separate_nuclei_come_back_whole_from_true_maps(project: object) -> None:
    written(discs([(30, 30), (80, 80)]))
    found = by_name(ceiling.ceilings("a", boundary_width=4))
    assert found["stride 1", "boundary"] == found["stride 1", "distance"] == 1


def test_touching_nuclei_are_lost_as_maps_get_coarser(project: object) -> None:
    written(discs([(50, 40), (50, 63)]))
    found = by_name(ceiling.ceilings("a", boundary_width=4))
    assert found["stride 1", "boundary"] > 0.95
    assert found["stride 4", "boundary"] < found["stride 1", "boundary"]
    assert found["blur of 3 px", "distance"] < found["stride 1", "distance"]


def test_the_table_has_a_line_a_way_of_spoiling(
    project: object, capsys: pytest.CaptureFixture[str]
) -> None:
    written(discs([(30, 30), (80, 80)]))
    ceiling.main(argparse.Namespace())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mean of 1 training and validation images:"
    assert [line[:12].rstrip() for line in lines[-5:]] == [
        "stride 1",
        "stride 2",
        "stride 4",
        "blur of 2 px",
        "blur of 3 px",
    ]


def test_test_images_are_not_looked_at(project: object) -> None:
    written(discs([(30, 30)]), split="test")
    with pytest.raises(PipelineError, match="no training or validation image"):
        ceiling.main(argparse.Namespace())


def test_images_without_nuclei_are_said(project: object) -> None:
    written(discs([]))
    with pytest.raises(PipelineError, match="no nucleus"):
        ceiling.main(argparse.Namespace())
