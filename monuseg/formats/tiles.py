"""The layout of `data/tiles/<split>/`: padded arrays of whole images, and windows on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.files import write_array
from monuseg.formats.images import RGB, Labels

Pixel = TypeVar("Pixel", bound=np.generic)
Item = TypeVar("Item", covariant=True)

INDEX = "index.csv"
COLUMNS = ["image", "organ", "um_per_pixel", "y", "x", "height", "width", "nuclei"]
HELD = 32  # images that are open at a time


def window_starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows must start along an axis to cover every pixel.

    They are `stride` apart; the last one is moved back to end where the axis does. An axis
    shorter than `size` has one window, from 0, which reaches into the padding.
    """
    last = max(length - size, 0)
    return [*range(0, last, stride), last] if last else [0]


def pad(array: npt.NDArray[Pixel], height: int, width: int) -> npt.NDArray[Pixel]:
    """`array` with its first two axes mirrored at the end up to `height` and `width`."""
    missing = [max(n - length, 0) for n, length in zip((height, width), array.shape, strict=False)]
    widths = [(0, missing[0]), (0, missing[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, widths, mode="symmetric")


def tile_rows(
    image: str, organ: str, um_per_pixel: float, labels: Labels, size: int, stride: int
) -> list[dict[str, object]]:
    """The rows of the index for one image.

    Args:
        image: its id.
        organ: its organ.
        um_per_pixel: of `labels`, which stage tile may have rescaled.
        labels: (height, width) label map before padding.
        size: side of a window.
        stride: distance between windows.

    Returns:
        One row per window: y and x of its upper left pixel, height and width of its part that lies
        in the image (the rest is padding), and the number of nuclei with a pixel in it.
    """
    height, width = labels.shape
    rows: list[dict[str, object]] = []
    for y in window_starts(height, size, stride):
        for x in window_starts(width, size, stride):
            window = labels[y : y + size, x : x + size]
            place = (image, organ, um_per_pixel, y, x, *window.shape)
            nuclei = np.count_nonzero(np.unique(window))
            rows.append(dict(zip(COLUMNS, (*place, nuclei), strict=True)))
    return rows


def write_image(folder: Path, image_id: str, image: RGB, labels: Labels, size: int) -> None:
    """Write an image and its label map as padded arrays that can be memory-mapped."""
    write_array(folder / f"{image_id}.image.npy", pad(image, size, size))
    write_array(folder / f"{image_id}.labels.npy", pad(labels, size, size))


@dataclass(frozen=True)
class TiledImage:
    """An image of a split, memory-mapped.

    Attributes:
        id: of the image.
        um_per_pixel: of the arrays, which stage tile may have rescaled.
        height: of the arrays, without padding.
        width: of the arrays, without padding.
        image: (height + padding, width + padding, 3) uint8 RGB.
        labels: (height + padding, width + padding) uint16, padded in the same way.
        windows: (y, x, height, width) of each tile; height and width are its part in the image.
        organ: as in the manifest.
    """

    id: str
    um_per_pixel: float
    height: int
    width: int
    image: RGB
    labels: Labels
    windows: list[tuple[int, int, int, int]]
    organ: str


class OnDemand(Sequence[Item]):
    """A sequence whose items are made when they are asked for; only the last few are held.

    So its memory does not grow with its length. May be used by several threads.

    Args:
        make: gives the item of a number from 0; equal numbers must give equal items.
        length: of the sequence.
        held: how many items are held.
    """

    def __init__(self, make: Callable[[int], Item], length: int, held: int = HELD) -> None:
        self._make = lru_cache(held)(make)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: Any) -> Any:
        """An item, or a list of those of a slice."""
        places = range(self._length)[place]
        return self._make(places) if isinstance(places, int) else [*map(self._make, places)]


def read_tiles(folder: Path) -> Sequence[TiledImage]:
    """The images of a split, in the order of its index, each opened when it is asked for.

    Pages of a memory map that were read count as memory of the process until the map is closed.

    Returns:
        The images; none if the split is empty.

    Raises:
        PipelineError: the folder has no index.
    """
    import pandas as pd  # not above: worker processes only write tiles, and start sooner

    index = folder / INDEX
    if not index.is_file():
        raise PipelineError(f"{index} is missing; run `dvc repro tile`")
    table = pd.read_csv(index, dtype={"image": str, "organ": str}, keep_default_na=False)
    # Arrays: as lists, a million windows would take a hundred times the memory.
    windows = table[COLUMNS[3:7]].to_numpy(np.int32)
    rows_of = [rows.index for _, rows in table.groupby("image", sort=False)]
    firsts = [tuple(table.loc[rows[0], COLUMNS[:3]]) for rows in rows_of]

    def opened(place: int) -> TiledImage:
        image_id, organ, um_per_pixel = firsts[place]
        rows = rows_of[place]
        height, width = (windows[rows, :2] + windows[rows, 2:]).max(axis=0).tolist()
        image, labels = (
            np.load(folder / f"{image_id}.{kind}.npy", mmap_mode="r", allow_pickle=False)
            for kind in ("image", "labels")
        )
        listed = [(y, x, *sides) for y, x, *sides in windows[rows].tolist()]
        return TiledImage(image_id, um_per_pixel, height, width, image, labels, listed, organ)

    return OnDemand(opened, len(firsts))
