"""Reading `metrics/per_image/<row>.csv`, which `stages.evaluate.summary` writes."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError
from monuseg.scoring.rows import Row

# The scores in which rows are compared, in the order in which they are shown.
SCORES = ("dice", "iou", "aji", "pq", "dq", "sq")


def read_scores(path: Path, split: str) -> pd.DataFrame:
    """Read a row's scores of the images of one split.

    Args:
        path: of the table.
        split: of the images.

    Returns:
        The columns `SCORES`, NaN where undefined, indexed by the images' ids in ascending order.

    Raises:
        PipelineError: the table is missing, not written by stage evaluate, or has no such image.
    """
    remedy = f"run `dvc repro evaluate@{path.stem}`"
    try:
        # As text: pandas takes an image called "NA" or a line's missing end for an empty cell.
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="missing", strict=True)
            content = pd.DataFrame(list(reader), columns=list(reader.fieldnames or ()))
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is not a CSV ({error}); delete it and {remedy}") from error
    missing = [column for column in ("id", "split", *SCORES) if column not in content.columns]
    if missing:
        raise PipelineError(f"{path} has no column {missing[0]!r}; name a table of stage evaluate")
    found = content[content["split"] == split].set_index("id").sort_index()
    if found.empty:
        raise PipelineError(f"{path} has no {split} image; add it to evaluate.splits")
    if not found.index.is_unique:
        twice = found.index[found.index.duplicated()][0]
        raise PipelineError(f"{path} has {twice} twice; delete it and {remedy}")
    try:
        return found[list(SCORES)].map(_score).astype(float)
    except ValueError as error:
        raise PipelineError(f"{path}: not a score ({error}); delete it and {remedy}") from error


def read_images(rows: Sequence[Row], folder: Path, split: str) -> dict[str, pd.DataFrame]:
    """The scores of a split's images by row, of the rows that are scored on it.

    Args:
        rows: of one run.
        folder: of the tables `<row>.csv`, one line per image.
        split: of the images.

    Raises:
        PipelineError: a table is missing or malformed, or two are not of the same images.
    """
    scored = [row.key for row in rows if row.scores.get(split)]
    tables = {key: read_scores(folder / f"{key}.csv", split) for key in scored}
    for key in scored[1:]:
        one = scored[0]
        if list(tables[key].index) != list(tables[one].index):
            raise PipelineError(
                f"{folder / key}.csv and {folder / one}.csv have other {split} images; "
                f"run `dvc repro evaluate@{one} evaluate@{key}`"
            )
    return tables


def values(scores: pd.DataFrame, name: str) -> list[float | None]:
    """A score of each image, None where it is undefined."""
    return [None if pd.isna(value) else float(value) for value in scores[name]]


def _score(cell: str) -> float:
    """A cell's score, NaN if it is empty."""
    if not cell:
        return float("nan")
    score = float(cell)
    if not 0 <= score <= 1:
        raise ValueError(f"{cell} is not from 0 to 1")
    return score
