"""Tests of `stages.tile.splits`."""

from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import ImageRecord, Part
from stages.tile.params import Protocol, TileParams
from stages.tile.splits import remarks, split_images
from tests.stages.tile.making import record_of


def params(um_per_pixel: float | None = None, protocol: Protocol = "archive") -> TileParams:
    return TileParams.model_validate(
        {
            "size": 256,
            "stride": 256,
            "um_per_pixel": um_per_pixel,
            "protocol": protocol,
            "validation": {
                **{"method": "none", "fraction": 0.2, "images": [], "organs": []},
                **{"fold": 0, "folds": 5, "seed": 1},
            },
        }
    )


def image(image_id: str, part: Part = "train", **known: Any) -> ImageRecord:
    return record_of(image_id, part, **known)


def test_a_patient_in_both_parts_is_refused() -> None:
    records = [
        image("P-DX1", patient="P"),
        image("Q-DX1", "test", patient="Q"),
        image("P-DX2", "test", patient="P"),
    ]
    with pytest.raises(PipelineError) as caught:
        split_images(records, params())
    assert str(caught.value) == (
        "data/raw/manifest.csv: P-DX1 (train) and P-DX2 (test) are from one patient, P, of whom a "
        "model would learn what it is tested on; put both into one part, remove one, or correct "
        "the column `patient` of organs.csv"
    )
    assert len(split_images(records[:2], params())) == 2


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"manifest\.csv: a stands twice; run"):
        split_images([image("a"), image("b"), image("a")], params())


@pytest.mark.parametrize(
    ("values", "agree"),
    [
        ((0.25, 0.25), True),
        ((0.2325, 0.25, 0.2525), True),
        ((0.25, 0.276), False),
        ((0.276, 0.25), False),
        # Each agrees with the one between them.
        ((0.23, 0.25, 0.27), False),
        ((0.25, 2.5), False),
    ],
)
def test_resolutions_agree_within_a_tenth(values: tuple[float, ...], agree: bool) -> None:
    records = [image(str(n), um_per_pixel=value) for n, value in enumerate(values)]
    if agree:
        splits = split_images(records, params())
        assert tuple(split.tiled_um_per_pixel for split in splits) == values
        return
    with pytest.raises(PipelineError) as caught:
        split_images(records, params())
    for value in (min(values), max(values)):
        assert f"{value:g}" in str(caught.value)
    assert "set tile.um_per_pixel in params.yaml" in str(caught.value)


def test_a_chosen_resolution_is_that_of_all_that_differ_by_more() -> None:
    values = (0.2, 0.23, 0.25, 0.27, 0.28, 0.5)
    records = [image(str(n), um_per_pixel=value) for n, value in enumerate(values)]
    splits = split_images(records, params(0.25))
    assert [split.um_per_pixel for split in splits] == list(values)
    assert [split.tiled_um_per_pixel for split in splits] == [0.25, 0.23, 0.25, 0.27, 0.25, 0.25]


@pytest.mark.parametrize("value", [0.04, 10.1, 20.0, 40.0, -0.5, 0.0])
def test_a_resolution_beyond_what_microscopes_have_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="um_per_pixel"):
        params(value)


def test_who_has_no_patient_and_whose_resolution_is_assumed_is_said() -> None:
    records = [
        image("TCGA-AA-0001-DX1", patient="TCGA-AA-0001"),
        image("slide 1", patient="SLIDE 1"),
        image("slide 2", source="default"),
    ]
    assert remarks(records) == [
        "data/raw/manifest.csv: 2 of 3 images name no patient; each counts as a patient of its own "
        "(organs.csv may have a column `patient`)",
        "data/raw/manifest.csv: 1 of 3 images, slide 2 among them, state no resolution; 0.25 um "
        "per pixel is assumed",
    ]
    assert remarks(records[:1]) == []
    # All assumed: stage extract says it, and they agree.
    assert len(remarks([image("a", source="default")])) == 1
