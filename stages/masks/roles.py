"""What each region of an annotation is: a nucleus, cut out of nuclei, or neither.

- A region of another layer than the chosen ones, one without area (an arrow, a ruler, a text), and
  one with too few vertices are dropped.
- A rectangle is dropped: it marks a region of interest, or boxes a nucleus without outlining it.
- A polygon or ellipse that holds the middles of `HELD` others is a region of interest, and dropped.
  In the challenge's images no nucleus holds more than one.
- Any other that takes more than half of the image (`LARGEST`) is an error.
- A negative region is cut out of the nuclei that it lies in: those that have more than half of its
  pixels, and more pixels than it. If there are none, it is cut out of all that it overlaps.
  So a nucleus that lies in the hole of another stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.readers.regions import AREAS, POLYGON, RECTANGLE, Region
from stages.masks.params import Rasterisation
from stages.masks.rasterise import Rings, among, area_max, places, require_bounded

OTHER_LAYER = "dropped: its layer is not among masks.layers"
BOX = "dropped: a rectangle, so a region of interest or a box and no outline"
FEW_VERTICES = "dropped: fewer than 3 vertices"
FEW_CORNERS = "dropped: fewer than 2 corners"
INTEREST = "dropped: holds 3 other regions or more, so a region of interest"
NEGATIVE = "dropped: negative, so cut out of nuclei"
NEGATIVE_ALONE = "dropped: negative, but in no nucleus"

HELD = 3
CELL = 16  # pixels along each side of the cells in which middles are counted at first
LARGEST = 0.5  # share of the image
# A small image may be cut out round one nucleus.
SMALL_IMAGE = 10_000  # pixels
# Bounds on time; that of comparing boxes, and that of comparing pixels (see `area_max` too).
BOXES_MAX = 10_000_000_000
OVERLAPS_MAX = 200_000


@dataclass(frozen=True)
class Roles:
    """What each region is; regions are named by their index.

    Attributes:
        dropped: the regions that are no nuclei, and why.
        nuclei: the others, in the file's order.
        cuts: by nucleus, the negative regions that are cut out of it.
    """

    dropped: dict[int, str]
    nuclei: list[int]
    cuts: dict[int, list[int]]


@dataclass(frozen=True)
class _Image:
    """How regions lie in an image."""

    regions: Sequence[Region]
    height: int
    width: int
    rasterisation: Rasterisation

    def rings(self, index: int) -> Rings:
        return self.regions[index].rings

    def places(self, index: int) -> npt.NDArray[np.int64]:
        return places(self.rings(index), self.height, self.width, self.rasterisation)

    def boxes(self, indices: Iterable[int]) -> npt.NDArray[np.float64]:
        """(n, 2, 2) the lowest and the highest (x, y) of each."""
        outlines = [np.concatenate(self.rings(index)) for index in indices]
        boxes = [(outline.min(axis=0), outline.max(axis=0)) for outline in outlines]
        return np.array(boxes, np.float64).reshape(-1, 2, 2)

    def areas(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(n,) pixels of the image that a box may have at most."""
        sides = np.diff(np.clip(boxes, 0, (self.width, self.height)), axis=1)[:, 0] + 1
        areas: npt.NDArray[np.float64] = sides.prod(axis=1)
        return areas


def assign(
    regions: Sequence[Region],
    height: int,
    width: int,
    *,
    rasterisation: Rasterisation,
    layers: Sequence[str],
) -> Roles:
    """Tell what each region of an image is; see the module.

    Args:
        regions: in the file's order.
        height: of the image.
        width: of the image.
        rasterisation: see `stages.masks.rasterise`.
        layers: names of those that count; none: all.

    Raises:
        PipelineError: a region takes most of the image, or there are more or longer regions than
            nuclei can have.
    """
    dropped = {
        index: why for index, region in enumerate(regions) if (why := _unfit(region, layers))
    }
    image = _Image(regions, height, width, rasterisation)
    rest = [index for index in range(len(regions)) if index not in dropped]
    require_bounded([image.rings(index) for index in rest], height, width)
    negatives = [index for index in rest if regions[index].negative]
    candidates = [index for index in rest if not regions[index].negative]
    boxes = image.boxes(candidates)
    dropped |= dict.fromkeys(_regions_of_interest(image, candidates, boxes), INTEREST)
    kept = np.array([index not in dropped for index in candidates], bool)
    nuclei = [index for index in candidates if index not in dropped]
    _require_smaller_than_the_image(image, nuclei, boxes[kept])
    cuts = _cuts(image, nuclei, boxes[kept], negatives)
    cut = {negative for of_nucleus in cuts.values() for negative in of_nucleus}
    dropped |= {one: NEGATIVE if one in cut else NEGATIVE_ALONE for one in negatives}
    return Roles(dropped, nuclei, cuts)


def _unfit(region: Region, layers: Sequence[str]) -> str | None:
    """Why a region is out whatever the others are."""
    if layers and region.layer_name not in layers:
        return OTHER_LAYER
    if region.shape not in AREAS:
        return f"dropped: no nucleus ({region.shape})"
    if region.shape == RECTANGLE and not region.negative:
        return BOX
    if not region.encloses:
        return FEW_VERTICES if region.shape == POLYGON else FEW_CORNERS
    return None


def _regions_of_interest(
    image: _Image, candidates: list[int], boxes: npt.NDArray[np.float64]
) -> list[int]:
    """Those that hold the middles of several others."""
    middles = np.floor(boxes.mean(axis=1)).astype(np.int64)
    inside = ((middles >= 0) & (middles < (image.width, image.height))).all(axis=1)
    middle_places = middles[:, 0] * image.height + middles[:, 1]
    all_places = np.sort(middle_places[inside])
    # How many middles lie in the cells up to each, so that those of a box are known at once.
    shape = (image.width // CELL + 2, image.height // CELL + 2)
    sums = np.zeros(shape, np.int64)
    np.add.at(sums, tuple(middles[inside].T // CELL + 1), 1)
    sums = sums.cumsum(axis=0).cumsum(axis=1)
    limits = np.array(shape) - 1
    (left, top), (right, bottom) = (
        np.clip(np.floor(corner / CELL).astype(np.int64) + more, 0, limits).T
        for corner, more in ((boxes[:, 0], 0), (boxes[:, 1], 1))
    )
    near = sums[right, bottom] - sums[left, bottom] - sums[right, top] + sums[left, top]
    found = []
    for position in np.flatnonzero(near >= HELD + inside):
        pixels = image.places(candidates[position])
        ends = [np.searchsorted(all_places, pixels, side) for side in ("left", "right")]
        itself = bool(inside[position]) and middle_places[position] in pixels
        if (ends[1] - ends[0]).sum() - itself >= HELD:
            found.append(candidates[position])
    return found


def _require_smaller_than_the_image(
    image: _Image, nuclei: list[int], boxes: npt.NDArray[np.float64]
) -> None:
    size = image.height * image.width
    if size < SMALL_IMAGE:
        return
    for position in np.flatnonzero(image.areas(boxes) > LARGEST * size):
        region = image.regions[nuclei[position]]
        share = len(image.places(nuclei[position])) / size
        if share > LARGEST:
            raise PipelineError(
                f"layer {region.layer}, region {region.number} takes more than half of the image "
                f"({share:.1%}), so it is no nucleus; remove it, or leave its layer out by "
                "masks.layers"
            )


def _cuts(
    image: _Image, nuclei: list[int], boxes: npt.NDArray[np.float64], negatives: list[int]
) -> dict[int, list[int]]:
    """By nucleus, the negative regions that are cut out of it."""
    too_many = PipelineError(
        f"{len(negatives)} negative regions among {len(nuclei)} others are too many to cut out; "
        "export the annotation again, with nuclei only"
    )
    if len(nuclei) * len(negatives) > BOXES_MAX:
        raise too_many
    if not negatives:
        return {}
    overlaps: dict[int, list[tuple[int, bool]]] = {negative: [] for negative in negatives}
    holes = image.boxes(negatives)
    areas = image.areas(holes)
    lows, highs = holes.transpose(1, 0, 2)
    compared, area = 0, 0.0
    for nucleus, (low, high) in zip(nuclei, boxes, strict=True):
        near = np.flatnonzero(((lows <= high) & (highs >= low)).all(axis=1))
        if len(near) == 0:
            continue
        compared += len(near)
        area += areas[near].sum()
        if compared > OVERLAPS_MAX or area > area_max(image.height, image.width):
            raise too_many
        pixels = image.places(nucleus)
        for position in near:
            hole = image.places(negatives[position])
            shared = int(np.count_nonzero(among(hole, pixels)))
            if shared:
                within = shared > len(hole) / 2 and len(pixels) > len(hole)
                overlaps[negatives[position]].append((nucleus, within))
    cuts: dict[int, list[int]] = {}
    for negative, met in overlaps.items():
        hosts = [nucleus for nucleus, within in met if within]
        for nucleus in hosts or [nucleus for nucleus, _ in met]:
            cuts.setdefault(nucleus, []).append(negative)
    return cuts
