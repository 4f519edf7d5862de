"""The rows of the tables: what evaluate wrote for each model, the ensemble and the baseline."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.files import read_json
from monuseg.formats.predictions import BASELINE, ENSEMBLE
from stages.report.calibration import Calibration, calibration_of

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
        organs: split to organ to the same, with the number of the organ's `images`.
        calibration: split to how true the probabilities are; a hard mask has none.
    """

    key: str
    scores: Scores
    organs: Mapping[str, Scores] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

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
    """The models' rows in order, the ensemble's if there is one of several, and the baseline's.

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
    return [read_row(key, metrics, detail) for key in [*keys, BASELINE]]


def read_row(key: str, metrics: Path, detail: Path) -> Row:
    """One row, of both its files.

    Raises:
        PipelineError: see `read_rows`.
    """
    scores = _numbers(_blocks(metrics / f"{key}.json", key))
    path = detail / f"{key}.json"
    further = _blocks(path, key)
    numbers = _numbers(further)
    # Detail has blocks that are no splits (settings, versions): the scores decide what a split is.
    splits = [split for split in scores if split in further]
    return Row(
        key,
        {split: {**numbers.get(split, {}), **scores[split]} for split in scores},
        {split: _numbers(_mapping(further[split].get("organs"))) for split in splits},
        {
            split: calibration_of(further[split]["calibration"], f"{path}: {split}", key)
            for split in splits
            if "calibration" in further[split]
        },
    )


def _blocks(path: Path, key: str) -> dict[str, dict[str, Any]]:
    """The mappings of a metrics file, most of them of splits; what else it holds is left out."""
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
    return {name: block for name, block in content.items() if isinstance(block, dict)}


def _mapping(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def _numbers(blocks: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The numbers of each block; what is no number is for other readers."""
    return {
        block: {name: float(value) for name, value in content.items() if _is_number(value)}
        for block, content in blocks.items()
        if isinstance(content, dict)
    }


def _is_number(value: Any) -> bool:
    # bool is an int to Python, and a flag is no score.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
