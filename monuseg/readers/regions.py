"""What every annotation format is read into: the outlines of an image's nuclei."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]
Shape = Literal["polygon", "rectangle", "ellipse", "other"]


@dataclass(frozen=True)
class Region:
    """One outlined region.

    Attributes:
        layer: the number of the layer that it is in, counted from 1 in the file's order.
        number: its place within the layer, counted from 1.
        outline: (n, 2) float64 vertices (x, y) in pixels from the image's upper left corner; may
            have fewer than 3, or lie outside the image.
        layer_name: empty where the layer has none.
        shape: how `outline` is meant; "other" is no area (an arrow, a ruler, a text).
        negative: whether it is cut out of the regions that it lies in.
        holes: outlines that are cut out of this region alone.
        parts: further outlines of the same nucleus.
    """

    layer: int
    number: int
    outline: Outline
    layer_name: str = ""
    shape: Shape = "polygon"
    negative: bool = False
    holes: tuple[Outline, ...] = ()
    parts: tuple[Outline, ...] = ()
