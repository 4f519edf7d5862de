"""Where on a slide nuclei are looked for: on its tissue, in given regions, or everywhere."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.inference.sliding_window import Region
from monuseg.readers.slide import NEGLIGIBLE
from monuseg.readers.slides import Slide
from monuseg.segment.blocks import Blocks
from monuseg.segment.objects import Mask
from monuseg.segment.options import AUTO, EVERYWHERE, FEW_PIXELS
from monuseg.segment.region import DrawnRegions
from monuseg.segment.tissue import tissue_mask

OVERVIEW = 8.0  # micrometres per pixel
GRID_SIDE = 2048  # least of the grid that given regions are drawn on, in pixels
TISSUE = "--tissue"


@dataclass(frozen=True)
class SearchArea:
    """A mask on an overview of a slide.

    Attributes:
        mask: (rows, columns); nuclei are looked for where it is true.
        scale: pixels of the slide per pixel of the mask, along y and x.
    """

    mask: Mask
    scale: tuple[float, float]

    def touches(self, region: Region) -> bool:
        """Whether some of a region of the slide is searched."""
        return self._count(region)[0] > 0

    def is_near(self, region: Region, pixels: int) -> bool:
        """Whether some of what lies up to so many pixels around a region is searched."""
        return self.touches(
            Region(
                max(0, region.top - pixels),
                region.bottom + pixels,
                max(0, region.left - pixels),
                region.right + pixels,
            )
        )

    def share(self, region: Region) -> float:
        """How much of a region of the slide is searched, from 0 to 1."""
        count, pixels = self._count(region)
        return count / pixels

    def _count(self, region: Region) -> tuple[float, int]:
        """The pixels of the mask that a region touches: those searched, and all."""
        top, left = int(region.top // self.scale[0]), int(region.left // self.scale[1])
        bottom = min(math.ceil(region.bottom / self.scale[0]), self.mask.shape[0])
        right = min(math.ceil(region.right / self.scale[1]), self.mask.shape[1])
        sums = self._sums
        found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return float(found), (bottom - top) * (right - left)

    @cached_property
    def _sums(self) -> npt.NDArray[np.float64]:
        """The number of searched pixels above and to the left: a slide has many regions."""
        sums: npt.NDArray[np.float64] = cv2.integral(self.mask.astype(np.uint8), sdepth=cv2.CV_64F)
        return sums


def identity_of(choice: str) -> str:
    """What tells a choice of `search_area` from others: of a file what is in it.

    Raises:
        PipelineError: as `DrawnRegions.read`.
    """
    if choice in (AUTO, EVERYWHERE):
        return choice
    return DrawnRegions.read(Path(choice), TISSUE).identity


def search_area(
    slide: Slide, um_per_pixel: float, choice: str, origin: tuple[int, int] = (0, 0)
) -> SearchArea:
    """Where to look for nuclei on a slide.

    Args:
        slide: opened.
        um_per_pixel: its micrometres per pixel.
        choice: `AUTO`, `EVERYWHERE`, or the path of a GeoJSON file of regions.
        origin: the pixel (x, y) that the file counts from.

    Raises:
        PipelineError: as `DrawnRegions.read`; or there is no region on the slide.
    """
    size = (slide.height, slide.width)
    if choice == EVERYWHERE or (choice == AUTO and math.prod(size) <= FEW_PIXELS):
        return SearchArea(np.ones((1, 1), bool), (float(slide.height), float(slide.width)))
    if choice == AUTO:
        overview, scale = slide.overview(side=_side(slide, um_per_pixel))
        return SearchArea(tissue_mask(overview, um_per_pixel * scale), (scale, scale))
    return _drawn(DrawnRegions.read(Path(choice), TISSUE).moved(origin), slide, um_per_pixel)


def whole_blocks(area: SearchArea, blocks: Blocks) -> SearchArea:
    """The blocks that an area touches, whole.

    Args:
        area: from `search_area`.
        blocks: of the slide.
    """
    touched = np.array([area.touches(block.core) for block in blocks])
    return SearchArea(touched.reshape(-1, blocks.columns), (float(blocks.side),) * 2)


def inside(
    area: SearchArea,
    regions: DrawnRegions,
    slide: Slide,
    um_per_pixel: float,
    margin: float = 0.0,
) -> SearchArea:
    """What of an area regions cover.

    Args:
        area: from `search_area`.
        regions: in the slide's own pixels.
        slide: opened.
        um_per_pixel: its micrometres per pixel.
        margin: micrometres around the regions that count as well.

    Raises:
        PipelineError: there is no region on the slide.
    """
    drawn = _drawn(regions, slide, um_per_pixel)
    scale, _ = drawn.scale
    mask = drawn.mask
    if margin:
        away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        mask = away * scale * um_per_pixel <= margin
    # A cell of this grid, which is no coarser, touches at most two of the area's along a side.
    rows, columns = (
        [
            np.minimum(np.floor(ends * scale / factor).astype(int), limit - 1)
            for ends in (np.arange(length), np.nextafter(np.arange(1, length + 1), 0))
        ]
        for length, factor, limit in zip(mask.shape, area.scale, area.mask.shape, strict=True)
    )
    found = np.zeros_like(mask)
    for row in rows:
        for column in columns:
            found |= area.mask[row][:, column]
    return SearchArea(mask & found, drawn.scale)


def _side(slide: Slide, um_per_pixel: float) -> int:
    """The longer side of an overview, in its pixels."""
    return max(1, round(max(slide.height, slide.width) * um_per_pixel / OVERVIEW))


def _drawn(regions: DrawnRegions, slide: Slide, um_per_pixel: float) -> SearchArea:
    """Regions on a grid, a cell of it as soon as they touch it."""
    longer = max(slide.height, slide.width)
    scale = longer / min(longer, max(_side(slide, um_per_pixel), GRID_SIDE))
    # Where the scale divides a side, rounding is no further cell.
    rows, columns = (math.ceil(side / scale - NEGLIGIBLE) for side in (slide.height, slide.width))
    mask = regions.grid((rows, columns), scale)
    if not mask.any():
        raise PipelineError(
            f"{regions.file}: no region on the slide; draw one there and export it again"
        )
    return SearchArea(mask, (scale, scale))
