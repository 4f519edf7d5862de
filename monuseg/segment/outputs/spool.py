"""Nuclei on disk, so that they can be read again and by place, however many there are."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from monuseg.core.files import naming
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.sheets import Integers, numbered


@dataclass(frozen=True)
class _Part:
    """Some nuclei: where they lie in the file, their ids, and the rows of the image they reach."""

    offset: int
    first: int
    count: int
    top: int
    bottom: int


class Spool:
    """All nuclei of an image in a file without a name, which is gone with this process.

    It takes about 100 bytes a nucleus on disk, and in memory next to nothing.
    """

    def __init__(self, objects: Iterable[Objects], folder: Path) -> None:
        """Store nuclei.

        Args:
            objects: in the order of their ids; iterated over once.
            folder: where the file is made.
        """
        self._parts: list[_Part] = []
        with naming(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, __exit__ closes it
            try:
                for first, part in numbered(objects):
                    self._append(first, part)
            except BaseException:
                self._file.close()
                raise

    def _append(self, first: int, part: Objects) -> None:
        top, bottom = int(part.boxes[:, 0].min()), int(part.boxes[:, 2].max())
        self._parts.append(_Part(self._file.tell(), first, len(part), top, bottom))
        bits = np.packbits(np.concatenate([mask.ravel() for mask in part.masks]))
        for array in (part.boxes, part.probability, part.haematoxylin, bits):
            np.save(self._file, array, allow_pickle=False)

    def __len__(self) -> int:
        """How many nuclei there are."""
        return sum(part.count for part in self._parts)

    def __iter__(self) -> Iterator[Objects]:
        """All nuclei, in their order."""
        for part in self._parts:
            yield self._read(part, 0, part.bottom)[1]

    def reaching(self, top: int, bottom: int) -> Iterator[tuple[Integers, Objects]]:
        """The nuclei whose boxes have any of the rows `top` to `bottom` - 1, and their ids."""
        for part in self._parts:
            if part.top < bottom and part.bottom > top:
                yield self._read(part, top, bottom)

    def _read(self, part: _Part, top: int, bottom: int) -> tuple[Integers, Objects]:
        self._file.seek(part.offset)
        boxes, probability, haematoxylin, bits = (np.load(self._file) for _ in range(4))
        heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
        ends = np.cumsum(heights * widths)
        cells = np.unpackbits(bits).view(np.bool_)
        chosen = np.flatnonzero((boxes[:, 0] < bottom) & (boxes[:, 2] > top))
        masks = [
            cells[end - height * width : end].reshape(height, width)
            for end, height, width in zip(
                ends[chosen].tolist(),
                heights[chosen].tolist(),
                widths[chosen].tolist(),
                strict=True,
            )
        ]
        found = Objects(boxes[chosen], masks, probability[chosen], haematoxylin[chosen])
        return part.first + chosen, found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
