"""Micrometres per pixel, from what an image and its annotation state."""

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from monuseg.core.errors import PipelineError
from monuseg.formats.scale import ASSUMED, PLAUSIBLE, TOLERANCE
from monuseg.readers import tifs
from monuseg.readers.decoding import DAMAGE, quiet

GIVEN: Final = "given"
APERIO: Final = "aperio-description"
OME: Final = "ome-xml"
ANNOTATION: Final = "annotation"
TIFF_TAGS: Final = "tiff-tags"  # and what PNG, JPEG and BMP have in their place
# The first that is stated counts.
ORDER = (GIVEN, APERIO, OME, ANNOTATION, TIFF_TAGS, ASSUMED)

# A 40x objective; what the challenge's images were scanned with.
DEFAULT_UM_PER_PIXEL = 0.25
# Pixels are square up to rounding.
SQUARE = 0.01

MAGNIFICATIONS = frozenset({1.25, 2, 2.5, 4, 5, 10, 15, 16, 20, 25, 40, 50, 60, 63, 80, 100})
APERIO_MPP = re.compile(r"(?:^|[|;\s])MPP\s*=\s*(\d+(?:[.,]\d+)?)")
IMAGEJ_UNIT = re.compile(r"^unit=(.+)$", re.MULTILINE)
RESOLUTIONS, RESOLUTION_UNIT = (282, 283), 296  # tags of TIF
INCH, CENTIMETRE = 2, 3  # values of RESOLUTION_UNIT
UM_PER_INCH = 25_400.0
UM_PER_UNIT = {
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": UM_PER_INCH,
    "in": UM_PER_INCH,
}


@dataclass(frozen=True)
class Stated:
    """A resolution and who states it.

    Attributes:
        um_per_pixel: micrometres per pixel.
        source: one of the names above.
        downwards: micrometres per pixel along y, where they are stated and differ from those along
            x; such a statement is never used.
    """

    um_per_pixel: float
    source: str
    downwards: float | None = None


def stated_by_image(content: bytes) -> list[Stated]:
    """What an image states, in order of trust.

    Aperio's `MPP` and OME-XML are returned as they are stated, so that `settle` can say what it
    ignores. Densities of pixels are left out where they cannot be of a microscope.

    Args:
        content: the file's bytes; of a file that cannot be read nothing is returned.
    """
    try:
        with quiet():
            if content[:4] in tifs.STARTS:
                return next((_of_tif(page) for page in tifs.pages(content)), [])
            with Image.open(io.BytesIO(content)) as image:
                x, y = image.info.get("dpi", (0, 0))
                return _of_density(float(x), float(y), UM_PER_INCH)
    except (*DAMAGE, Image.DecompressionBombError):
        return []


def settle(stated: Sequence[Stated], *, given: float | None) -> tuple[Stated, str | None]:
    """The resolution that counts, and a remark if something is ignored or sources disagree.

    Args:
        stated: by the image and its annotation, in any order.
        given: micrometres per pixel that the user gave; see `require_plausible`.

    Returns:
        The first in the order given value, Aperio's description, OME-XML, annotation, tags,
        default; and a remark without the file's name, or None. That the default was taken is told
        by the source alone.
    """
    usable = [one for one in stated if one.downwards is None and _plausible(one.um_per_pixel)]
    remarks = [f"{_shown(one)} is ignored" for one in stated if one not in usable]
    if given is not None:
        usable.append(Stated(given, GIVEN))
    usable.sort(key=lambda one: ORDER.index(one.source))
    differ = any(
        abs(a.um_per_pixel - b.um_per_pixel) > TOLERANCE * min(a.um_per_pixel, b.um_per_pixel)
        for a, b in combinations(usable, 2)
    )
    if differ:
        remarks.append(f"{', '.join(map(_shown, usable))} disagree, and the first counts")
    counts = usable[0] if usable else Stated(DEFAULT_UM_PER_PIXEL, ASSUMED)
    return counts, "; ".join(remarks) or None


def require_plausible(value: float, *, name: str) -> None:
    """Refuse a number that cannot be micrometres per pixel.

    Args:
        value: the number.
        name: what an error calls it.

    Raises:
        PipelineError: it lies outside `PLAUSIBLE`, or is no number.
    """
    if _plausible(value):
        return
    hint = f"; {value:g} looks like a magnification" if value in MAGNIFICATIONS else ""
    low, high = PLAUSIBLE
    raise PipelineError(
        f"{name}: {value:g} um per pixel is not between {low:g} and {high:g}{hint}; "
        "give micrometres per pixel (0.25 for a 40x objective, 0.5 for 20x)"
    )


def _plausible(value: float) -> bool:
    return PLAUSIBLE[0] <= value <= PLAUSIBLE[1]  # false for NaN


def _shown(one: Stated) -> str:
    across = "" if one.downwards is None else f" x {one.downwards:.4g}"
    return f"{one.source} {one.um_per_pixel:.4g}{across} um per pixel"


def _of_tif(page: ImageFileDirectory_v2) -> list[Stated]:
    description = str(page.get(tifs.DESCRIPTION, ""))
    with suppress(UnicodeError):  # Pillow takes UTF-8, which OME-XML is in, for Latin-1
        description = description.encode("latin-1").decode()
    found = [
        Stated(float(stated.replace(",", ".")), APERIO)
        for stated in APERIO_MPP.findall(description)[:1]
    ]
    found.extend(_of_ome(description))
    x, y = (float(page.get(tag, 0)) for tag in RESOLUTIONS)
    unit = {INCH: UM_PER_INCH, CENTIMETRE: 1e4}.get(page.get(RESOLUTION_UNIT, INCH), 0.0)
    if description.startswith("ImageJ=") and (named := IMAGEJ_UNIT.search(description)):
        unit = _um(named[1])
    return found + _of_density(x, y, unit)


def _of_ome(description: str) -> list[Stated]:
    if "PhysicalSizeX" not in description:
        return []
    try:
        # Bytes, because text with an encoding declared is refused.
        root = fromstring(description.encode(), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return []
    sizes = root.find(".//{*}Pixels")
    if sizes is None:
        return []
    try:
        x, y = (
            float(sizes.attrib[f"PhysicalSize{axis}"])
            * _um(sizes.attrib.get(f"PhysicalSize{axis}Unit", "um"))
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return []
    return [_stated(x, y, OME)] if x and y else []


def _of_density(x: float, y: float, unit: float) -> list[Stated]:
    """What pixels per `unit` (um) along both axes state, if a microscope may have made them."""
    if not (x > 0 and y > 0):
        return []
    sides = unit / x, unit / y
    return [_stated(*sides, TIFF_TAGS)] if any(map(_plausible, sides)) else []


def _stated(x: float, y: float, source: str) -> Stated:
    return Stated(x, source, None if abs(x - y) <= SQUARE * min(x, y) else y)


def _um(unit: str) -> float:
    """Micrometres in a unit of length, or 0 for what is none, as "pixel"."""
    # Both signs of micro, and how ImageJ escapes one.
    plain = unit.strip().replace("\\u00B5", "u").replace("\xb5", "u").replace("\u03bc", "u")
    return UM_PER_UNIT.get(plain, 0.0)
