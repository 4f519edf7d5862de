"""Training histories: metrics/history/<model>.csv."""

from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError

CURVES = ("objective", "validation_loss", "validation_dice")


def read_history(model: str, folder: Path) -> pd.DataFrame:
    """The history that training wrote.

    Returns:
        A line per epoch: its number, `epoch`, and `CURVES`; NaN where there is no value, as in
        runs without validation images.

    Raises:
        PipelineError: the file is missing, empty, or lacks a column.
    """
    path = folder / f"{model}.csv"
    remedy = f"run `dvc repro train@{model}`"
    try:
        history = pd.read_csv(path)[["epoch", *CURVES]].astype(float)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (KeyError, ValueError) as error:  # pandas' own errors are kinds of ValueError
        raise PipelineError(
            f"{path} is no training history ({error}); delete it and {remedy}"
        ) from error
    if history.empty:
        raise PipelineError(f"{path} holds no epoch; delete it and {remedy}")
    return history
