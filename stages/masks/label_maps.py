"""The label map of one image, from its outlines, its label map or its binary mask."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX, Labels, read_labels, read_rgb, write_labels
from monuseg.formats.manifest import (
    ANNOTATION_SUFFIXES,
    APERIO_XML,
    BINARY_MASK,
    LABEL_MAP,
    ImageRecord,
)
from monuseg.readers.annotations import read_regions
from monuseg.readers.raster import decode_mask
from monuseg.readers.regions import Region
from stages.masks.params import MasksParams
from stages.masks.rasterise import rasterise
from stages.masks.roles import LARGEST, OTHER_LAYER, SMALL_IMAGE, assign

WITHOUT_PIXELS = "dropped: no pixel of its own (no area, outside the image, or covered)"
EMPTIED = "dropped: no pixel of its own (cut out by a negative region, or covered)"
CLIPPED = "clipped at the image's border"
CUT = "cut by a negative region"
OUTSIDE_MAX = 0.5  # share of the regions that may lie outside the image
REASONS_MAX = 3  # that an error lists


@dataclass(frozen=True)
class Remark:
    """A region that is not in the label map as it was outlined (a row of regions.csv)."""

    id: str
    layer: int
    layer_name: str
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


@dataclass(frozen=True)
class Written:
    """What became of an image's regions.

    Attributes:
        count: how many there were, and of what.
        remarks: one of each that is not in the label map as it was outlined.
        layers: the number of regions by layer name; empty where there are no outlines.
    """

    count: Count
    remarks: list[Remark]
    layers: dict[str, int]


def write_mask(record: ImageRecord, *, raw: Path, folder: Path, params: MasksParams) -> Written:
    """Write the label map of one image.

    Raises:
        PipelineError: the annotation is damaged or of another image, none of its regions is a
            nucleus, or one takes more than half of the image.
    """
    height, width, _ = read_rgb(raw / f"{record.id}.tif").shape
    path = raw / f"{record.id}{ANNOTATION_SUFFIXES[record.annotation]}"
    if record.annotation in (BINARY_MASK, LABEL_MAP):
        read = _from_binary_mask if record.annotation == BINARY_MASK else _from_label_map
        labels = read(path, height, width)
        nuclei = int(labels.max(initial=0))
        written = Written(Count(record.id, nuclei, nuclei, 0, 0), [], {})
    else:
        labels, written = _from_outlines(record, path, height, width, params)
    write_labels(folder / f"{record.id}.png", labels)
    return written


def _from_outlines(
    record: ImageRecord, path: Path, height: int, width: int, params: MasksParams
) -> tuple[Labels, Written]:
    regions = read_regions(path, record.annotation)
    _require_same_image(path, regions, height, width)
    rule = params.rasterisation if record.annotation == APERIO_XML else "center"
    try:
        roles = assign(regions, height, width, rasterisation=rule, layers=params.layers)
        labels, without_pixels = rasterise(
            [regions[index].rings for index in roles.nuclei],
            height,
            width,
            rule,
            {
                position: [regions[negative].rings for negative in roles.cuts[index]]
                for position, index in enumerate(roles.nuclei)
                if index in roles.cuts
            },
        )
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from error
    dropped = dict(roles.dropped)
    for position in without_pixels:
        index = roles.nuclei[position]
        dropped[index] = EMPTIED if index in roles.cuts else WITHOUT_PIXELS
    _require_nuclei(path, len(regions), dropped)
    remarks, clipped = [], 0
    for index, region in enumerate(regions):
        if index in dropped:
            said = [dropped[index]]
        else:
            outlines = np.concatenate(region.rings)
            over = bool(np.any(outlines < 0) or np.any(outlines > (width, height)))
            clipped += over
            said = [CUT] * (index in roles.cuts) + [CLIPPED] * over
        place = (record.id, region.layer, region.layer_name, region.number, len(region.outline))
        remarks += [Remark(*place, remark) for remark in said]
    nuclei = len(regions) - len(dropped)
    count = Count(record.id, len(regions), nuclei, len(dropped), clipped)
    return labels, Written(count, remarks, dict(Counter(one.layer_name for one in regions)))


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


def _require_nuclei(path: Path, regions: int, dropped: dict[int, str]) -> None:
    """Refuse an annotation that has regions in the chosen layers, but no nucleus among them."""
    reasons = Counter(why for why in dropped.values() if why != OTHER_LAYER)
    if not reasons or len(dropped) < regions:
        return
    said = [
        f"{number} {why.removeprefix('dropped: ')}"
        for why, number in reasons.most_common(REASONS_MAX)
    ]
    raise PipelineError(
        f"{path}: none of its {sum(reasons.values())} regions is a nucleus ({'; '.join(said)}); "
        "outline nuclei as polygons or ellipses, choose one layer by masks.layers if several hold "
        "the same nuclei, or remove the regions if the image has none"
    )


def _require_size(path: Path, found: tuple[int, ...], height: int, width: int) -> None:
    if found != (height, width):
        raise PipelineError(
            f"{path}: {found[1]} x {found[0]} pixels, but its image has "
            f"{width} x {height}; run `dvc repro extract`"
        )


def _from_label_map(path: Path, height: int, width: int) -> Labels:
    labels = read_labels(path)
    _require_size(path, labels.shape, height, width)
    sizes = np.bincount(labels.ravel(), minlength=1)[1:]
    if not sizes.all():
        raise PipelineError(
            f"{path}: no pixel of label {sizes.argmin() + 1} of {len(sizes)}; "
            "run `dvc repro extract`"
        )
    if labels.size >= SMALL_IMAGE and sizes.max(initial=0) > LARGEST * labels.size:
        raise PipelineError(
            f"{path}: label {sizes.argmax() + 1} takes {sizes.max() / labels.size:.0%} of the "
            "image, so it is no nucleus but perhaps the background; give the background 0"
        )
    return labels


def _from_binary_mask(path: Path, height: int, width: int) -> Labels:
    mask = decode_mask(path.read_bytes(), name=str(path))
    _require_size(path, mask.shape, height, width)
    # Connected by edges or corners, as a tracing of the mask's outlines would connect them.
    number, components = cv2.connectedComponents(mask, connectivity=8)
    if number - 1 > LABELS_MAX:
        raise PipelineError(f"{path}: more than {LABELS_MAX} nuclei; cut it into smaller images")
    labels: Labels = components.astype(np.uint16)
    largest = np.bincount(labels[mask > 0], minlength=1).max() / mask.size
    # The background of the challenge's images, in one piece, is 60 % of them at the least.
    if mask.size >= SMALL_IMAGE and largest > LARGEST:
        raise PipelineError(
            f"{path}: one area is {largest:.0%} of the mask, so it looks inverted; "
            "save it with nuclei white and background black"
        )
    return labels
