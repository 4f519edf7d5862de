"""Rows compared pair by pair on the same images: which differences hold, which may be chance."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

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


def compare(rows: Sequence[Row], folder: Path, split: str) -> list[Pair]:
    """Compare every pair of rows that are scored on a split, in the order of the rows.

    Args:
        rows: of one run.
        folder: of the tables `<row>.csv`, one line per image.
        split: of the images.

    Raises:
        PipelineError: a table is missing or malformed, or two are not of the same images.
    """
    scored = [row for row in rows if row.scores.get(split)]
    tables = {row.key: read_scores(folder / f"{row.key}.csv", split) for row in scored}
    for row in scored[1:]:
        one = scored[0].key
        if list(tables[row.key].index) != list(tables[one].index):
            raise PipelineError(
                f"{folder / row.key}.csv and {folder / one}.csv have other {split} images; "
                f"run `dvc repro evaluate@{one} evaluate@{row.key}`"
            )

    def differences(first: Row, second: Row) -> dict[str, Difference | None]:
        return {
            name: difference(values(tables[first.key], name), values(tables[second.key], name))
            for name in DECIDING
        }

    return [Pair(*pair, differences(*pair)) for pair in combinations(scored, 2)]


def verdict(row: Row, baseline: Row, split: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Whether a row beats the baseline in every deciding score that both have.

    Args:
        row: a model's or the ensemble's.
        baseline: the row that it must beat.
        split: whose scores.
        pairs: the comparison image by image; without these two in it, no lead counts as chance.
            Where images define a score in one of the two alone, it decides which is higher, not the
            rows' means, which are then over different images.

    Returns:
        `title` of the row; `worse`, whether it fails to beat the baseline; `scores`, both values
        of each score that decides this; `chance`, the scores in which a lead may be chance.
    """
    both = {
        name: (ours, theirs)
        for name in DECIDING
        if (ours := row.value(split, name)) is not None
        and (theirs := baseline.value(split, name)) is not None
    }
    leads = {name: ours - theirs for name, (ours, theirs) in both.items()}
    chance = []
    for first, second, found in pairs:
        if {first.key, second.key} == {row.key, baseline.key}:
            for name in both:
                one = found[name]
                if one is None or not one.holds:
                    chance.append(SCORE_TITLES[name])
                if one is not None and one.left_out:
                    leads[name] = one.mean if first.key == row.key else -one.mean
    worse = {name: both[name] for name, lead in leads.items() if lead <= 0}
    scores = {SCORE_TITLES[name]: pair for name, pair in (worse or both).items()}
    return {"title": row.title, "worse": bool(worse), "scores": scores, "chance": chance}


def differences_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """A line per pair: the differences, their intervals, and whether they hold."""
    return pd.DataFrame(
        [
            {
                "Method": _short(first),
                "Minus": _short(second),
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


def statements(pairs: Sequence[Pair], name: str) -> dict[str, list[str]]:
    """For one score: which row is above which, and which pairs cannot be told apart."""
    above: dict[str, list[str]] = {}
    chance, unknown = [], []
    for first, second, every in pairs:
        both, found = [_short(first), _short(second)], every[name]
        if found is None:
            unknown.append(listed(both))
        elif not found.holds:
            chance.append(listed(both))
        else:
            higher, lower = both if found.mean > 0 else reversed(both)
            above.setdefault(higher, []).append(lower)
    holds = [f"{higher} above {listed(lower)}" for higher, lower in above.items()]
    return {"holds": holds, "chance": chance, "unknown": unknown}


def _short(row: Row) -> str:
    """The row's title up to its first comma, which would be confusing in a list."""
    return escaped(row.title.partition(",")[0])


def listed(titles: Sequence[str]) -> str:
    """At least one title, with commas and an "and"."""
    *others, last = titles
    return f"{', '.join(others)} and {last}" if others else last
