"""metrics/history/MODEL.csv: what train wrote of each epoch."""

from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError

COLUMNS = ("objective", "validation_loss", "validation_dice")


def read_history(model: str, folder: Path) -> pd.DataFrame:
    """The history that training wrote.

    Returns:
        A line per epoch: its number, `epoch`, and `COLUMNS`; NaN where there is no value, as in
        runs without validation images.

    Raises:
        PipelineError: the file is missing, has no epoch, or lacks a column.
    """
    path, remedy = folder / f"{model}.csv", f"run `dvc repro train@{model}`"
    try:
        history = pd.read_csv(path)[["epoch", *COLUMNS]].astype(float)
        if history.empty:
            raise ValueError("no epoch")
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (KeyError, ValueError) as error:  # pandas' own errors are kinds of ValueError
        raise PipelineError(
            f"{path} is no training history ({error}); delete it and {remedy}"
        ) from error
    return history
