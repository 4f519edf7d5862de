"""Where on a slide nuclei are looked for: on its tissue, in given regions, or everywhere."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.inference.sliding_window import Region
from monuseg.readers import geojson
from monuseg.readers.slides import Slide
from monuseg.segment.objects import Mask
from monuseg.segment.options import AUTO, EVERYWHERE, FEW_PIXELS
from monuseg.segment.tissue import tissue_mask

OVERVIEW = 8.0  # micrometres per pixel
GRID_SIDE = 2048  # least of the grid that given regions are drawn on, in pixels


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
        PipelineError: the file cannot be read.
    """
    if choice in (AUTO, EVERYWHERE):
        return choice
    return hashlib.sha256(_content(Path(choice))).hexdigest()


def search_area(slide: Slide, um_per_pixel: float, choice: str) -> SearchArea:
    """Where to look for nuclei on a slide.

    Args:
        slide: opened.
        um_per_pixel: its micrometres per pixel.
        choice: `AUTO`, `EVERYWHERE`, or the path of a GeoJSON file of regions.

    Raises:
        PipelineError: the file cannot be read, or has no region on the slide.
    """
    size = (slide.height, slide.width)
    if choice == EVERYWHERE or (choice == AUTO and math.prod(size) <= FEW_PIXELS):
        return SearchArea(np.ones((1, 1), bool), (float(slide.height), float(slide.width)))
    side = max(1, round(max(size) * um_per_pixel / OVERVIEW))
    if choice == AUTO:
        overview, scale = slide.overview(side=side)
        return SearchArea(tissue_mask(overview, um_per_pixel * scale), (scale, scale))
    scale = max(size) / min(max(size), max(side, GRID_SIDE))
    shape = (math.ceil(slide.height / scale), math.ceil(slide.width / scale))
    return SearchArea(_drawn(Path(choice), shape, scale), (scale, scale))


def _drawn(file: Path, shape: tuple[int, int], scale: float) -> Mask:
    """Regions of a file on a grid, a pixel of it as soon as they touch it."""
    regions = geojson.read(_content(file), name=str(file))
    drawn = np.zeros(shape, np.uint8)
    for region in regions:
        part = np.zeros_like(drawn)
        rings = [np.floor(ring / scale).astype(np.int32) for ring in region.rings]
        cv2.fillPoly(part, rings, 1)
        drawn |= part
    if not drawn.any():
        raise PipelineError(f"--tissue {file}: no region on the slide; draw one, or give `none`")
    return drawn.astype(bool)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise PipelineError(
            f"--tissue {file}: not a readable file; correct the path, or give `auto` or `none`"
        ) from error
