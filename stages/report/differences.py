"""Rows compared pair by pair on the same images: which differences hold, which may be chance."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from monuseg.core.errors import PipelineError
from monuseg.scoring.paired import Difference, difference
from monuseg.scoring.per_image import read_scores, values
from stages.report.rows import Row
from stages.report.tables import SCORE_TITLES, escaped

# The scores in which a model must beat the baseline, and in which rows are compared.
DECIDING = ("dice", "aji", "pq")

# One digit more than scores have: differences are small, and interval ends near 0 decide.
DIGITS = 4


class Pair(NamedTuple):
    """Two rows, and how much higher the first scores.

    Attributes:
        first: a row.
        second: another.
        found: the difference in each of `DECIDING`; None if too few images define the score.
    """

    first: Row
    second: Row
    found: Mapping[str, Difference | None]


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
    scored = [row for row in rows if row.key in tables]

    def differences(first: Row, second: Row) -> dict[str, Difference | None]:
        return {
            name: difference(values(tables[first.key], name), values(tables[second.key], name))
            for name in DECIDING
        }

    return [Pair(*pair, differences(*pair)) for pair in combinations(scored, 2)]


def differences_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """A line per pair: the differences, their intervals, and whether they hold."""
    return pd.DataFrame(
        [
            {
                "Method": escaped(short(first)),
                "Minus": escaped(short(second)),
                **{SCORE_TITLES[name]: _cell(one) for name, one in found.items()},
            }
            for first, second, found in pairs
        ]
    )


def _cell(found: Difference | None) -> str:
    if found is None:
        return "too few images"
    mean, low, high = map(signed, (found.mean, found.low, found.high))
    said = f"**{mean} holds**" if found.holds else f"{mean} may be chance"
    left_out = f"; {found.left_out} left out" if found.left_out else ""
    return f"{said} *({low} to {high}; higher on {found.wins} of {found.images}{left_out})*"


def signed(value: float) -> str:
    """A difference as text, with a sign unless it is printed as 0."""
    text = f"{value:+.{DIGITS}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def short(row: Row) -> str:
    """The row's title up to its first comma, which would be confusing in a list."""
    return row.title.partition(",")[0]


def listed(titles: Sequence[str]) -> str:
    """At least one title, with commas and an "and"."""
    *others, last = titles
    return f"{', '.join(others)} and {last}" if others else last
