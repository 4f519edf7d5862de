"""The report's tables, as pandas tables of text; a missing score is a dash.

Cells hold inline Markdown: text from data goes through `escaped`, the best scores are **strong**.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from monuseg.formats.manifest import TEST
from monuseg.formats.rows import BASELINE
from stages.report.reference import ReferenceRun
from stages.report.rows import TITLES, Row, Scores

DASH = "–"
SPLIT_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
SCORE_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "f1": "F1",
    "dice": "Dice",
    "iou": "IoU",
    "aji": "AJI",
    "pq": "PQ",
    "precision": "Precision",
    "recall": "Recall",
    "pixel_dice": "`pixel_dice`",
    "aji_plus": "AJI+",
    "dq": "DQ",
    "sq": "SQ",
}
SUMMARY = ("dice", "f1", "iou", "accuracy", "aji", "pq", "loss")
FURTHER = ("precision", "recall", "pixel_dice", "aji_plus", "dq", "sq")
COMPARED = ("dice", "iou", "accuracy", "aji", "pq", "dq", "sq")
ORIGINAL = ("loss", "accuracy", "f1", "pixel_dice", "dice")

# Four digits beside the original's, which has four; three elsewhere, as is usual.
DIGITS = 3
ORIGINAL_DIGITS = 4

MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")


def escaped(text: str) -> str:
    """Text from data as inline Markdown that shows it as it is, on one line."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def number(value: float | None, digits: int = DIGITS) -> str:
    """A score as text; a dash for None and NaN."""
    return DASH if value is None or pd.isna(value) else f"{value:.{digits}f}"


def interval(scores: Scores, name: str) -> str:
    """The 95% interval of a score as text to follow it, or nothing."""
    low, high = scores.get(f"{name}_lo"), scores.get(f"{name}_hi")
    shown = [number(low), number(high)]
    return "" if DASH in shown else f" *({'–'.join(shown)})*"


def marked(
    values: Sequence[float | None], best: Callable[[Iterable[float]], float] = max
) -> list[str]:
    """Values as text; those printed like the best are strong, unless all are printed alike."""
    known = [value for value in values if value is not None]
    if len({number(value) for value in known}) < 2:
        return [number(value) for value in values]
    winner = number(best(known))
    return [f"**{text}**" if text == winner else text for text in map(number, values)]


def scores_table(rows: Sequence[Row], split: str, names: Sequence[str]) -> pd.DataFrame:
    """A line per row, a column for each of the scores `names`."""
    table = {"Method": [escaped(row.title) for row in rows]}
    for name in names:
        values = marked([row.value(split, name) for row in rows], min if name == "loss" else max)
        intervals = [interval(row.scores.get(split, {}), name) for row in rows]
        table[SCORE_TITLES[name]] = [f"{a}{b}" for a, b in zip(values, intervals, strict=True)]
    return pd.DataFrame(table)


def organ_tables(rows: Sequence[Row], split: str, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """A table per score, keyed by its title, with a row per organ and a column per method.

    Scores that are missing for every organ and method are left out.
    """
    scored = [row.organs.get(split, {}) for row in rows]
    images = {organ: scores["images"] for one in scored for organ, scores in one.items()}
    organs = sorted(images)
    counts = [*(images[organ] for organ in organs), sum(images.values())]
    tables = {}
    for name in names:
        lines = [[one.get(organ, {}).get(name) for one in scored] for organ in organs]
        if any(value is not None for line in lines for value in line):
            lines.append([row.value(split, name) for row in rows])
            table = pd.DataFrame(map(marked, lines), columns=[escaped(row.title) for row in rows])
            table.insert(0, "Organ", [*map(escaped, organs), "all"])
            table.insert(1, "Images", [number(count, 0) for count in counts])
            tables[SCORE_TITLES[name]] = table
    return tables


def calibration_table(rows: Sequence[Row], splits: Sequence[str]) -> pd.DataFrame:
    """The expected calibration error of each row on each split."""
    table = {"Method": [escaped(row.title) for row in rows]}
    for split in splits:
        errors = [
            row.calibration[split].error if split in row.calibration else None for row in rows
        ]
        table[SPLIT_TITLES[split]] = marked(errors, min)
    return pd.DataFrame(table)


def history_table(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per model: epochs, last objective, and the first epoch with the highest validation Dice."""
    lines = []
    for model, history in histories.items():
        best = history.dropna().nlargest(1, "validation_dice")
        lines.append(
            {
                "Model": escaped(TITLES.get(model, model)),
                "Epochs": str(len(history)),
                "Last objective": number(history["objective"].iloc[-1]),
                "Highest validation Dice": number(best["validation_dice"].max()),
                "In epoch": number(best["epoch"].max(), 0),
            }
        )
    return pd.DataFrame(lines)


def original_table(split: str, sources: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    """One of the original's tables: as printed, as in its notebooks, and our results.

    Args:
        split: "train", "validation" or "test".
        sources: the rows of this run and of kept runs, keyed by their text in the column "From".
    """
    printed = _records("original.csv")
    ours = [
        {"split": split, "model": row.key, "source": source, **row.scores[split]}
        for source, rows in sources.items()
        for row in rows
        if row.scores.get(split)
    ]
    # The original's models, then ours, the baseline last.
    models = list(dict.fromkeys(one["model"] for one in [*printed, *ours]))
    models.sort(key=BASELINE.__eq__)
    lines = [one for one in [*printed, *ours] if one["split"] == split]
    lines.sort(key=lambda one: models.index(one["model"]))
    table = pd.DataFrame(
        [
            {
                "Model": escaped(TITLES.get(one["model"], one["model"])),
                "From": one["source"],
                **{SCORE_TITLES[name]: number(one.get(name), ORIGINAL_DIGITS) for name in ORIGINAL},
            }
            for one in lines
        ]
    )
    table["Model"] = table["Model"].mask(table["Model"].duplicated(), "")
    return table


def comparison_table(runs: Sequence[ReferenceRun]) -> pd.DataFrame:
    """Kept runs on their test images, and what others published for the official ones."""
    ours = [
        {
            "method": row.title,
            "source": f"here, `{run.name}`"
            if run.official_test
            else f"here, `{run.name}`, **on other images** ({escaped(run.dataset.protocol)})",
            **row.scores[TEST],
        }
        for run in runs
        for row in run.table_rows()
        if row.scores.get(TEST)
    ]
    return pd.DataFrame(
        [
            {
                "Method": escaped(one["method"]),
                "Source": one["source"],
                **{
                    SCORE_TITLES[name]: number(one.get(name)) + interval(one, name)
                    for name in COMPARED
                },
            }
            for one in [*ours, *_records("published.csv")]
        ]
    )


def _records(name: str) -> list[dict[Any, Any]]:
    """The lines of a table beside this module."""
    return pd.read_csv(Path(__file__).with_name(name), comment="#").to_dict("records")
