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
        PipelineError: the row has not been evaluated, or the file is damaged.
    """
    path = folder / f"{row}.json"
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{row}`")
    try:
        content: dict[str, Any] = dict(read_json(path))
        chosen_on = content.pop("chosen_on")
        return NucleiSettings(**content), chosen_on
    except (ValueError, TypeError, KeyError) as error:  # ValueError: also of what is no JSON
        raise PipelineError(
            f"{path}: not as stage evaluate writes it ({error}); delete it and run "
            f"`dvc repro evaluate@{row}`"
        ) from error
