"""Rows compared pair by pair on the same images: which differences hold, which may be chance."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError
from monuseg.scoring.paired import difference
from monuseg.scoring.per_image import read_scores, values
from stages.report.rows import Row
from stages.report.tables import DECIDING, Pair


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


def compare(rows: Sequence[Row], tables: Mapping[str, pd.DataFrame]) -> list[Pair]:
    """Compare every pair of rows that have scores of images, in the order of the rows."""
    scored = [(row, tables[row.key]) for row in rows if row.key in tables]
    return [
        Pair(one, two, {name: difference(values(a, name), values(b, name)) for name in DECIDING})
        for (one, a), (two, b) in combinations(scored, 2)
    ]
