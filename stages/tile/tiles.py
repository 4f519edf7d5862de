"""The padded arrays and tiles of one image."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats import tiles
from monuseg.formats.images import PIXELS_MAX, RGB, Labels, read_labels, read_rgb
from monuseg.formats.manifest import SplitRecord


@dataclass(frozen=True)
class Tiled:
    """What was written of an image.

    Attributes:
        rows: of the split's index.
        nuclei: of the image.
        vanished: how many of them have no pixel at the tiles' resolution.
    """

    rows: list[dict[str, object]]
    nuclei: int
    vanished: int


def write_tiles(
    record: SplitRecord, *, raw: Path, masks: Path, folder: Path, size: int, stride: int
) -> Tiled:
    """Write the arrays of one image, at the resolution of the tiles."""
    image = read_rgb(raw / f"{record.id}.tif")
    labels = read_labels(masks / f"{record.id}.png")
    if labels.shape != image.shape[:2]:
        raise PipelineError(
            f"{masks / record.id}.png is {labels.shape[1]} x {labels.shape[0]} pixels, its image "
            f"{image.shape[1]} x {image.shape[0]}; the two must be of the same size: run "
            "`dvc repro masks`"
        )
    nuclei = kept = _count(labels)
    if record.scale != 1:
        height, width = (max(1, round(side * record.scale)) for side in labels.shape)
        if height * width > PIXELS_MAX:
            raise PipelineError(
                f"{record.id}: {width} x {height} pixels at {record.tiled_um_per_pixel:g} um per "
                f"pixel, but at most {PIXELS_MAX} are allowed; raise tile.um_per_pixel"
            )
        image, labels = rescaled(image, labels, height, width)
        kept = _count(labels)
    tiles.write_image(folder, record.id, image, labels, size)
    rows = tiles.tile_rows(record.id, record.organ, record.tiled_um_per_pixel, labels, size, stride)
    return Tiled(rows, nuclei, nuclei - kept)


def rescaled(image: RGB, labels: Labels, height: int, width: int) -> tuple[RGB, Labels]:
    """An image and its label map at another size.

    Args:
        image: (height, width, 3).
        labels: (height, width).
        height: the new one, in pixels.
        width: the new one, in pixels.

    Returns:
        Both at the new size; the labels are those whose pixel's centre is the nearest, renumbered
        in their order without gaps, as nuclei may vanish.
    """
    smaller = width * height < labels.size
    pixels = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    # The plain INTER_NEAREST takes the upper left pixel, which moves nuclei down and right.
    nearest = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    kept = np.unique(nearest[nearest > 0])
    numbers = np.zeros(int(labels.max()) + 1, np.uint16)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return np.asarray(pixels, np.uint8), numbers[nearest]


def _count(labels: Labels) -> int:
    return int(np.count_nonzero(np.unique(labels)))
