"""Preparing the final run: choices become settings, and no image is held out any more."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.params import read_params
from monuseg.formats.files import write_json
from monuseg.formats.paths import PREDICTIONS
from tools import check, finalise

ROWS = ["unet", "segnet", "deeplabv3plus", "ensemble", "otsu"]


def choice(row: str) -> dict[str, Any]:
    return {
        "threshold": 0.5 if row == "otsu" else 0.40 + ROWS.index(row) / 100,
        "smoothing": 1.0,
        "min_distance": 5,
        "min_area": 30,
        "separation": "shape" if row == "otsu" else "distance",
        "marker_threshold": 0.45,
        "min_probability": 0.7,
    }


@pytest.fixture
def evaluated(project: Path) -> Path:
    for row in ROWS:
        # The threshold of hard masks is never chosen.
        on = {"threshold": "given" if row == "otsu" else "validation", "nuclei": "validation"}
        write_json(PREDICTIONS / f"{row}.json", {**choice(row), "chosen_on": on})
    return project


@pytest.mark.usefixtures("evaluated")
def test_what_was_chosen_is_set_and_every_image_trains() -> None:
    before = read_params()
    finalise.main(argparse.Namespace())
    after = read_params()
    assert after["evaluate"].pop("settings") == {row: choice(row) for row in ROWS}
    assert after["tile"]["validation"].pop("method") == "none"
    assert after["train"].pop("keep") == "last"
    for block, key in (("evaluate", "settings"), ("train", "keep")):
        del before[block][key]
    del before["tile"]["validation"]["method"]
    assert after == before
    check.main(argparse.Namespace())


def test_a_row_that_was_not_evaluated_is_named_and_nothing_changed(evaluated: Path) -> None:
    before = (evaluated / "params.yaml").read_bytes()
    (PREDICTIONS / "segnet.json").unlink()
    with pytest.raises(PipelineError, match=r"segnet\.json is missing.*evaluate@segnet"):
        finalise.main(argparse.Namespace())
    assert (evaluated / "params.yaml").read_bytes() == before


@pytest.mark.usefixtures("evaluated")
def test_a_row_that_had_nothing_to_choose_keeps_what_was_given() -> None:
    on = {"threshold": "given", "nuclei": "given"}
    write_json(PREDICTIONS / "otsu.json", {**choice("otsu"), "chosen_on": on})
    finalise.main(argparse.Namespace())
    assert read_params()["evaluate"]["settings"]["otsu"] == choice("otsu")


@pytest.mark.usefixtures("evaluated")
def test_what_training_images_chose_is_not_taken() -> None:
    on = {"threshold": "train", "nuclei": "train"}
    write_json(PREDICTIONS / "unet.json", {**choice("unet"), "chosen_on": on})
    with pytest.raises(
        PipelineError, match=r"unet\.json: chosen on images that train; hold some out"
    ):
        finalise.main(argparse.Namespace())
