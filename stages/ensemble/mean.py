"""The mean of several models' probabilities of one image."""

from pathlib import Path

import numpy as np

from monuseg.formats.manifest import SplitRecord
from monuseg.formats.predictions import read_probabilities, write_probabilities


def write_mean(record: SplitRecord, *, folders: list[Path], to: Path) -> None:
    """Write the mean of one image's probabilities over several predictions folders."""
    # In float32: a sum of float16 would lose bits.
    members = [np.asarray(read_probabilities(folder, record.id), np.float32) for folder in folders]
    write_probabilities(to, record.id, np.mean(members, axis=0, dtype=np.float32))
