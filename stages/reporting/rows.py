"""The rows of the tables: what evaluate wrote for each model, the ensemble and the baseline."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import PipelineError
from stages.files import read_json

ENSEMBLE = "ensemble"
BASELINE = "otsu"

TITLES = {
    "unet": "U-Net",
    "segnet": "SegNet",
    "deeplabv3plus": "DeepLabV3+",
    ENSEMBLE: "Ensemble",
    BASELINE: "Otsu, no training",
}

Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Row:
    """One method's scores.

    Attributes:
        key: a model's name, "ensemble" or "otsu".
        scores: split to score's name to value; what is undefined is absent.
    """

    key: str
    scores: Scores

    @property
    def title(self) -> str:
        """What tables call the row."""
        return TITLES.get(self.key, self.key)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the row that every model must beat."""
        return self.key == BASELINE

    def value(self, split: str, name: str) -> float | None:
        """A score, or None where it is undefined."""
        return self.scores.get(split, {}).get(name)


def read_rows(models: Iterable[str], metrics: Path, detail: Path) -> list[Row]:
    """The models' rows in order, the ensemble's if there is one, and the baseline's.

    Args:
        models: names of models.
        metrics: the folder of `<row>.json`.
        detail: the folder of the further scores, `<row>.json` too.

    Raises:
        PipelineError: a row's file is missing or is not what evaluate writes.
    """
    keys = list(models)
    if (metrics / f"{ENSEMBLE}.json").is_file():
        keys.append(ENSEMBLE)
    return [read_row(key, metrics, detail) for key in [*keys, BASELINE]]


def read_row(key: str, metrics: Path, detail: Path) -> Row:
    """One row, of both its files.

    Raises:
        PipelineError: see `read_rows`.
    """
    scores = _numbers(metrics / f"{key}.json", key)
    further = _numbers(detail / f"{key}.json", key)
    # Detail has blocks that are no splits (settings, versions): the scores decide what a split is.
    return Row(key, {split: {**further.get(split, {}), **scores[split]} for split in scores})


def _numbers(path: Path, key: str) -> dict[str, dict[str, float]]:
    """The numbers of each block of a metrics file; what is no number is for other readers."""
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{key}`") from error
    except ValueError as error:
        raise PipelineError(
            f"{path} is no valid JSON ({error}); delete it and run `dvc repro evaluate@{key}`"
        ) from error
    if not isinstance(content, dict):
        raise PipelineError(
            f"{path}: expected a mapping of splits, found {type(content).__name__}; "
            f"delete it and run `dvc repro evaluate@{key}`"
        )
    return {
        split: {name: float(value) for name, value in block.items() if _is_number(value)}
        for split, block in content.items()
        if isinstance(block, dict)
    }


def _is_number(value: Any) -> bool:
    # bool is an int to Python, and a flag is no score.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
