"""Probabilities of an image of any size, part by part, in bounded memory."""

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from monuseg.core.ahead import overlapped
from monuseg.core.files import naming
from monuseg.formats.images import RGB
from monuseg.formats.predictions import Probabilities
from monuseg.formats.tiles import pad
from monuseg.inference.params import PredictParams
from monuseg.inference.resampling import Resampling, resampled
from monuseg.inference.sliding_window import Blend, Floats, Forward, Grid, Place, Region

# Pixels `y, x, height, width` of the image, all within it: (height, width, 3).
Read = Callable[[int, int, int, int], RGB]
# Whether a region of the image's pixels is worth computing.
Wanted = Callable[[Region], bool]
# The number of a scale and the place of a window.
Key = tuple[int, Place]

OPENCV = int(cv2.__version__.partition(".")[0])
STRIP = 256  # rows of the image that are put together at a time
MEMORY = 64 << 20  # bytes of windows' answers; what is more lies in a file


def everywhere(region: Region) -> bool:
    """Leave nothing out."""
    return True


class Stream:
    """The probabilities of an image's pixels, from windows at the model's resolution.

    Each window is computed once, when the first region needs it, and dropped after the last that
    does. A pixel has the same value in whatever regions the image is asked for.

    Args:
        forward: the model, its views included; see `monuseg.inference.views.over_views`.
        read: gives the image's pixels; it is called in another thread, once at a time.
        height: of the image.
        width: of the image.
        params: windows, and the scales to average over.
        divisor: must divide height and width of the model's input.
        scale: the model's pixels per pixel of the image, from `monuseg.formats.scale`.
        wanted: windows over a region for which it is false are left out: where only those are,
            probabilities are 0.
        scratch: folder of the file that holds what is more than `memory`; None: the system's.
        memory: bytes of windows' answers that are held outside it.
    """

    def __init__(
        self,
        forward: Forward,
        read: Read,
        height: int,
        width: int,
        params: PredictParams,
        *,
        divisor: int,
        scale: float = 1.0,
        wanted: Wanted = everywhere,
        scratch: Path | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.height, self.width = height, width
        self._forward, self._batch_size = forward, params.batch_size
        # Together with the views' scales: the image is resampled once there and once back.
        self._layers = [
            _Layer(read, height, width, scale * one, params, divisor) for one in params.scales
        ]
        self._wanted = lru_cache(1 << 16)(lambda key: wanted(self._layers[key[0]].read_for(key[1])))
        self._scratch, self._memory = scratch, memory

    def regions(self, regions: Sequence[Region]) -> Generator[Probabilities]:
        """The probabilities of regions, in their order.

        The least is held at a time where they are in rows from top to bottom, each from left to
        right.

        Args:
            regions: of the image's pixels.

        Yields:
            Of each region (height, width, classes), rounded to what a predictions folder keeps.

        Raises:
            ValueError: all windows over the first region are left out.
            OSError: the disk of the scratch file is full.
        """
        last = {key: n for n, region in enumerate(regions) for key in self._keys(region)}
        with ExitStack() as stack:
            answers = _Answers(self._scratch, self._memory, stack)
            batches = [self._batches(keys) for keys in self._new_keys(regions)]
            # Windows are read while the model works on those before.
            pixels = stack.enter_context(
                closing(overlapped(self._read, chain.from_iterable(batches)))
            )
            for number, region in enumerate(regions):
                for batch in batches[number]:
                    for key, answer in zip(batch, self._forward(next(pixels)), strict=True):
                        answers.put(key, answer)
                yield self._stitched(region, answers)
                for key in self._keys(region):
                    if last[key] == number:
                        answers.drop(key)

    def _keys(self, region: Region) -> list[Key]:
        """The windows that a region needs."""
        return [
            (number, place)
            for number, layer in enumerate(self._layers)
            for place in layer.grid.touching(layer.needed(region))
            if self._wanted((number, place))
        ]

    def _new_keys(self, regions: Sequence[Region]) -> Iterator[list[Key]]:
        """The windows that each region is the first to need."""
        seen: set[Key] = set()
        for region in regions:
            keys = [key for key in self._keys(region) if key not in seen]
            seen.update(keys)
            yield keys

    def _batches(self, keys: Sequence[Key]) -> list[list[Key]]:
        """Windows that go through the model together: of one layer, `batch_size` at most."""
        return [
            layer[first : first + self._batch_size]
            for layer in ([key for key in keys if key[0] == n] for n in range(len(self._layers)))
            for first in range(0, len(layer), self._batch_size)
        ]

    def _read(self, batch: list[Key]) -> RGB:
        """The pixels of windows, (windows, rows, columns, 3)."""
        return np.stack([self._layers[number].window(place) for number, place in batch])

    def _stitched(self, region: Region, answers: "_Answers") -> Probabilities:
        top, bottom, left, right = region
        made = np.zeros((bottom - top, right - left, answers.classes), np.float16)
        for y in range(top, bottom, STRIP):
            strip = Region(y, min(y + STRIP, bottom), left, right)
            scales = [layer.back(strip, n, answers) for n, layer in enumerate(self._layers)]
            mean = sum(scales[1:], scales[0])
            if len(scales) > 1:
                mean /= np.float32(len(scales))
            made[y - top : strip.bottom - top] = _halves(mean)
        return made


def _halves(values: Floats) -> Probabilities:
    """Single to half precision, finite values to the nearest; twenty times as fast as by NumPy."""
    if OPENCV < 5:  # it has no such type
        return values.astype(np.float16)
    plane = values.reshape(len(values), -1)
    made = np.asarray(cv2.add(plane, 0.0, dtype=cv2.CV_16F), np.float16)
    return made.reshape(values.shape)


class _Layer:
    """The windows over an image at one scale."""

    def __init__(
        self, read: Read, height: int, width: int, scale: float, params: PredictParams, divisor: int
    ) -> None:
        rows, columns = (max(1, round(length * scale)) for length in (height, width))
        self.grid = Grid.over(
            rows, columns, window=params.window, overlap=params.overlap, divisor=divisor
        )
        self._read = read
        self._there = Resampling(height, rows), Resampling(width, columns)
        self._back = Resampling(rows, height), Resampling(columns, width)

    def read_for(self, place: Place) -> Region:
        """The image's pixels that a window is made of."""
        return _source(self._there, self._inside(place))

    def needed(self, region: Region) -> Region:
        """The model's pixels that a region of the image's is made of."""
        return _source(self._back, region)

    def window(self, place: Place) -> RGB:
        """The pixels of a window, (rows, columns, 3)."""
        top, bottom, left, right = self.read_for(place)
        pixels = self._read(top, left, bottom - top, right - left)
        if any(axis.changes for axis in self._there):
            made = _resampled(pixels.astype(np.float32), self._there, self._inside(place))
            pixels = (made + np.float32(0.5)).astype(np.uint8)
        return pad(pixels, self.grid.rows, self.grid.columns)

    def back(self, region: Region, number: int, answers: "_Answers") -> Floats:
        """The probabilities of a region of the image's pixels, (height, width, classes)."""
        needed = self.needed(region)
        blend = Blend(self.grid, needed, answers.classes)
        for y, x in self.grid.touching(needed):
            if (number, (y, x)) in answers:
                start, stop = max(0, needed.top - y), min(self.grid.rows, needed.bottom - y)
                blend.add((y, x), answers.rows((number, (y, x)), start, stop), start)
        mean = blend.mean()
        changes = any(axis.changes for axis in self._back)
        return _resampled(mean, self._back, region) if changes else mean

    def _inside(self, place: Place) -> Region:
        """The part of a window that is no padding."""
        y, x = place
        grid = self.grid
        return Region(y, min(y + grid.rows, grid.height), x, min(x + grid.columns, grid.width))


def _source(axes: tuple[Resampling, Resampling], made: Region) -> Region:
    rows, columns = axes
    return Region(*rows.source(made.top, made.bottom), *columns.source(made.left, made.right))


def _resampled(part: Floats, axes: tuple[Resampling, Resampling], made: Region) -> Floats:
    rows, columns = axes
    return resampled(
        part, rows.weights(made.top, made.bottom), columns.weights(made.left, made.right)
    )


class _Answers:
    """Windows' answers until they are no longer needed: in memory, and what is more in a file.

    Not rounded there: a window counts with the same bits in all regions and for any `memory`.

    Args:
        folder: of the file, which has no name and ends with the process; None: the system's.
        memory: bytes that are held.
        stack: closes the file.
    """

    def __init__(self, folder: Path | None, memory: int, stack: ExitStack) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._left, self._stack = memory, stack
        self._held: dict[Key, Floats] = {}
        self._stored: dict[Key, int] = {}  # offsets in the file
        self._shapes: dict[int, tuple[int, ...]] = {}  # of a layer's answers
        self._free: dict[int, list[int]] = {}  # offsets that a layer's dropped answers had
        self._file: IO[bytes] | None = None
        self._end = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._held or key in self._stored

    @property
    def classes(self) -> int:
        """Of the answers."""
        if not self._shapes:
            raise ValueError("all windows over the first region are left out")
        return next(iter(self._shapes.values()))[-1]

    def put(self, key: Key, answer: Floats) -> None:
        """Keep an answer, (rows, columns, classes)."""
        self._shapes[key[0]] = answer.shape
        if answer.nbytes <= self._left:
            self._left -= answer.nbytes
            self._held[key] = np.array(answer, np.float32)  # a batch would stay as a whole
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            self._file = self._stack.enter_context(file)
        free = self._free.setdefault(key[0], [])
        offset = free.pop() if free else self._end
        self._end = max(self._end, offset + answer.nbytes)
        with naming(self._folder):
            self._file.seek(offset)
            left = np.ascontiguousarray(answer, np.float32).data.cast("B")
            while left:
                left = left[self._file.write(left) :]
        self._stored[key] = offset

    def rows(self, key: Key, start: int, stop: int) -> Floats:
        """Some rows of an answer, (stop - start, columns, classes)."""
        if key in self._held:
            return self._held[key][start:stop]
        shape = self._shapes[key[0]]
        found = np.empty((stop - start, *shape[1:]), np.float32)
        if self._file is not None:
            self._file.seek(self._stored[key] + start * found[0].nbytes)
            found = np.fromfile(self._file, np.float32, found.size).reshape(found.shape)
        return found

    def drop(self, key: Key) -> None:
        """Forget an answer."""
        if key in self._held:
            self._left += self._held.pop(key).nbytes
        else:
            self._free[key[0]].append(self._stored.pop(key))
