"""Arrays that a training makes of its images, on disk instead of in memory."""

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monuseg.core.files import naming

Array = npt.NDArray[Any]


class Stored:
    """Arrays in one file without a name, memory-mapped when they are asked for.

    As the file has no name, its disk space is free as soon as the process ends, however it ends,
    and no other run can take the arrays for its own.

    Args:
        folder: where there is space for them; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._kept: list[tuple[np.dtype[Any], int, tuple[int, ...]]] = []

    def append(self, array: Array) -> None:
        """Keep a copy of an array, of any type that needs no pickle.

        Raises:
            OSError: the disk is full, by the folder's name.
        """
        with naming(self._folder):
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        self._kept.append((array.dtype, self._end, array.shape))
        self._end += array.nbytes

    def __getitem__(self, place: int) -> Array:
        """An array, by its number from 0; it cannot be written to."""
        dtype, start, shape = self._kept[place]
        if 0 in shape:  # which no file can be mapped to
            return np.zeros(shape, dtype)
        return np.memmap(self._file, dtype, "r", start, shape)
