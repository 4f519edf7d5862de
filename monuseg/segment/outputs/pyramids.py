"""Tiled TIFFs with smaller levels, written in one pass from the top of the image to its bottom."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing

Pixels = npt.NDArray[Any]

TILE = 256
# A level of this side fits a screen, and needs no smaller one.
SMALLEST = 1024
COMPRESSION = 259  # tag
DEFLATE, JPEG = 8, 7
UM_PER_CM = 10_000


@dataclass(frozen=True)
class Kind:
    """A kind of pyramid.

    Attributes:
        channels: 1 or 3.
        dtype: of pixels.
        encode: from a tile of (TILE, TILE[, 3]) pixels to its bytes.
        halve: from a band to one of half the height and width, an odd last row or column left out.
        compression: tag of what `encode` does.
        photometric: what tifffile calls the colours of these bytes.
        ome: whether the file is OME-TIFF with its levels in SubIFDs, which QuPath, Bio-Formats and
            napari read; else levels follow as pages, as OpenSlide reads them.
    """

    channels: int
    dtype: type[np.generic]
    encode: Callable[[Pixels], bytes]
    halve: Callable[[Pixels], Pixels]
    compression: int
    photometric: str
    ome: bool


@dataclass
class _Level:
    """A level that is being written: encoded tiles go to a scratch file, so memory stays flat."""

    height: int
    width: int
    scratch: IO[bytes]
    waiting: list[Pixels] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def tiles(self) -> Iterator[bytes]:
        self.scratch.seek(0)
        for size in self.sizes:
            yield self.scratch.read(size)


def bands(height: int) -> Iterator[tuple[int, int]]:
    """The rows of an image, a row of tiles at a time: first, and the one after the last."""
    for top in range(0, height, TILE):
        yield top, min(top + TILE, height)


def write_pyramid(
    path: Path,
    rows: Iterable[Pixels],
    size: tuple[int, int],
    kind: Kind,
    *,
    um_per_pixel: float | None,
    identity: str,
) -> None:
    """Write a tiled BigTIFF, each level half of the one before, down to `SMALLEST`.

    In memory are two bands of each level, on disk beside `path` a third of the file once more.

    Args:
        path: of the file.
        rows: (at most TILE, width[, channels]) bands of the image, as `bands` has them.
        size: height and width.
        kind: of pyramid.
        um_per_pixel: micrometres per pixel, if known.
        identity: UUID of an OME-TIFF.

    Raises:
        PipelineError: tifffile is missing.
    """
    try:
        from tifffile import TiffFile, TiffWriter
    except ModuleNotFoundError as error:
        raise PipelineError(f"{path}: TIFFs need tifffile: pip install tifffile") from error
    sizes = [size]
    while max(sizes[-1]) > SMALLEST and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    with replacing(path) as temporary:
        levels = [
            _Level(*one, tempfile.TemporaryFile(dir=temporary.parent))  # noqa: SIM115
            for one in sizes[1:]
        ]
        options: dict[str, Any] = {
            "dtype": kind.dtype,
            "tile": (TILE, TILE),
            "compression": DEFLATE,
            "photometric": kind.photometric,
            "metadata": None,
        }
        colours = (kind.channels,) if kind.channels > 1 else ()
        try:
            with TiffWriter(temporary, bigtiff=True, ome=kind.ome) as tif:
                tif.write(
                    _encoded(rows, levels, kind),
                    shape=(*size, *colours),
                    subifds=len(levels) if kind.ome else 0,
                    **options | _stated(kind, um_per_pixel, identity),
                )
                for number, level in enumerate(levels, 1):
                    _flush(levels[number - 1 :], kind)
                    tif.write(
                        level.tiles(),
                        shape=(level.height, level.width, *colours),
                        subfiletype=1,
                        **options | _resolution(um_per_pixel, 2**number),
                    )
        finally:
            for level in levels:
                level.scratch.close()
        if kind.compression != DEFLATE:
            # tifffile asks for a codec that it would not use, as tiles come encoded.
            with TiffFile(temporary, mode="r+") as tif:
                for page in tif.pages:
                    page.aspage().tags[COMPRESSION].overwrite(kind.compression)


def _stated(kind: Kind, um_per_pixel: float | None, identity: str) -> dict[str, Any]:
    if not kind.ome:
        return _resolution(um_per_pixel, 1)
    metadata: dict[str, Any] = {"axes": "YX" if kind.channels == 1 else "YXS", "UUID": identity}
    if um_per_pixel is not None:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = um_per_pixel
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    return _resolution(um_per_pixel, 1) | {"metadata": metadata}


def _resolution(um_per_pixel: float | None, factor: int) -> dict[str, Any]:
    if um_per_pixel is None:
        return {}
    per_cm = UM_PER_CM / (um_per_pixel * factor)
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def _encoded(rows: Iterable[Pixels], levels: list[_Level], kind: Kind) -> Iterator[bytes]:
    """The tiles of the whole image, before which those of smaller levels are put aside."""
    for band in rows:
        if levels:
            _reduce(band, levels, kind)
        yield from _tiles(band, kind)


def _reduce(band: Pixels, levels: list[_Level], kind: Kind) -> None:
    smaller = kind.halve(band)
    if smaller.size:
        levels[0].waiting.append(smaller)
    if sum(map(len, levels[0].waiting)) == TILE:
        _flush(levels, kind)


def _flush(levels: list[_Level], kind: Kind) -> None:
    level, *smaller = levels
    if not level.waiting:
        return
    band = np.concatenate(level.waiting)
    level.waiting.clear()
    for tile in _tiles(band, kind):
        level.sizes.append(level.scratch.write(tile))
    if smaller:
        _reduce(band, smaller, kind)


def _tiles(band: Pixels, kind: Kind) -> Iterator[bytes]:
    height, width = band.shape[:2]
    for left in range(0, width, TILE):
        tile = band[:, left : left + TILE]
        short = ((0, TILE - height), (0, TILE - tile.shape[1]))
        if any(lack for _, lack in short):
            # Of the edge's own values, which leave no seam after lossy compression.
            tile = np.pad(tile, (*short, *((0, 0),) * (tile.ndim - 2)), "edge")
        yield kind.encode(tile)
