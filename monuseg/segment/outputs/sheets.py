"""Many cropped masks in one flat array, so that NumPy works on all of them at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monuseg.segment.objects import Mask, Objects

Integers = npt.NDArray[np.int64]

CHUNK = 1024  # nuclei worked on at once: a megabyte or so, which stays in a processor's cache


@dataclass(frozen=True)
class Sheet:
    """Masks row by row one after the other, each within a frame of one cell of background.

    A cell's neighbours are 1 and `stride` away, never beyond its own mask's frame.

    Attributes:
        cells: (c,) int8, 1 where a mask is true.
        start: (n,) the first cell of each mask's frame.
        stride: (n,) cells per row.
    """

    cells: npt.NDArray[np.int8]
    start: Integers
    stride: Integers

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> "Sheet":
        """Lay out masks of any shapes."""
        shapes = np.array([mask.shape for mask in masks], np.int64).reshape(-1, 2) + 2
        ends = np.cumsum(shapes.prod(axis=1))
        start = ends - shapes.prod(axis=1)
        cells = np.zeros(int(ends[-1]) if len(ends) else 0, np.int8)
        for mask, first, end in zip(masks, start.tolist(), ends.tolist(), strict=True):
            rows, columns = mask.shape
            cells[first:end].reshape(rows + 2, columns + 2)[1:-1, 1:-1] = mask
        return cls(cells, start, shapes[:, 1])

    def __len__(self) -> int:
        return len(self.start)

    def owners(self, cells: Integers) -> Integers:
        """The mask that each of some cells, in ascending order, belongs to."""
        ends = np.searchsorted(cells, np.append(self.start, len(self.cells)))
        return np.repeat(np.arange(len(self)), np.diff(ends))

    def places(self, cells: Integers, owner: Integers) -> tuple[Integers, Integers]:
        """Rows and columns of cells in their own masks."""
        rows, columns = np.divmod(cells - self.start[owner], self.stride[owner])
        return rows - 1, columns - 1

    @cached_property
    def inside(self) -> Integers:
        """The cells of all masks' pixels."""
        return np.flatnonzero(self.cells)

    @cached_property
    def border(self) -> tuple[Integers, Integers]:
        """The pixels with an edge to the background, and the mask of each."""
        owner = self.owners(self.inside)
        stride = self.stride[owner]
        whole = self.cells[self.inside - 1] & self.cells[self.inside + 1]
        whole &= self.cells[self.inside - stride] & self.cells[self.inside + stride]
        return self.inside[whole == 0], owner[whole == 0]


def numbered(blocks: Iterable[Objects]) -> Iterator[tuple[int, Objects]]:
    """The nuclei in parts of at most `CHUNK`, each with the id of its first; ids begin with 1."""
    first = 1
    for block in blocks:
        for start in range(0, len(block), CHUNK):
            part = slice(start, start + CHUNK)
            yield (
                first + start,
                Objects(
                    block.boxes[part],
                    block.masks[part],
                    block.probability[part],
                    block.haematoxylin[part],
                ),
            )
        first += len(block)
