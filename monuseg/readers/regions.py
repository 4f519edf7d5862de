"""What every format of outlines is read into: the regions that somebody drew on an image."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError

Outline = npt.NDArray[np.float64]

POLYGON: Final = "polygon"
RECTANGLE: Final = "rectangle"
ELLIPSE: Final = "ellipse"
AREAS: Final = (POLYGON, RECTANGLE, ELLIPSE)

# Far beyond any slide; a larger coordinate is a damaged number, and tracing it would fill memory.
COORDINATE_LIMIT = 100_000.0
# Bounds on memory. The challenge's largest file has 4 MB and 1,900 regions.
BYTES_MAX = 1 << 28
REGIONS_MAX = 1_000_000
SHOWN_MAX = 40  # characters of a wrong number or name that an error shows

CORNERS_MAX = 4  # vertices of an ellipse that are corners of its box; more are its outline
ELLIPSE_ERROR = 0.01  # pixels between an ellipse and the polygon that stands for it


@dataclass(frozen=True)
class Region:
    """One region.

    Attributes:
        layer: the number of the layer that it is in, counted from 1 in the file's order; 1 where
            the format names layers without listing them.
        number: its place within the layer, counted from 1.
        outline: (n, 2) float64 vertices (x, y) as the file has them; may have fewer than 3, or lie
            outside the image.
        layer_name: empty where the layer has none.
        shape: how `outline` is meant, one of `AREAS`; else what it is that has no area ("arrow").
        negative: whether it is cut out of the regions that it lies in.
        holes: outlines that are cut out of this region alone.
        parts: further outlines of the same nucleus.
    """

    layer: int
    number: int
    outline: Outline
    layer_name: str = ""
    shape: str = POLYGON
    negative: bool = False
    holes: tuple[Outline, ...] = ()
    parts: tuple[Outline, ...] = ()

    @property
    def encloses(self) -> bool:
        """Whether it has as many vertices as an area of its shape needs."""
        return len(self.outline) >= (3 if self.shape == POLYGON else 2)

    @property
    def rings(self) -> list[Outline]:
        """All its outlines as polygons; what an odd number of them enclose is the region."""
        outline = self.outline
        if self.shape == RECTANGLE and len(outline) == 2:
            (left, top), (right, bottom) = outline
            outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        elif self.shape == ELLIPSE and 2 <= len(outline) <= CORNERS_MAX:
            outline = inscribed_ellipse(outline)
        return [outline, *self.parts, *self.holes]


def inscribed_ellipse(corners: Outline) -> Outline:
    """The ellipse that touches all sides of a box, as a polygon.

    Args:
        corners: (n, 2) vertices whose bounding box it is.

    Returns:
        (m, 2) vertices of a polygon of the same area, at most `ELLIPSE_ERROR` pixels off.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    radii = (high - low) / 2
    # Between two vertices a polygon lies radius * (pi / m)^2 / 2 inside the ellipse.
    count = 4 + int(np.ceil(np.pi * np.sqrt(radii.max() / 2 / ELLIPSE_ERROR)))
    step = 2 * np.pi / count
    radii *= np.sqrt(step / np.sin(step))  # the ellipse's area
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ellipse: Outline = (low + high) / 2 + radii * np.column_stack([np.cos(turn), np.sin(turn)])
    return ellipse


def shown(text: str | None) -> str:
    """A value of the file in a line that is never long."""
    return repr(text if text is None else text[:SHOWN_MAX])


def layer_name(text: str) -> str:
    """A layer's name in one line that can be written in UTF-8."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def require_at_most(number: int, limit: int, what: str, *, place: str, program: str) -> None:
    """Refuse a file that has more of something than any annotation of one image.

    Raises:
        PipelineError: it has.
    """
    if number > limit:
        raise PipelineError(
            f"{place}: more than {limit} {what}, which no annotation of one image has; "
            f"export it from {program} again"
        )
