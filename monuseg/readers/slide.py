"""A slide or image whose regions are read one by one, at full resolution or as an overview."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB

WHITE = 255
# Pixels of a level along a side that an overview decodes at once: 16 MB as RGBA.
BLOCK_MAX = 2048
# Where pixels cannot be decoded, an overview goes round them in steps of a common side of tiles.
AROUND_DAMAGE = 256
# Above rounding errors of a division, below any part of a pixel that counts.
NEGLIGIBLE = 1e-6


class DamagedRegionError(PipelineError):
    """A region cannot be decoded; others of the same slide still can."""


class Slide(ABC):
    """An image of any size, in pixels of its full resolution from its upper left corner.

    Threads may read at the same time. As a context manager it closes itself.

    Attributes:
        path: the file.
        height: in pixels.
        width: in pixels.
        um_per_pixel: micrometres per pixel; None only for a plain image that states none.
        source: who states that, as in `monuseg.readers.resolution` and `slide_resolution`.
        remark: what there is to know about the resolution or the choice of pixels, or None.
        origin: (y, x) of the upper left pixel in the file's own pixels of full resolution.
        identity: changes if the file's pixels or their choice do, as far as can be told quickly.
    """

    path: Path
    height: int
    width: int
    um_per_pixel: float | None
    source: str
    remark: str | None
    origin: tuple[int, int]
    identity: str
    # (height, width) of each level in the file, the full resolution first.
    _levels: Sequence[tuple[int, int]]

    @abstractmethod
    def _decode(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        """Decode a region that lies within a level, in its own pixels.

        Raises:
            DamagedRegionError: it cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back memory and files; nothing can be read afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, y: int, x: int, height: int, width: int) -> RGB:
        """Read a region of the full resolution.

        Returns:
            (height, width, 3); what lies outside the slide is white.

        Raises:
            DamagedRegionError: some of it cannot be decoded.
        """
        top, left = self.origin
        return self._window(0, y + top, x + left, height, width)

    def overview(
        self, um_per_pixel: float | None = None, *, side: int | None = None
    ) -> tuple[RGB, float]:
        """The whole slide, reduced by averaging; never enlarged.

        It is made block by block from the coarsest level that is fine enough, so memory is bounded.
        A pixel is placed to half a pixel of that level; no error adds up along the slide.
        What a level cannot decode is taken from finer ones, and is white if none can.

        Args:
            um_per_pixel: of the overview; the slide must have a resolution.
            side: in its place, the longer side of the overview in pixels.

        Returns:
            (rows, columns, 3), and pixels of full resolution per pixel of the overview, along both
            axes: pixel i covers i to i + 1 times that number. The last may reach over the edge.
        """
        if side is not None:
            scale = max(self.height, self.width) / side
        elif um_per_pixel is not None and self.um_per_pixel is not None:
            scale = um_per_pixel / self.um_per_pixel
        else:
            raise ValueError("neither a side nor a resolution of both slide and overview")
        scale = max(1.0, scale)
        rows, columns = (
            max(1, math.ceil(size / scale - NEGLIGIBLE)) for size in (self.height, self.width)
        )
        ratios = [max(self._ratios(level)) for level in range(len(self._levels))]
        level = max(n for n, ratio in enumerate(ratios) if ratio <= scale * (1 + NEGLIGIBLE))
        pixels = np.full((rows, columns, 3), WHITE, np.uint8)
        self._fill(pixels, (0, 0), scale, level)
        return pixels, scale

    def _ratios(self, level: int) -> tuple[float, float]:
        """Pixels of full resolution per pixel of a level, along y and x."""
        height, width = self._levels[0]
        return height / self._levels[level][0], width / self._levels[level][1]

    def _fill(self, pixels: RGB, place: tuple[int, int], scale: float, level: int) -> None:
        """Fill a part of an overview, which begins at `place` in it, from a level."""
        longer = max(pixels.shape[:2])
        whole = longer * scale / min(self._ratios(level)) <= BLOCK_MAX or longer == 1
        if whole:
            try:
                pixels[:] = self._reduced(pixels.shape[:2], place, scale, level)
                return
            except DamagedRegionError:
                if level:
                    self._fill(pixels, place, scale, level - 1)
                    return
                if longer == 1 or longer * scale <= AROUND_DAMAGE:
                    return
        half = longer // 2
        for rows in (slice(0, half), slice(half, None)):
            for columns in (slice(0, half), slice(half, None)):
                part = pixels[rows, columns]
                if part.size:
                    corner = place[0] + rows.start, place[1] + columns.start
                    self._fill(part, corner, scale, level)

    def _reduced(
        self, shape: tuple[int, ...], place: tuple[int, int], scale: float, level: int
    ) -> RGB:
        (top, left), (bottom, right) = (
            tuple(
                (origin + (start + extent) * scale) / ratio
                for origin, start, extent, ratio in zip(
                    self.origin, place, extents, self._ratios(level), strict=True
                )
            )
            for extents in ((0, 0), shape)
        )
        y, x = math.floor(top), math.floor(left)
        window = self._window(level, y, x, math.ceil(bottom) - y, math.ceil(right) - x)
        reduced = Image.fromarray(window).resize(
            (shape[1], shape[0]),
            Image.Resampling.BOX,
            box=(left - x, top - y, right - x, bottom - y),
        )
        return np.asarray(reduced)

    def _window(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        """A region in a level's own pixels of the file; what lies outside the slide is white."""
        pixels = np.full((height, width, 3), WHITE, np.uint8)
        (y0, y1), (x0, x1) = (
            (
                max(start, round(origin / ratio)),
                min(start + length, round((origin + size) / ratio), limit),
            )
            for start, length, origin, size, ratio, limit in zip(
                (y, x),
                (height, width),
                self.origin,
                (self.height, self.width),
                self._ratios(level),
                self._levels[level],
                strict=True,
            )
        )
        if y0 < y1 and x0 < x1:
            decoded = self._decode(level, y0, x0, y1 - y0, x1 - x0)
            pixels[y0 - y : y1 - y, x0 - x : x1 - x] = decoded
        return pixels
