"""The image with its nuclei outlined."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.images import PIXELS_MAX, RGB, write_rgb
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.pyramids import JPEG, Kind, Pixels, bands, write_pyramid
from monuseg.segment.outputs.sheets import Sheet, numbered
from monuseg.segment.outputs.spool import Spool
from monuseg.segment.outputs.target import Colour, Target

# From y, x, height and width to that part of the image.
Read = Callable[[int, int, int, int], RGB]

PART = 4096  # columns that are read at once
QUALITY = 85  # of JPEG, above what scanners use


def write_overlay_png(objects: Iterable[Objects], target: Target, path: Path, read: Read) -> None:
    """Write an image with outlines as PNG.

    Args:
        objects: all nuclei; iterated over once.
        target: the image, which is held in memory.
        path: of the file.
        read: of the image.

    Raises:
        PipelineError: the image is too large.
    """
    if target.width * target.height > PIXELS_MAX:
        raise PipelineError(f"{target.name}: too large for a PNG; write the overlay as TIFF")
    image = read(0, 0, target.height, target.width).copy()
    for _, block in numbered(objects):
        outline(image, 0, block, target.colour)
    with replacing(path) as temporary:
        write_rgb(temporary, image)


def write_overlay_tiff(objects: Iterable[Objects], target: Target, path: Path, read: Read) -> None:
    """Write an image or slide with outlines as a pyramid of JPEG tiles, which OpenSlide reads.

    Args:
        objects: all nuclei; iterated over once.
        target: the image.
        path: `.tif`.
        read: of the image; called for parts of at most `TILE` rows and `PART` columns, row by row.

    Raises:
        PipelineError: tifffile is missing.
    """
    kind = Kind(3, np.uint8, _encode, _halve, JPEG, "ycbcr", ome=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Spool(objects, path.parent) as spool:
        rows = _rows(spool, target, read)
        write_pyramid(
            path,
            rows,
            (target.height, target.width),
            kind,
            um_per_pixel=target.um_per_pixel,
            identity="",
        )


def outline(image: RGB, top: int, objects: Objects, colour: Colour) -> None:
    """Colour the pixels of nuclei that have an edge to what is not the nucleus.

    Args:
        image: (rows, width, 3), which is changed.
        top: which row of the whole image the first is.
        objects: may reach beyond these rows.
        colour: of the lines.
    """
    sheet = Sheet.of(objects.masks)
    border, owner = sheet.border
    rows, columns = sheet.places(border, owner)
    rows += objects.boxes[owner, 0] - top
    columns += objects.boxes[owner, 1]
    seen = (rows >= 0) & (rows < len(image))
    image[rows[seen], columns[seen]] = colour


def _rows(spool: Spool, target: Target, read: Read) -> Iterator[RGB]:
    for top, bottom in bands(target.height):
        image = np.empty((bottom - top, target.width, 3), np.uint8)
        for left in range(0, target.width, PART):
            width = min(PART, target.width - left)
            image[:, left : left + width] = read(top, left, bottom - top, width)
        for _, objects in spool.reaching(top, bottom):
            outline(image, top, objects, target.colour)
        yield image


def _encode(tile: Pixels) -> bytes:
    """JPEG without subsampling, which would blur the colour of lines."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(tile[..., ::-1]), options)
    encoded: bytes = content.tobytes()
    return encoded


def _halve(band: Pixels) -> Pixels:
    height, width = (side // 2 for side in band.shape[:2])
    if not height:
        return band[:0, :width]
    even = np.ascontiguousarray(band[: 2 * height, : 2 * width])
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
