"""What stage evaluate chose, read again."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.files import write_json
from monuseg.nuclei.chosen import read_chosen
from monuseg.nuclei.watershed import NucleiSettings


def test_settings_are_those_that_evaluate_chose(tmp_path: Path) -> None:
    chosen = {"threshold": 0.4, "smoothing": 2.0, "min_distance": 5, "min_area": 30}
    on = {"threshold": "validation", "nuclei": "given"}
    write_json(tmp_path / "unet.json", {**chosen, "chosen_on": on})
    assert read_chosen(tmp_path, "unet") == (NucleiSettings(**chosen), on)


def test_a_row_that_was_not_evaluated_is_named_with_its_stage(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"unet\.json is missing.*evaluate@unet"):
        read_chosen(tmp_path, "unet")


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"chosen_on": {}, "other": 1}'])
def test_a_damaged_file_is_named_with_its_stage(tmp_path: Path, content: str) -> None:
    (tmp_path / "unet.json").write_text(content)
    with pytest.raises(
        PipelineError, match=r"unet\.json: not as .*delete it and run.*evaluate@unet"
    ):
        read_chosen(tmp_path, "unet")
