"""Reading `metrics/<row>.json` and `metrics/detail/<row>.json`, which stage evaluate writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
