"""The rows of the tables: what evaluate wrote for each model, the ensemble and the baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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

Scores = Mapping[str, float]


class Calibration(NamedTuple):
    """How well one row's probabilities are calibrated on one split.

    Attributes:
        error: expected calibration error.
        bins: the bins that hold pixels, from low probability to high.
    """

    error: float
    bins: list[ReliabilityBin]


@dataclass(frozen=True)
class Row:
    """One method's scores.

    Attributes:
        key: a model's name, "ensemble" or "otsu".
        scores: values by split and name; undefined scores are absent.
        organs: values by split, organ and name, with the number of `images` of the organ.
        calibration: by split; a hard mask has none.
        settings: of threshold and separation, as evaluate chose them.
    """

    key: str
    scores: Mapping[str, Scores]
    organs: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

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
    return [_read_row(key, metrics, detail) for key in [*keys, BASELINE]]


def _read_row(key: str, metrics: Path, detail: Path) -> Row:
    scores, further = (_read(folder / f"{key}.json", key) for folder in (metrics, detail))
    try:
        # Not every block of detail is a split (settings, versions): the scores name the splits.
        details = {split: further.get(split, {}) for split in scores}
        return Row(
            key,
            {split: _numbers({**details[split], **scores[split]}) for split in scores},
            {
                split: {organ: _numbers(found) for organ, found in block.get("organs", {}).items()}
                for split, block in details.items()
            },
            {
                split: _calibration(block["calibration"])
                for split, block in details.items()
                if "calibration" in block
            },
            dict(further.get("settings", {})),
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise PipelineError(
            f"{metrics / key}.json or {detail / key}.json is not what stage evaluate writes "
            f"({error!r}); delete both and run `dvc repro evaluate@{key}`"
        ) from error


def _read(path: Path, key: str) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{key}`") from error
    except ValueError as error:
        raise PipelineError(
            f"{path} is no valid JSON ({error}); delete it and run `dvc repro evaluate@{key}`"
        ) from error


def _numbers(block: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a block, without flags, which are integers to Python."""
    return {name: float(value) for name, value in block.items() if type(value) in (int, float)}


def _calibration(block: Mapping[str, Any]) -> Calibration:
    bins = [ReliabilityBin(**one) for one in block["bins"]]
    return Calibration(float(block["expected_calibration_error"]), bins)
