"""The report's tables, built from rows; a score that is not there is a dash."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.report import original
from stages.report.document import Cell, Column, Table, TableRow, escaped
from stages.report.published import PUBLISHED
from stages.report.reference import ReferenceRun
from stages.report.rows import TITLES, Row

DASH = "–"
MARKS = "†‡"
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
ORIGINAL = ("loss", "accuracy", "f1", "pixel_dice")

# Four digits where they stand beside the original's, which has four; else three, as is usual.
DIGITS = 3
ORIGINAL_DIGITS = 4


def number(value: float | None, digits: int = DIGITS) -> str:
    """A score as text; a dash for None."""
    return DASH if value is None else f"{value:.{digits}f}"


def interval(row: Row, split: str, name: str) -> str:
    """The 95 % interval of a score as text, or nothing."""
    low, high = row.value(split, f"{name}_lo"), row.value(split, f"{name}_hi")
    if low is None or high is None:
        return ""
    return f"{number(low)}–{number(high)}"


def scores_table(rows: Sequence[Row], split: str, names: Sequence[str], caption: str) -> Table:
    """A row each, the columns `names`, the best of each column strong.

    Args:
        rows: at least one.
        split: of which split the scores are.
        names: of scores, keys of `SCORE_TITLES`.
        caption: inline Markdown.
    """
    best = {name: _best(rows, split, name) for name in names}
    made = []
    for row in rows:
        cells = [Cell(escaped(row.title))]
        for name in names:
            value = row.value(split, name)
            cells.append(
                Cell(
                    number(value),
                    interval(row, split, name),
                    # What looks equal is marked as equal.
                    strong=value is not None and number(value) == best[name],
                )
            )
        style = "baseline" if row.is_baseline else ""
        made.append(TableRow(tuple(cells), style, starts_group=row.is_baseline))
    columns = (Column("Method", figures=False), *(Column(SCORE_TITLES[name]) for name in names))
    return Table(caption, columns, tuple(made))


def organ_tables(rows: Sequence[Row], split: str, names: Sequence[str]) -> list[Table]:
    """For each score a table of a row an organ and a column a method, the best of each row strong.

    Args:
        rows: at least one.
        split: of which split the scores are.
        names: of scores, keys of `SCORE_TITLES`; those that no row has of any organ are left out.
    """
    # How many images of each organ there are, which is the same in every row that is scored.
    images = {
        organ: scores.get("images")
        for row in rows
        for organ, scores in row.organs.get(split, {}).items()
    }
    made = []
    for name in names:
        lines = [
            (
                escaped(organ),
                images[organ],
                [row.organs.get(split, {}).get(organ, {}).get(name) for row in rows],
            )
            for organ in sorted(images)
        ]
        if all(value is None for *_, values in lines for value in values):
            continue
        known = [count for count in images.values() if count is not None]
        lines.append(("all", sum(known) or None, [row.value(split, name) for row in rows]))
        columns = (
            Column("Organ", figures=False),
            Column("Images"),
            *(Column(escaped(row.title)) for row in rows),
        )
        content = []
        for position, (organ, count, values) in enumerate(lines):
            best = _highest(values)
            cells = (
                Cell(organ),
                Cell(number(count, 0)),
                *(Cell(number(value), strong=number(value) == best) for value in values),
            )
            content.append(TableRow(cells, starts_group=position == len(lines) - 1))
        title = f"{SCORE_TITLES[name]} by organ, {SPLIT_TITLES[split].lower()}"
        made.append(Table(title, columns, tuple(content)))
    return made


def calibration_table(rows: Sequence[Row], splits: Sequence[str]) -> Table:
    """Each row's expected calibration error on each split; a dash where there is none."""
    found = [
        [
            row.calibration[split].expected_calibration_error if split in row.calibration else None
            for split in splits
        ]
        for row in rows
    ]
    best = [_lowest(column) for column in zip(*found, strict=True)]
    made = [
        TableRow(
            (
                Cell(escaped(row.title)),
                *(
                    Cell(number(value), strong=number(value) == lowest)
                    for value, lowest in zip(values, best, strict=True)
                ),
            ),
            "baseline" if row.is_baseline else "",
            starts_group=row.is_baseline,
        )
        for row, values in zip(rows, found, strict=True)
    ]
    columns = (Column("Method", figures=False), *(Column(SPLIT_TITLES[split]) for split in splits))
    return Table("Expected calibration error", columns, tuple(made))


def _best(rows: Iterable[Row], split: str, name: str) -> str | None:
    values = [row.value(split, name) for row in rows]
    return _lowest(values) if name == "loss" else _highest(values)


def _highest(values: Iterable[float | None]) -> str | None:
    """The highest value as text; None where fewer than two differ as they are shown."""
    known = _told_apart(values)
    return number(max(known)) if known else None


def _lowest(values: Iterable[float | None]) -> str | None:
    known = _told_apart(values)
    return number(min(known)) if known else None


def _told_apart(values: Iterable[float | None]) -> list[float]:
    known = [value for value in values if value is not None]
    return known if len({number(value) for value in known}) > 1 else []


@dataclass(frozen=True)
class Source:
    """Where a group of rows comes from.

    Attributes:
        title: inline Markdown for the column "From".
        rows: its rows.
        style: of its rows in the page.
    """

    title: str
    rows: Sequence[Row]
    style: str = ""


def original_table(split: str, sources: Sequence[Source]) -> Table:
    """One of the original's tables, its rows as printed, as they are true, and ours.

    Args:
        split: "train", "validation" or "test".
        sources: this run, then reference runs.
    """
    made: list[TableRow] = []
    remarks: list[str] = []
    for key in _keys(sources):
        group = [*_original_rows(split, key, remarks), *_own_rows(split, key, sources)]
        made += [
            TableRow(
                (Cell(escaped(TITLES.get(key, key)) if first else ""), *row.cells), row.style, first
            )
            for row, first in zip(group, [True] + [False] * len(group), strict=False)
        ]
    columns = (
        Column("Model", figures=False),
        Column("From", figures=False),
        *(Column(SCORE_TITLES[name]) for name in ORIGINAL),
        Column("Dice"),
    )
    return Table(SPLIT_TITLES[split], columns, tuple(made), tuple(remarks))


def _keys(sources: Sequence[Source]) -> list[str]:
    """The original's models, then every other row of ours; the baseline last."""
    ours = [row for source in sources for row in source.rows]
    others = [row.key for row in ours if not row.is_baseline]
    baseline = [row.key for row in ours if row.is_baseline]
    return list(dict.fromkeys([*original.MODELS, *others, *baseline]))


def _original_rows(split: str, key: str, remarks: list[str]) -> list[TableRow]:
    """The rows "printed" and "true" without the model's cell; adds notes to `remarks`."""
    made = []
    for title, table in (("printed", original.PRINTED), ("true", original.TRUE)):
        scores = table.get(split, {}).get(key)
        if scores is None:
            continue
        mark = ""
        if scores.wrong_in_print:
            mark = MARKS[len(remarks)]
            remarks.append(f"{mark} Wrong in print: {scores.wrong_in_print}.")
        values = (getattr(scores, name) for name in ORIGINAL)
        cells = (
            Cell(f"original, {title}{mark}"),
            *(Cell(number(value, ORIGINAL_DIGITS)) for value in values),
            Cell(DASH),
        )
        made.append(TableRow(cells, "muted"))
    return made


def _own_rows(split: str, key: str, sources: Sequence[Source]) -> list[TableRow]:
    """This model's row of each source that scored it on this split, without the model's cell."""
    made = []
    for source in sources:
        row = next((row for row in source.rows if row.key == key), None)
        if row is None:
            continue
        values = [row.value(split, name) for name in (*ORIGINAL, "dice")]
        if all(value is None for value in values):
            continue
        cells = (Cell(source.title), *(Cell(number(value, ORIGINAL_DIGITS)) for value in values))
        made.append(TableRow(cells, source.style))
    return made


def comparison_table(runs: Sequence[ReferenceRun]) -> Table:
    """Reference runs on the test images, and what others published for them."""
    made: list[TableRow] = []
    for run in runs:
        for position, row in enumerate(run.table_rows()):
            style = "baseline" if row.is_baseline else "ours"
            made.append(
                TableRow(
                    (
                        Cell(escaped(row.title)),
                        *_compared(row),
                        Cell(f"here, `{run.name}`"),
                    ),
                    style,
                    starts_group=position == 0,
                )
            )
    for position, method in enumerate(PUBLISHED):
        row = Row(method.method, {"test": method.scores})
        source = f"[{escaped(method.source)}]({method.url})"
        cells = (Cell(escaped(method.method)), *_compared(row), Cell(source))
        made.append(TableRow(cells, "", starts_group=position == 0))
    columns = (
        Column("Method", figures=False),
        *(Column(SCORE_TITLES[name]) for name in COMPARED),
        Column("Source", figures=False),
    )
    return Table("The 14 official test images of MoNuSeg 2018", columns, tuple(made))


def _compared(row: Row) -> list[Cell]:
    return [Cell(number(row.value("test", name)), interval(row, "test", name)) for name in COMPARED]
