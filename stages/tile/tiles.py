"""The padded arrays and tiles of one image."""

from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.formats import tiles
from monuseg.formats.images import read_labels, read_rgb
from monuseg.formats.manifest import SplitRecord


def write_tiles(
    record: SplitRecord, *, raw: Path, masks: Path, folder: Path, size: int, stride: int
) -> list[dict[str, object]]:
    """Write the arrays of one image, and return its rows of the split's index."""
    image = read_rgb(raw / f"{record.id}.tif")
    labels = read_labels(masks / f"{record.id}.png")
    if labels.shape != image.shape[:2]:
        raise PipelineError(
            f"{masks / record.id}.png is {labels.shape[1]} x {labels.shape[0]} pixels, its image "
            f"{image.shape[1]} x {image.shape[0]}; the two must be of the same size"
        )
    tiles.write_image(folder, record.id, image, labels, size)
    return tiles.tile_rows(record.id, record.organ, record.um_per_pixel, labels, size, stride)
