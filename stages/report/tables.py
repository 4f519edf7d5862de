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
from monuseg.scoring.calibration import expected_calibration_error
from monuseg.scoring.fates import FATES
from monuseg.scoring.kept_runs import FURTHER, SUMMARY, ReferenceRun
from monuseg.scoring.paired import Difference, Pair
from monuseg.scoring.rows import TITLES, Row, Scores

DASH = "–"
SPLIT_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
COMPARED = ("dice", "iou", "accuracy", "aji", "pq", "dq", "sq")
ORIGINAL = ("loss", "accuracy", "f1", "pixel_dice", "dice")
SCORE_TITLES = {
    **{name: name.upper() for name in (*SUMMARY, *FURTHER)},
    **{name: name.capitalize() for name in ("loss", "accuracy", "dice", "precision", "recall")},
    **{"iou": "IoU", "aji_plus": "AJI+", "pixel_dice": "`pixel_dice`"},
}

# The scores in which a model must beat the baseline, and in which rows are compared.
DECIDING = {name: SCORE_TITLES[name] for name in ("dice", "aji", "pq")}

# Four digits beside the original's, which has four; three elsewhere, as is usual.
DIGITS = 3
ORIGINAL_DIGITS = 4

# One more than scores have: differences are small, and interval ends near 0 decide.
DIFFERENCE_DIGITS = 4

Entries = Sequence[Mapping[str, Any]]
Images = Mapping[str, pd.DataFrame]  # scores by row, a line an image

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


def marked(values: Sequence[Any], best: Callable[..., float] = max) -> list[str]:
    """Values as text; those printed like the best are strong, unless all are printed alike."""
    texts = [number(value) for value in values]
    known = [value for value in values if not pd.isna(value)]
    winner = number(best(known)) if len(set(texts) - {DASH}) > 1 else None
    return [f"**{text}**" if text == winner else text for text in texts]


def entries(rows: Iterable[Row], split: str, **texts: str) -> list[dict[str, Any]]:
    """The scores of the rows that were scored on a split, each with its `method`, and `texts`."""
    scored = [row for row in rows if row.scores.get(split)]
    return [{"method": row.title, **row.scores[split], **texts} for row in scored]


def scores_table(
    entries: Entries, names: Sequence[str], ours: int | None = None, *texts: str
) -> pd.DataFrame:
    """A line per entry: its `method`, its `texts`, and scores with their intervals.

    Args:
        entries: scores by name.
        names: of the scores.
        ours: of so many entries, the first, the best scores are strong; by default of all.
        texts: names of further texts, which are Markdown.
    """
    table = {"Method": [escaped(one["method"]) for one in entries]}
    table |= {text.capitalize(): [one[text] for one in entries] for text in texts}
    for name in names:
        best = marked([one.get(name) for one in entries[:ours]], min if name == "loss" else max)
        cells = best + [number(one.get(name)) for one in entries[len(best) :]]
        pairs = zip(cells, entries, strict=True)
        table[SCORE_TITLES[name]] = [cell + interval(one, name) for cell, one in pairs]
    return pd.DataFrame(table)


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
        {**one, "method": f"{one['method']}, {run.name}"}
        for run in runs
        if run.official_test
        for one in entries(run.table_rows(), TEST)
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


def differences_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """A line per pair of rows: the differences, their intervals, and whether they hold."""
    lines = [
        [escaped(short(first)), escaped(short(second)), *map(_difference, found.values())]
        for first, second, found in pairs
    ]
    return pd.DataFrame(lines, columns=["Method", "Minus", *DECIDING.values()])


def _difference(found: Difference | None) -> str:
    if found is None:
        return "too few images"
    mean, low, high = map(signed, (found.mean, found.low, found.high))
    said = f"**{mean} holds**" if found.holds else f"{mean} may be chance"
    left_out = f"; {found.left_out} left out" if found.left_out else ""
    return f"{said} *({low} to {high}; higher on {found.wins} of {found.images}{left_out})*"


def signed(value: float) -> str:
    """A difference as text, with a sign unless it is printed as 0."""
    text = f"{value:+.{DIFFERENCE_DIGITS}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def short(row: Row) -> str:
    """The row's title up to its first comma, which would be confusing in a list."""
    return row.title.partition(",")[0]


def organ_tables(
    rows: Sequence[Row], images: Images, organs: Mapping[str, str]
) -> dict[str, pd.DataFrame]:
    """A table per score of `DECIDING`, keyed by its title: a row per organ, a column per method.

    Scores that are missing for every organ and method are left out.

    Args:
        rows: the methods.
        images: of every row.
        organs: of each image.
    """
    scored = {escaped(row.title): images[row.key] for row in rows if row.key in images}
    found = {}
    for name, title in DECIDING.items() if scored else ():
        groups = {method: one[name].groupby(pd.Series(organs)) for method, one in scored.items()}
        means = pd.DataFrame({method: group.mean() for method, group in groups.items()})
        if means.notna().any(axis=None):
            means.loc["all"] = [one[name].mean() for one in scored.values()]
            sizes = next(iter(groups.values())).size()
            lines = zip(means.index, [*sizes, sum(sizes)], means.values.tolist(), strict=True)
            cells = [[escaped(organ), str(size), *marked(line)] for organ, size, line in lines]
            found[title] = pd.DataFrame(cells, columns=["Organ", "Images", *scored])
    return found


def calibration_table(rows: Sequence[Row], splits: Sequence[str]) -> pd.DataFrame:
    """The expected calibration error of each row on each split."""
    table = {"Method": [escaped(row.title) for row in rows]}
    for split in splits:
        bins = [row.calibration.get(split, []) for row in rows]
        table[SPLIT_TITLES[split]] = marked(list(map(expected_calibration_error, bins)), min)
    return pd.DataFrame(table)


def fates_table(counts: pd.DataFrame) -> pd.DataFrame:
    """What `count_fates` counted, of all sizes together: a line per method."""
    table = counts.pivot_table("nuclei", "method", "fate", "sum", fill_value=0, sort=False)
    table = table.reindex(columns=FATES, fill_value=0).rename(escaped).astype(str).reset_index()
    return table.rename(columns=str.capitalize)


def settings_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The settings of each row, and which images its threshold and nuclei were chosen on."""
    table = pd.DataFrame([{"method": row.title, **row.settings} for row in rows], dtype=object)
    if "chosen_on" in table:
        on = table["chosen_on"].dropna()
        table["chosen_on"] = on.map(lambda images: ", ".join(dict.fromkeys(images.values())))
    table.columns = table.columns.str.replace("_", " ").str.capitalize()
    return table.fillna(DASH).map(lambda cell: escaped(str(cell)))


def history_table(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per model: epochs, last objective, and the first epoch with the highest validation Dice."""
    lines = []
    for title, history in histories.items():
        best = history.dropna().nlargest(1, "validation_dice")
        numbers = [number(history["objective"].iloc[-1]), number(best["validation_dice"].max())]
        epochs = [str(len(history)), *numbers, number(best["epoch"].max(), 0)]
        lines.append([escaped(title), *epochs])
    columns = ["Model", "Epochs", "Last objective", "Highest validation Dice", "In epoch"]
    return pd.DataFrame(lines, columns=columns)


def original_table(split: str, sources: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    """One of the original's tables: as printed, as in its notebooks, and our results.

    Args:
        split: "train", "validation" or "test".
        sources: the rows of this run and of kept runs, keyed by their text in the column "From".
    """
    every = [one for one in records("original.csv") if one["split"] == split]
    for source, rows in sources.items():
        every += entries(rows, split, source=source)
    methods = list(dict.fromkeys(one["method"] for one in every))
    # The original's models, then ours, the baseline last.
    every.sort(key=lambda one: (one["method"] == TITLES[BASELINE], methods.index(one["method"])))
    lines = [
        [escaped(one["method"]), one["source"]]
        + [number(one.get(name), ORIGINAL_DIGITS) for name in ORIGINAL]
        for one in every
    ]
    return pd.DataFrame(lines, columns=["Model", "From", *(SCORE_TITLES[one] for one in ORIGINAL)])


def comparison_table(runs: Sequence[ReferenceRun]) -> pd.DataFrame:
    """Kept runs on their test images, and what others published for the official ones."""
    every = []
    for run in runs:
        other = f", **on other images** ({escaped(run.dataset.protocol)})"
        source = f"here, `{run.name}`{'' if run.official_test else other}"
        every += entries(run.table_rows(), TEST, source=source)
    return scores_table([*every, *records("published.csv")], COMPARED, 0, "source")


def records(name: str) -> list[dict[Any, Any]]:
    """The lines of a table beside this module, without its empty cells."""
    table = pd.read_csv(Path(__file__).with_name(name), comment="#")
    return [line.dropna().to_dict() for _, line in table.iterrows()]
