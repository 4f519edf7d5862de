"""Reading `data/predictions/<row>.json`: the settings that stage evaluate chose for a row."""

from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.formats.files import read_json
from monuseg.nuclei.watershed import NucleiSettings


def read_chosen(folder: Path, row: str) -> tuple[NucleiSettings, dict[str, str]]:
    """Read the settings of a row.

    Args:
        folder: of the predictions.
        row: its name.

    Returns:
        The settings, and on which images `threshold` and `nuclei` were chosen.

    Raises:
        PipelineError: the row has not been evaluated.
    """
    path = folder / f"{row}.json"
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{row}`")
    content: dict[str, Any] = read_json(path)
    chosen_on = content.pop("chosen_on")
    return NucleiSettings(**content), chosen_on
