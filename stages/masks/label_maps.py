"""The label map of one image, from its outlines or its binary mask."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX, Labels, read_rgb, write_labels
from monuseg.formats.manifest import APERIO_XML, ImageRecord
from monuseg.readers.aperio import Region, read_regions
from monuseg.readers.raster import decode_mask
from stages.masks.params import Rasterisation
from stages.masks.rasterise import rasterise

SMALLEST_OUTLINE = 3  # vertices that can enclose an area
CLIPPED = "clipped at the image's border"
OUTSIDE_MAX = 0.5  # share of the regions that may lie outside the image


@dataclass(frozen=True)
class Remark:
    """A region that is not in the label map as it was outlined (a row of regions.csv)."""

    id: str
    layer: int
    region: int
    vertices: int
    remark: str


@dataclass(frozen=True)
class Count:
    """A row of counts.csv: `regions` = `nuclei` + `dropped`; `nuclei` include the `clipped`."""

    id: str
    regions: int
    nuclei: int
    dropped: int
    clipped: int


def write_mask(
    record: ImageRecord, *, raw: Path, folder: Path, rasterisation: Rasterisation
) -> tuple[Count, list[Remark]]:
    """Write the label map of one image, and return what became of its regions."""
    if record.annotation == APERIO_XML:
        labels, count, remarks = _from_outlines(record.id, raw, rasterisation)
    else:
        labels, count, remarks = _from_binary_mask(record.id, raw)
    write_labels(folder / f"{record.id}.png", labels)
    return count, remarks


def _from_outlines(
    image_id: str, raw: Path, rasterisation: Rasterisation
) -> tuple[Labels, Count, list[Remark]]:
    height, width, _ = read_rgb(raw / f"{image_id}.tif").shape
    annotation = raw / f"{image_id}.xml"
    regions = read_regions(annotation)
    _require_same_image(annotation, regions, height, width)
    try:
        labels, without_pixels = rasterise(
            [region.outline for region in regions], height, width, rasterisation
        )
    except PipelineError as error:
        raise PipelineError(f"{annotation}: {error}") from error
    dropped = set(without_pixels)
    remarks = []
    for index, region in enumerate(regions):
        outline = region.outline
        if index in dropped and len(outline) < SMALLEST_OUTLINE:
            remark = "dropped: fewer than 3 vertices"
        elif index in dropped:
            remark = "dropped: no pixel of its own (no area, outside the image, or covered)"
        elif np.any(outline < 0) or np.any(outline > (width, height)):
            remark = CLIPPED
        else:
            continue
        remarks.append(Remark(image_id, region.layer, region.number, len(outline), remark))
    clipped = len(remarks) - len(dropped)
    nuclei = len(regions) - len(dropped)
    return labels, Count(image_id, len(regions), nuclei, len(dropped), clipped), remarks


def _require_same_image(path: Path, regions: list[Region], height: int, width: int) -> None:
    """Refuse outlines that mostly miss the image, since they belong to another."""
    outlines = [region.outline for region in regions if len(region.outline)]
    outside = [
        outline
        for outline in outlines
        if np.any(outline.max(axis=0) < 0) or np.any(outline.min(axis=0) > (width, height))
    ]
    if len(outside) > OUTSIDE_MAX * len(outlines):
        raise PipelineError(
            f"{path}: {len(outside)} of {len(outlines)} regions lie outside the image of "
            f"{width} x {height} pixels, so it belongs to another image; pair the right two"
        )


def _from_binary_mask(image_id: str, raw: Path) -> tuple[Labels, Count, list[Remark]]:
    height, width, _ = read_rgb(raw / f"{image_id}.tif").shape
    path = raw / f"{image_id}.mask.png"
    mask = decode_mask(path.read_bytes(), name=str(path))
    if mask.shape != (height, width):
        raise PipelineError(
            f"{path}: {mask.shape[1]} x {mask.shape[0]} pixels, but its image has "
            f"{width} x {height}; run `dvc repro extract`"
        )
    # Connected by edges or corners, as a tracing of the mask's outlines would connect them.
    number, components = cv2.connectedComponents(mask, connectivity=8)
    nuclei = number - 1
    if nuclei > LABELS_MAX:
        raise PipelineError(f"{path}: more than {LABELS_MAX} nuclei; cut it into smaller images")
    return components.astype(np.uint16), Count(image_id, nuclei, nuclei, 0, 0), []
