"""Micrometres per pixel, from what an image and its annotation state."""

from dataclasses import dataclass
from typing import Final

GIVEN: Final = "given"
APERIO: Final = "aperio-description"
OME: Final = "ome-xml"
ANNOTATION: Final = "annotation"
TIFF_TAGS: Final = "tiff-tags"
DEFAULT: Final = "default"

# A 40x objective; what the challenge's images were scanned with.
DEFAULT_UM_PER_PIXEL = 0.25
# Between an oil-immersion objective with a fine sensor and an overview scan; a number outside is
# damaged, or of something else, as a magnification.
PLAUSIBLE = (0.05, 10.0)
# Images and statements that differ by less count as equal: scanners of one setting differ so much.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Stated:
    """A resolution and who states it.

    Attributes:
        um_per_pixel: micrometres per pixel.
        source: one of the names above.
    """

    um_per_pixel: float
    source: str
