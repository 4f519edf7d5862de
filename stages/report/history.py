"""Training histories: metrics/history/<model>.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError
from stages.report.document import Cell, Column, Table, TableRow, escaped
from stages.report.rows import TITLES
from stages.report.tables import number

COLUMNS = ("objective", "validation_loss", "validation_dice")


@dataclass(frozen=True)
class History:
    """One model's training.

    Attributes:
        model: its name.
        epochs: numbers of the epochs.
        curves: each of `COLUMNS` to a value an epoch, None where there is none.
    """

    model: str
    epochs: tuple[int, ...]
    curves: dict[str, tuple[float | None, ...]]

    def has(self, column: str) -> bool:
        """Whether the column holds a value at all (without validation images it does not)."""
        return any(value is not None for value in self.curves[column])


def read_history(model: str, folder: Path) -> History:
    """The history that training wrote.

    Raises:
        PipelineError: the file is missing, empty, or lacks a column.
    """
    path = folder / f"{model}.csv"
    remedy = f"run `dvc repro train@{model}`"
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is no CSV ({error}); delete it and {remedy}") from error
    for name in ("epoch", *COLUMNS):
        if name not in table.columns:
            raise PipelineError(f"{path}: no column {name!r}; delete it and {remedy}")
    if table.empty:
        raise PipelineError(f"{path} holds no epoch; delete it and {remedy}")
    curves = {
        name: tuple(None if pd.isna(value) else float(value) for value in table[name])
        for name in COLUMNS
    }
    return History(model, tuple(int(epoch) for epoch in table["epoch"]), curves)


def history_table(histories: Sequence[History]) -> Table:
    """For each model: epochs, the last objective, and the epoch of highest validation Dice."""
    made = []
    for history in histories:
        scored = [
            (value, epoch)
            for value, epoch in zip(history.curves["validation_dice"], history.epochs, strict=True)
            if value is not None
        ]
        # Of equal ones the first, as training keeps it.
        best, at = max(scored, key=lambda pair: (pair[0], -pair[1])) if scored else (None, None)
        cells = (
            Cell(escaped(TITLES.get(history.model, history.model))),
            Cell(str(len(history.epochs))),
            Cell(number(history.curves["objective"][-1])),
            Cell(number(best)),
            Cell(number(at, 0)),
        )
        made.append(TableRow(cells))
    titles = ("Epochs", "Last objective", "Highest validation Dice", "in epoch")
    columns = (Column("Model", figures=False), *(Column(title) for title in titles))
    return Table("Epochs", columns, tuple(made))
