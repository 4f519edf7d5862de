"""Resampling any part of an image as the whole would be resampled."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float32]
Value = TypeVar("Value", bound=np.generic)
CHANNELS = 4  # OpenCV transposes so many of any type, three times as fast as NumPy


@dataclass(frozen=True)
class Resampling:
    """From one number of pixels along an axis to another.

    Pixels are averaged by the area that a new one covers where there become fewer, and interpolated
    linearly between their centres otherwise, as OpenCV's INTER_AREA and INTER_LINEAR do for whole
    images. Each new pixel's weights depend on its place in the whole axis, so that it has the same
    value in whatever part of the axis it is made.

    Attributes:
        length: pixels that there are.
        made: pixels that there become.
    """

    length: int
    made: int

    @property
    def changes(self) -> bool:
        """Whether it is any resampling at all."""
        return self.length != self.made

    def source(self, start: int, stop: int) -> tuple[int, int]:
        """The pixels, half open, that the new ones `start` to `stop` are made of."""
        places, parts = self._taps(np.array([start, stop - 1]))
        used = places[parts > 0]
        return int(used.min()), int(used.max()) + 1

    def weights(self, start: int, stop: int) -> csr_array:
        """How the pixels of `source` become the new ones `start` to `stop`.

        Returns:
            (new pixels, pixels) float32.
        """
        first, end = self.source(start, stop)
        places, parts = self._taps(np.arange(start, stop))
        return csr_array(
            (
                (parts / parts.sum(axis=1, keepdims=True)).astype(np.float32).ravel(),
                np.clip(places - first, 0, end - first - 1).ravel(),
                np.arange(0, places.size + 1, places.shape[1]),
            ),
            shape=(stop - start, end - first),
        )

    def _taps(
        self, new: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The pixels under each new one, (new, taps), and how much of it each is."""
        new = new[:, np.newaxis]
        ratio = self.length / self.made
        if ratio > 1:
            places = np.floor(new * ratio).astype(np.int64) + np.arange(int(np.ceil(ratio)) + 1)
            covered = np.minimum((new + 1) * ratio, places + 1) - np.maximum(new * ratio, places)
            # What rounding leaves of a pixel that is not covered is none of it.
            return np.clip(places, 0, self.length - 1), np.where(covered > 1e-6, covered, 0)
        centre = (new + 0.5) * ratio - 0.5
        before = np.floor(centre).astype(np.int64)
        beyond = centre - before
        places = np.clip(np.hstack([before, before + 1]), 0, self.length - 1)
        return places, np.hstack([1 - beyond, beyond])


def resampled(part: Floats, rows: csr_array, columns: csr_array) -> Floats:
    """A part of an image, resampled along both axes.

    Args:
        part: (pixels of `rows`, pixels of `columns`, channels).
        rows: from `Resampling.weights`.
        columns: likewise.

    Returns:
        (new rows, new columns, channels).
    """
    height, width, channels = part.shape
    # Rows first, everywhere: the order decides on last bits.
    down = (rows @ part.reshape(height, width * channels)).reshape(-1, width, channels)
    standing = transposed(down).reshape(width, -1)
    return transposed((columns @ standing).reshape(-1, len(down), channels))


def transposed(part: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """(width, height, channels) of (height, width, channels), in one piece."""
    if part.shape[2] > CHANNELS:
        return np.ascontiguousarray(part.swapaxes(0, 1))
    return np.asarray(cv2.transpose(part), part.dtype).reshape(*part.shape[1::-1], part.shape[2])
