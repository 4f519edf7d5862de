"""Kept results of real runs: metrics/reference/<name>.json."""

from pathlib import Path
from typing import Any

from pydantic import Field

from monuseg.core.errors import PipelineError
from monuseg.core.params import Model, validated
from monuseg.formats.files import read_json
from monuseg.scoring.rows import Row

# The scores of a split in metrics/<row>.json, and those of metrics/detail/<row>.json that are kept.
SUMMARY = ("dice", "aji", "pq", "f1", "iou", "accuracy", "loss")
FURTHER = ("precision", "recall", "pixel_dice", "aji_plus", "dq", "sq")
INTERVALS = ("dice_lo", "dice_hi", "aji_lo", "aji_hi", "pq_lo", "pq_hi")

# Protocols whose test images are the official 14 (`archive`: the test archive's, which it is).
OFFICIAL_TEST = frozenset({"archive", "challenge"})


class Archive(Model):
    """A file that the images came from.

    Attributes:
        name: its name under data/archives.
        sha256: of its bytes.
    """

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Dataset(Model):
    """What the run was made of.

    Attributes:
        source: `dataset.source` of params.yaml.
        protocol: `tile.protocol` of params.yaml.
        archives: every archive, by name.
    """

    source: str
    protocol: str
    archives: list[Archive] = Field(min_length=1)


class ReferenceRun(Model):
    """A run whose results are kept.

    Attributes:
        name: the file's name without suffix.
        description: one sentence for the reader of the report.
        dataset: see `Dataset`.
        params: the whole of params.yaml.
        backend: what Keras ran on in training.
        device: what the models were trained on.
        versions: of the packages, per model, as data/models/<model>.json has them.
        rows: row to split to score, keyed as in metrics/<row>.json.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = Field(min_length=1)
    dataset: Dataset
    params: dict[str, Any]
    backend: str
    device: str
    versions: dict[str, dict[str, str]] = Field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, float]]] = Field(min_length=1)

    @property
    def official_test(self) -> bool:
        """Whether its test scores compare with others of the 14 official test images."""
        return self.dataset.protocol in OFFICIAL_TEST

    @property
    def resampled(self) -> bool:
        """Whether its intervals are percentile bootstraps, which params then configured.

        The images' scores that could give others are not kept of every such run.
        """
        return "intervals" in self.params or "bootstrap" in self.params.get("evaluate", {})

    def table_rows(self) -> list[Row]:
        """The rows as the tables take them, in the order of the file."""
        return [Row(key, scores) for key, scores in self.rows.items()]


def read_references(folder: Path) -> list[ReferenceRun]:
    """All kept runs, by name; none where there is no folder.

    Raises:
        PipelineError: a file is no valid reference.
    """
    runs = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = read_json(path)
        except ValueError as error:
            raise PipelineError(f"{path} is no valid JSON ({error}); write it again") from error
        run: ReferenceRun = validated(ReferenceRun, content, where=str(path))
        if run.name != path.stem:
            raise PipelineError(f"{path}: its name in the file is {run.name!r}; make the two equal")
        runs.append(run)
    return runs


def kept_scores(row: Row) -> dict[str, dict[str, float]]:
    """What a reference keeps of a row: `SUMMARY`, `INTERVALS` and `FURTHER`."""
    names = (*SUMMARY, *INTERVALS, *FURTHER)
    return {
        split: {name: scores[name] for name in names if name in scores}
        for split, scores in row.scores.items()
    }
