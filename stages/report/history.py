"""What train wrote of each epoch."""

from pathlib import Path

import pandas as pd

from monuseg.core.errors import PipelineError

# The columns of a training history that have a chart, and its title.
CURVES = {
    "objective": "Training objective",
    "validation_loss": "Validation loss",
    "validation_dice": "Validation Dice",
}


def read_history(model: str, folder: Path) -> pd.DataFrame:
    """The history that training wrote.

    Returns:
        A line per epoch: its number, `epoch`, and `CURVES`; NaN where there is no value, as in
        runs without validation images.

    Raises:
        PipelineError: the file is missing, has no epoch, or lacks a column.
    """
    path, remedy = folder / f"{model}.csv", f"run `dvc repro train@{model}`"
    try:
        history = pd.read_csv(path)[["epoch", *CURVES]].astype(float)
        if history.empty:
            raise ValueError("no epoch")
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {remedy}") from error
    except (KeyError, ValueError) as error:  # pandas' own errors are kinds of ValueError
        raise PipelineError(
            f"{path} is no training history ({error}); delete it and {remedy}"
        ) from error
    return history
