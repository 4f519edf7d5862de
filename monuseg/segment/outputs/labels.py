"""Label maps: a pixel holds the id of its nucleus, 0 is background."""

import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.images import LABELS_MAX, PIXELS_MAX, write_labels
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.geojson import NAMESPACE
from monuseg.segment.outputs.pyramids import DEFLATE, Kind, Pixels, bands, write_pyramid
from monuseg.segment.outputs.spool import Spool
from monuseg.segment.outputs.target import Target

LabelMap = npt.NDArray[np.integer]
DTYPE = np.int32  # of TIFFs; QuPath opens no UINT32


def write_label_png(objects: Iterable[Objects], target: Target, path: Path) -> bool:
    """Write a 16-bit PNG of an image, unless it has more nuclei than that can number.

    Args:
        objects: all nuclei, in the order of their ids; iterated over once.
        target: the image, which is held in memory.
        path: of the file.

    Returns:
        Whether it was written; if not, `write_label_tiff` can number them.

    Raises:
        PipelineError: the image is too large.
    """
    if target.width * target.height > PIXELS_MAX:
        raise PipelineError(f"{target.name}: too large for a PNG of labels; write a TIFF")
    labels = np.zeros((target.height, target.width), np.uint16)
    first = 1
    for block in objects:
        if first + len(block) - 1 > LABELS_MAX:
            return False
        draw(labels, 0, np.arange(first, first + len(block)), block)
        first += len(block)
    with replacing(path) as temporary:
        write_labels(temporary, labels)
    return True


def write_label_tiff(objects: Iterable[Objects], target: Target, path: Path) -> None:
    """Write a pyramid of 32-bit labels as OME-TIFF, of an image or slide of any size.

    Levels take the nearest pixel, so they hold no id that is not there. Memory holds a few bands of
    the image.

    Args:
        objects: all nuclei, in the order of their ids; iterated over once.
        target: the image.
        path: `.ome.tif`.

    Raises:
        PipelineError: tifffile is missing.
    """
    kind = Kind(1, DTYPE, _encode, _halve, DEFLATE, "minisblack", ome=True)
    identity = uuid.uuid5(NAMESPACE, f"{target.identity} labels").urn
    path.parent.mkdir(parents=True, exist_ok=True)
    with Spool(objects, path.parent) as spool:
        rows = _rows(spool, target)
        write_pyramid(
            path,
            rows,
            (target.height, target.width),
            kind,
            um_per_pixel=target.um_per_pixel,
            identity=identity,
        )


def draw(labels: LabelMap, top: int, ids: npt.NDArray[np.int64], objects: Objects) -> None:
    """Draw nuclei into some rows of a label map.

    Args:
        labels: (rows, width), which is changed.
        top: which row of the image the first is.
        ids: (n,) of the nuclei.
        objects: n nuclei, which may reach beyond these rows.
    """
    for label, (y0, x0, y1, x1), mask in zip(
        ids.tolist(), objects.boxes.tolist(), objects.masks, strict=True
    ):
        first, last = max(y0, top), min(y1, top + len(labels))
        labels[first - top : last - top, x0:x1][mask[first - y0 : last - y0]] = label


def _rows(spool: Spool, target: Target) -> Iterator[LabelMap]:
    for top, bottom in bands(target.height):
        labels = np.zeros((bottom - top, target.width), DTYPE)
        for ids, objects in spool.reaching(top, bottom):
            draw(labels, top, ids, objects)
        yield labels


def _encode(tile: Pixels) -> bytes:
    return zlib.compress(tile.astype("<i4").tobytes())


def _halve(band: Pixels) -> Pixels:
    return band[: len(band) // 2 * 2 : 2, : band.shape[1] // 2 * 2 : 2]
