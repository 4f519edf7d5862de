"""The mean of several models' probabilities of one image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import SplitRecord
from monuseg.formats.predictions import read_probabilities, write_probabilities


def write_mean(
    record: SplitRecord, *, folders: list[Path], classes: Sequence[str], to: Path
) -> None:
    """Write the mean of one image's probabilities over several predictions folders.

    Args:
        record: of the image.
        folders: of the models' predictions.
        classes: of each.
        to: folder to write to.

    Raises:
        PipelineError: an array is missing or damaged, differs from the first one in size, has
            another number of classes, or holds what is no probability.
    """
    total = _member(record, folders[0], classes)
    for folder in folders[1:]:
        member = _member(record, folder, classes)
        if member.shape != total.shape:
            raise PipelineError(
                f"{folder / record.id}.npy: {member.shape[1]} x {member.shape[0]} pixels, but "
                f"{folders[0].name} has {total.shape[1]} x {total.shape[0]}; predict both again: "
                f"{_remedy(folder)}, and the same for {folders[0].name}"
            )
        total += member
    total /= np.float32(len(folders))
    write_probabilities(to, record.id, total)


def _member(record: SplitRecord, folder: Path, classes: Sequence[str]) -> npt.NDArray[np.float32]:
    """One model's probabilities, in float32, since a sum of float16 would lose bits."""
    found = np.array(read_probabilities(folder, record.id), np.float32)
    file = folder / f"{record.id}.npy"
    if found.shape[2] != len(classes):
        raise PipelineError(
            f"{file}: {found.shape[2]} channels, but the classes are {', '.join(classes)}; "
            f"{_remedy(folder)}"
        )
    if not np.all((found >= 0) & (found <= 1)):  # false for NaN
        raise PipelineError(f"{file}: a value is NaN or not from 0 to 1; {_remedy(folder)}")
    return found


def _remedy(folder: Path) -> str:
    return f"delete {folder} and run `dvc repro predict@{folder.name}`"
