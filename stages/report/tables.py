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
from stages.report.fates import FATES
from stages.report.reference import ReferenceRun
from stages.report.rows import TITLES, Row, Scores

DASH = "–"
SPLIT_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
SUMMARY = ("dice", "aji", "pq", "f1", "iou", "accuracy", "loss")
FURTHER = ("precision", "recall", "pixel_dice", "aji_plus", "dq", "sq")
COMPARED = ("dice", "iou", "accuracy", "aji", "pq", "dq", "sq")
ORIGINAL = ("loss", "accuracy", "f1", "pixel_dice", "dice")
SCORE_TITLES = {name: name.upper() for name in (*SUMMARY, *FURTHER)} | {
    name: name.capitalize() for name in ("loss", "accuracy", "dice", "precision", "recall")
}
SCORE_TITLES |= {"iou": "IoU", "aji_plus": "AJI+", "pixel_dice": "`pixel_dice`"}

# Four digits beside the original's, which has four; three elsewhere, as is usual.
DIGITS = 3
ORIGINAL_DIGITS = 4

OFFICIAL = "the official 14"
MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")


def escaped(text: str) -> str:
    """Text from data as inline Markdown that shows it as it is, on one line."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def number(value: float | None, digits: int = DIGITS) -> str:
    """A score as text; a dash for None and NaN."""
    return DASH if value is None or pd.isna(value) else f"{value:.{digits}f}"


def interval(scores: Scores, name: str) -> str:
    """The 95% interval of a score as text to follow it, or nothing."""
    shown = [number(scores.get(f"{name}_{end}")) for end in ("lo", "hi")]
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


def score_columns(
    entries: Sequence[Mapping[str, Any]], names: Sequence[str], ours: int = 0
) -> dict[str, list[str]]:
    """Columns of scores with their intervals; the best of the first `ours` entries are strong."""
    columns = {}
    for name in names:
        best = marked([one.get(name) for one in entries[:ours]], min if name == "loss" else max)
        cells = best + [number(one.get(name)) for one in entries[ours:]]
        intervals = [interval(one, name) for one in entries]
        columns[SCORE_TITLES[name]] = [a + b for a, b in zip(cells, intervals, strict=True)]
    return columns


def scores_table(rows: Sequence[Row], split: str, names: Sequence[str]) -> pd.DataFrame:
    """A line per row, a column for each of the scores `names`."""
    columns = score_columns([row.scores.get(split, {}) for row in rows], names, len(rows))
    return pd.DataFrame({"Method": [escaped(row.title) for row in rows]} | columns)


def standing(rows: Sequence[Row], split: str, runs: Sequence[ReferenceRun]) -> list[dict[str, Any]]:
    """This run's rows; then the best of kept runs, of the original and of what was published.

    Args:
        rows: of this run.
        split: whose scores.
        runs: kept runs; only those of the official test images count.

    Returns:
        Per method its name, `method`, whose `images` it is scored on, and its scores.
    """
    kept = [
        {"method": f"{row.title}, {run.name}", **row.scores[TEST]}
        for run in runs
        for row in run.table_rows()
        if run.official_test and TEST in row.scores
    ]
    original = [
        {**one, "method": "Original's best F1"}
        for one in records("original.csv")
        if one["split"] == TEST and "notebook" in one["source"]
    ]
    published = records("published.csv")
    # The best in one score need not have another.
    sources = ((kept, "dice"), (original, "f1"), (published, "dice"), (published, "aji"))
    best = [max(known, key=lambda one: one.get(name) or 0) for known, name in sources if known]
    ours = [
        {"method": row.title, **row.scores.get(split, {}), "images": "this run"} for row in rows
    ]
    return [*ours, *({**one, "images": OFFICIAL} for one in best)]


def standing_table(entries: Sequence[Mapping[str, Any]], ours: int) -> pd.DataFrame:
    """A line per entry of `standing`; the best of the first `ours` are strong."""
    texts = {name: [escaped(one[name]) for one in entries] for name in ("method", "images")}
    columns = score_columns(entries, SUMMARY, ours)
    return pd.DataFrame({name.capitalize(): cells for name, cells in texts.items()} | columns)


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
        found = [row.calibration.get(split) for row in rows]
        table[SPLIT_TITLES[split]] = marked([one.error if one else None for one in found], min)
    return pd.DataFrame(table)


def fates_table(counts: pd.DataFrame) -> pd.DataFrame:
    """What `count_fates` counted, of all sizes together: a line per method."""
    total = counts.groupby(["method", "fate"])["nuclei"].sum()
    lines = [
        [escaped(method), *(str(total.get((method, fate), 0)) for fate in FATES)]
        for method in counts["method"].unique()
    ]
    return pd.DataFrame(lines, columns=["Method", *(fate.capitalize() for fate in FATES)])


def settings_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The settings of each row, and which images its threshold and nuclei were chosen on."""
    lines = []
    for row in rows:
        on = row.settings.get("chosen_on", {})
        chosen = {"chosen_on": ", ".join(dict.fromkeys(on.values()))} if on else {}
        lines.append({"method": row.title, **row.settings, **chosen})
    table = pd.DataFrame(lines).astype(object).fillna(DASH)
    table.columns = table.columns.str.replace("_", " ").str.capitalize()
    return table.map(lambda cell: escaped(str(cell)))


def history_table(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per model: epochs, last objective, and the first epoch with the highest validation Dice."""
    lines = []
    for model, history in histories.items():
        best = history.dropna().nlargest(1, "validation_dice")
        numbers = [number(history["objective"].iloc[-1]), number(best["validation_dice"].max())]
        epochs = [str(len(history)), *numbers, number(best["epoch"].max(), 0)]
        lines.append([escaped(TITLES.get(model, model)), *epochs])
    columns = ["Model", "Epochs", "Last objective", "Highest validation Dice", "In epoch"]
    return pd.DataFrame(lines, columns=columns)


def original_table(split: str, sources: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    """One of the original's tables: as printed, as in its notebooks, and our results.

    Args:
        split: "train", "validation" or "test".
        sources: the rows of this run and of kept runs, keyed by their text in the column "From".
    """
    every = records("original.csv") + [
        {"split": name, "model": row.key, "source": source, **scores}
        for source, rows in sources.items()
        for row in rows
        for name, scores in row.scores.items()
        if scores
    ]
    # The original's models, then ours, the baseline last.
    models = sorted(dict.fromkeys(one["model"] for one in every), key=BASELINE.__eq__)
    lines = [
        [escaped(TITLES.get(model, model)), one["source"]]
        + [number(one.get(name), ORIGINAL_DIGITS) for name in ORIGINAL]
        for model in models
        for one in every
        if (one["model"], one["split"]) == (model, split)
    ]
    return pd.DataFrame(lines, columns=["Model", "From", *(SCORE_TITLES[one] for one in ORIGINAL)])


def comparison_table(runs: Sequence[ReferenceRun]) -> pd.DataFrame:
    """Kept runs on their test images, and what others published for the official ones."""
    entries = records("published.csv")
    for run in reversed(runs):
        other = f", **on other images** ({escaped(run.dataset.protocol)})"
        source = f"here, `{run.name}`{'' if run.official_test else other}"
        rows = [row for row in run.table_rows() if row.scores.get(TEST)]
        entries[:0] = [{"method": row.title, "source": source, **row.scores[TEST]} for row in rows]
    texts = {"Method": [escaped(one["method"]) for one in entries]}
    texts["Source"] = [one["source"] for one in entries]
    return pd.DataFrame(texts | score_columns(entries, COMPARED))


def records(name: str) -> list[dict[Any, Any]]:
    """The lines of a table beside this module, without its empty cells."""
    table = pd.read_csv(Path(__file__).with_name(name), comment="#")
    return [line.dropna().to_dict() for _, line in table.iterrows()]
