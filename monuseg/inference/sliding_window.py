"""Probabilities of a whole image from overlapping windows, blended smoothly."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from monuseg.formats.tiles import pad, window_starts

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
# From (windows, height, width, 3) uint8 to (windows, height, width, classes) probabilities.
Forward = Callable[[Pixels], Floats]
# Row and column of a window's upper left pixel.
Place = tuple[int, int]


class Region(NamedTuple):
    """A rectangle of pixels, half open."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Grid:
    """Windows that cover an image, all of one shape: a backend compiles a model for each shape.

    Attributes:
        height: of the image.
        width: of the image.
        rows: of a window; more than `height` if the model needs them.
        columns: likewise.
        overlap: pixels that neighbouring windows share.
    """

    height: int
    width: int
    rows: int
    columns: int
    overlap: int

    @classmethod
    def over(cls, height: int, width: int, *, window: int, overlap: int, divisor: int) -> Self:
        """The windows over an image; see `predict_image`."""
        side = _up_to(window, divisor)
        rows, columns = (min(side, _up_to(length, divisor)) for length in (height, width))
        return cls(height, width, rows, columns, overlap)

    @cached_property
    def places(self) -> list[Place]:
        """Where windows start, row by row."""
        return [*product(self._tops, self._lefts)]

    def touching(self, region: Region) -> list[Place]:
        """The places of the windows that have a pixel of a region, row by row."""
        top, bottom, left, right = region
        return [
            *product(
                [y for y in self._tops if y < bottom and y + self.rows > top],
                [x for x in self._lefts if x < right and x + self.columns > left],
            )
        ]

    @cached_property
    def _tops(self) -> list[int]:
        return window_starts(self.height, self.rows, self.rows - self.overlap)

    @cached_property
    def _lefts(self) -> list[int]:
        return window_starts(self.width, self.columns, self.columns - self.overlap)


class Blend:
    """The mean of windows over a region, of weights that fall off linearly over the overlap.

    Each pixel has the same bits in whatever region, if windows are added row by row. Pixels of no
    window are 0.

    Args:
        grid: of the windows.
        region: of the grid's image.
        classes: of the answers.
    """

    def __init__(self, grid: Grid, region: Region, classes: int) -> None:
        self._grid, self._region = grid, region
        shape = region.bottom - region.top, region.right - region.left
        self._weights = np.zeros(shape, np.float32)
        self._total = np.zeros((*shape, classes), np.float32)
        self._weight = _weight(grid.rows, grid.columns, grid.overlap, classes)

    def add(self, place: Place, answer: Floats, skipped: int = 0) -> None:
        """Add a window.

        Args:
            place: where it starts.
            answer: (rows, columns, classes) of it, or some of these rows.
            skipped: rows of the window above those.

        Raises:
            ValueError: the region has pixels of the window in other rows.
        """
        top, bottom, left, right = self._region
        y, x = place
        rows = slice(max(y, top), min(y + self._grid.rows, bottom))
        columns = slice(max(x, left), min(x + self._grid.columns, right))
        within = _moved(rows, -y), _moved(columns, -x)
        here = _moved(rows, -top), _moved(columns, -left)
        own = answer[_moved(within[0], -skipped), within[1]]
        if len(self._grid.places) == 1:  # nothing to blend, which would cost time and a last bit
            self._total[here] = own
            self._weights[here] = 1
            return
        self._weights[here] += self._weight[within][..., 0]
        # As a plane, since NumPy is slow where the last axis is short.
        weighted = _plane(own) * _plane(self._weight[within])
        _plane(self._total)[here[0], _times(here[1], own.shape[2])] += weighted

    def mean(self) -> Floats:
        """(height, width, classes) of the region; nothing can be added afterwards."""
        weights = np.maximum(self._weights, np.finfo(np.float32).tiny, out=self._weights)
        for channel in range(self._total.shape[-1]):
            self._total[..., channel] /= weights
        return self._total


def predict_image(
    forward: Forward,
    image: Pixels,
    *,
    window: int,
    overlap: int,
    divisor: int,
    batch_size: int = 1,
) -> Floats:
    """Predict the probabilities of each pixel of an image.

    An image that fits in one window goes through at once. A larger one is covered by windows whose
    predictions are averaged with weights that fall off linearly over the overlap, so that pixels
    without context count least and no seam shows.

    Args:
        forward: the model.
        image: (height, width, 3).
        window: side of a window in pixels; rounded up to a multiple of `divisor`.
        overlap: pixels that neighbouring windows share, below `window`.
        divisor: must divide height and width of a window; missing pixels are mirrored.
        batch_size: windows per call of `forward`.

    Returns:
        (height, width, classes).
    """
    height, width = image.shape[:2]
    grid = Grid.over(height, width, window=window, overlap=overlap, divisor=divisor)
    padded = pad(image, grid.rows, grid.columns)
    blend: Blend | None = None
    # Added as they come: the answers of all windows together take more memory than the image's.
    for first in range(0, len(grid.places), batch_size):
        batch = grid.places[first : first + batch_size]
        windows = [padded[y : y + grid.rows, x : x + grid.columns] for y, x in batch]
        answers = forward(np.stack(windows))
        blend = blend or Blend(grid, Region(0, height, 0, width), answers.shape[-1])
        for place, answer in zip(batch, answers, strict=True):
            blend.add(place, answer)
    if blend is None:
        raise ValueError("an image without pixels")
    return blend.mean()


def _up_to(length: int, divisor: int) -> int:
    """`length` rounded up to a multiple of `divisor`."""
    return -(-length // divisor) * divisor


@lru_cache(4)
def _weight(rows: int, columns: int, overlap: int, classes: int) -> Floats:
    """How much each value of a window counts, (rows, columns, classes)."""
    weight = np.outer(_ramp(rows, overlap), _ramp(columns, overlap))
    return np.repeat(weight[..., np.newaxis], classes, axis=2)


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _times(part: slice, by: int) -> slice:
    return slice(part.start * by, part.stop * by)


def _plane(array: Floats) -> Floats:
    """(height, width * classes); of what is one piece, not a copy."""
    return array.reshape(len(array), -1)


def _ramp(length: int, overlap: int) -> Floats:
    """Weights along an axis: 1 in the middle, falling towards both ends, above 0 everywhere."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    return np.minimum(distance / (overlap + 1), 1).astype(np.float32)
