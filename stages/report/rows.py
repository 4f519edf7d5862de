"""What evaluate wrote of each model, the ensemble and the baseline, and train of each epoch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from monuseg.core.errors import PipelineError
from monuseg.formats.files import read_json
from monuseg.formats.rows import BASELINE, ENSEMBLE
from monuseg.scoring.calibration import ReliabilityBin

TITLES = {
    "unet": "U-Net",
    "segnet": "SegNet",
    "deeplabv3plus": "DeepLabV3+",
    ENSEMBLE: "Ensemble",
    BASELINE: "Otsu, no training",
}

# The columns of a training history that have a chart, and its title.
CURVES = {
    "objective": "Training objective",
    "validation_loss": "Validation loss",
    "validation_dice": "Validation Dice",
}

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One method's scores.

    Attributes:
        key: a model's name, "ensemble" or "otsu".
        scores: values by split and name; undefined scores are absent.
        calibration: by split, the bins that hold pixels, from low probability to high; a hard mask
            has none.
        settings: of threshold and separation, as evaluate chose them.
    """

    key: str
    scores: Mapping[str, Scores]
    calibration: Mapping[str, list[ReliabilityBin]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What tables call the row."""
        return TITLES.get(self.key, self.key)

    def value(self, split: str, name: str) -> float | None:
        """A score, or None where it is undefined."""
        return self.scores.get(split, {}).get(name)


def leader_of(rows: Sequence[Row], split: str) -> Row:
    """The row of the highest Dice, the first of equals."""
    return max(rows, key=lambda row: row.value(split, "dice") or 0.0)


def read_rows(models: Iterable[str], metrics: Path, detail: Path) -> list[Row]:
    """The rows of the models in order, of the ensemble of several models, and of the baseline.

    Args:
        models: names of models.
        metrics: the folder of `<row>.json`.
        detail: the folder of the further scores, `<row>.json` too.

    Raises:
        PipelineError: a row's file is missing or is not what evaluate writes.
    """
    keys = list(models)
    # The mean of one model is that model.
    if len(keys) > 1 and (metrics / f"{ENSEMBLE}.json").is_file():
        keys.append(ENSEMBLE)
    return [
        _read_row(key, metrics / f"{key}.json", detail / f"{key}.json") for key in [*keys, BASELINE]
    ]


def _read_row(key: str, metrics: Path, detail: Path) -> Row:
    try:
        scores, further = read_json(metrics), read_json(detail)
        # Not every block of detail is a split (settings, versions): the scores name the splits.
        details = {split: further.get(split, {}) for split in scores}
        return Row(
            key,
            {split: _numbers({**block, **scores[split]}) for split, block in details.items()},
            {
                split: [ReliabilityBin(**_numbers(one)) for one in block["calibration"]["bins"]]
                for split, block in details.items()
                if "calibration" in block
            },
            dict(further.get("settings", {})),
        )
    except FileNotFoundError as error:
        raise PipelineError(
            f"{error.filename} is missing; run `dvc repro evaluate@{key}`"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise PipelineError(
            f"{metrics} or {detail} is not what stage evaluate writes ({error!r}); "
            f"delete both and run `dvc repro evaluate@{key}`"
        ) from error


def _numbers(block: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a block, without flags, which are integers to Python."""
    return {name: value for name, value in block.items() if type(value) in (int, float)}


def read_history(model: str, folder: Path) -> pd.DataFrame:
    """The history that training wrote.

    Returns:
        A line per epoch: its number, `epoch`, and `CURVES`; NaN where there is no value, as in
        runs without validation images.

    Raises:
        PipelineError: the file is missing, has no epoch, or lacks a column.
    """
    path, remedy = folder / f"{model}.csv", f"run `dvc repro train@{model}`"
    try:
        history = pd.read_csv(path)[["epoch", *CURVES]].astype(float)
        if history.empty:
            raise ValueError("no epoch")
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (KeyError, ValueError) as error:  # pandas' own errors are kinds of ValueError
        raise PipelineError(
            f"{path} is no training history ({error}); delete it and {remedy}"
        ) from error
    return history
