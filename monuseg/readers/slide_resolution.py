"""Micrometres per pixel of a whole slide, from what OpenSlide tells of it."""

import math
import struct
from collections.abc import Mapping
from typing import Final

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from monuseg.core.errors import PipelineError
from monuseg.formats.scale import ASSUMED, PLAUSIBLE, TOLERANCE
from monuseg.readers import tifs
from monuseg.readers.resolution import (
    CENTIMETRE,
    GIVEN,
    INCH,
    RESOLUTION_UNIT,
    RESOLUTIONS,
    SQUARE,
    Stated,
    settle,
    stated_by_image,
)

OPENSLIDE: Final = "openslide"
OBJECTIVE: Final = "objective-power"
# By convention a pixel of a 40x scan is 0.25 um. Scanners have from 4.6 (20x with an adapter of
# 1.6x in front of the camera) to 11 um in place of these 10.
UM_AT_ONE = 10.0
# By how much the two may be apart before one of them must be wrong.
APART_MAX = 2.5
# No objective in use resolves less; a smaller pixel is more likely a wrong number.
FINEST = 0.1
POWERS = (1, 150)
UNITS = {"inch": INCH, "centimeter": CENTIMETRE}
NO_UNIT = 1


def slide_resolution(
    properties: Mapping[str, str], *, given: float | None, name: str
) -> tuple[Stated, str | None]:
    """The resolution that counts, and a remark if there is something to know.

    The first of these: the given value; OpenSlide's `mpp-x` and `mpp-y`; OME-XML or density of
    pixels in a TIF's tags; 10 um over the power of the objective. Pixels that are not square by at
    most `TOLERANCE` get the geometric mean. Implausible numbers are ignored, which is said.

    Args:
        properties: of OpenSlide.
        given: micrometres per pixel by the user, plausible.
        name: what an error calls the file.

    Raises:
        PipelineError: nothing plausible is stated, pixels are far from square, or resolution and
            objective cannot both be right, and none was given.
    """
    remarks: list[str] = []
    stated = _of_openslide(properties, remarks)
    if stated is None:
        found, remark = settle(stated_by_image(_tags_as_tif(properties)), given=None)
        stated = None if found.source == ASSUMED else found
        remarks += [remark] if remark else []
    power = _number(properties, "openslide.objective-power")
    power = power if power and POWERS[0] <= power <= POWERS[1] else None
    if stated is None and power and given is None:
        stated = Stated(UM_AT_ONE / power, OBJECTIVE)
        remarks.append(
            f"no usable resolution stated, {stated.um_per_pixel:.4g} um per pixel assumed for its "
            f"{power:g}x objective (--um-per-pixel sets it)"
        )
    if given is not None:
        if stated and _apart(given, stated.um_per_pixel) > 1 + TOLERANCE:
            remarks.append(f"{_shown(stated)} is ignored for the given {given:g}")
        return Stated(given, GIVEN), "; ".join(remarks) or None
    problem = "no resolution stated"
    if stated:
        problem = _problem(stated, power)
        if not problem:
            if stated.um_per_pixel < FINEST:
                remarks.append(f"{_shown(stated)} is finer than any usual objective's")
            return stated, "; ".join(remarks) or None
    said = "; ".join([*remarks, problem])
    raise PipelineError(f"{name}: {said}; give --um-per-pixel (0.25 for a 40x objective)")


def _of_openslide(properties: Mapping[str, str], remarks: list[str]) -> Stated | None:
    x, y = (_number(properties, f"openslide.mpp-{axis}") for axis in "xy")
    if x is None or y is None:
        return None
    if not (_plausible(x) and _plausible(y)):
        remarks.append(f"{OPENSLIDE} {x:.4g} x {y:.4g} um per pixel is ignored")
        return None
    if _apart(x, y) > 1 + TOLERANCE:
        return Stated(x, OPENSLIDE, y)
    if _apart(x, y) <= 1 + SQUARE:
        return Stated(x, OPENSLIDE)
    mean = math.sqrt(x * y)
    remarks.append(f"pixels of {x:.4g} x {y:.4g} um count as square ones of {mean:.4g}")
    return Stated(mean, OPENSLIDE)


def _problem(stated: Stated, power: float | None) -> str:
    if stated.downwards is not None:
        return f"its pixels are not square ({stated.um_per_pixel:.4g} x {stated.downwards:.4g} um)"
    if power and _apart(stated.um_per_pixel, UM_AT_ONE / power) > APART_MAX:
        return f"{_shown(stated)} does not fit its {power:g}x objective"
    return ""


def _tags_as_tif(properties: Mapping[str, str]) -> bytes:
    """What OpenSlide tells of a TIF's first page, as a TIF without pixels.

    So the same code reads descriptions and densities of slides and of plain images.
    """
    tags = ImageFileDirectory_v2(prefix=b"II")
    tags[tifs.DESCRIPTION] = properties.get("tiff.ImageDescription", "").encode()
    for tag, axis in zip(RESOLUTIONS, "XY", strict=True):
        tags[tag] = _number(properties, f"tiff.{axis}Resolution") or 0
    # A TIF without this tag means inches.
    tags[RESOLUTION_UNIT] = UNITS.get(properties.get("tiff.ResolutionUnit", "inch"), NO_UNIT)
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8)


def _number(properties: Mapping[str, str], key: str) -> float | None:
    try:
        found = float(properties.get(key, "").replace(",", "."))
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None


def _plausible(value: float) -> bool:
    return PLAUSIBLE[0] <= value <= PLAUSIBLE[1]


def _apart(a: float, b: float) -> float:
    """How many times the larger is the smaller."""
    return max(a, b) / min(a, b)


def _shown(stated: Stated) -> str:
    return f"{stated.source} {stated.um_per_pixel:.4g} um per pixel"
