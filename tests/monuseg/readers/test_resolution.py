"""Tests of `monuseg.readers.resolution`."""

import io
import math
import time

import numpy as np
import pytest
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.scale import ASSUMED
from monuseg.readers.resolution import (
    ANNOTATION,
    APERIO,
    GIVEN,
    OME,
    TIFF_TAGS,
    Stated,
    require_plausible,
    settle,
    stated_by_image,
)

PICTURE = Image.fromarray(np.zeros((4, 5, 3), np.uint8))
INCH, CENTIMETRE, NO_UNIT = 2, 3, 1
OF_APERIO = "Aperio Image Library v8.2.43\n81713x37331 RAW|AppMag = 20|MPP = 0.4970|Left = 2"


def encoded(kind: str = "TIFF", **options: object) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, kind, **options)
    return file.getvalue()


def of_ome(sizes: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" {sizes}/></Image></OME>'
    )


def imagej(unit: str, per_unit: float) -> bytes:
    return encoded(
        description=f"ImageJ=1.54f\nunit={unit}\nloop=false\n",
        x_resolution=per_unit,
        y_resolution=per_unit,
        resolution_unit=NO_UNIT,
    )


def density(value: float, unit: int) -> bytes:
    return encoded(x_resolution=value, y_resolution=value, resolution_unit=unit)


STATED: dict[str, tuple[bytes, float, str]] = {
    "Aperio": (encoded(description=OF_APERIO), 0.497, APERIO),
    "Aperio, decimal comma": (encoded(description="Aperio|MPP = 0,2520"), 0.252, APERIO),
    "OME": (
        encoded(description=of_ome('PhysicalSizeX="0.46" PhysicalSizeY="0.46"')),
        0.46,
        OME,
    ),
    "OME in two units": (
        encoded(
            description=of_ome(
                'PhysicalSizeX="250" PhysicalSizeXUnit="nm" '
                'PhysicalSizeY="0.25" PhysicalSizeYUnit="&#181;m"'
            )
        ),
        0.25,
        OME,
    ),
    "OME, sign of micro": (
        encoded(
            description=of_ome(
                'PhysicalSizeX="0.5" PhysicalSizeXUnit="\xb5m" '
                'PhysicalSizeY="0.5" PhysicalSizeYUnit="\u03bcm"'
            ).encode()
        ),
        0.5,
        OME,
    ),
    "per centimetre": (density(40_000, CENTIMETRE), 0.25, TIFF_TAGS),
    "per inch": (density(50_800, INCH), 0.5, TIFF_TAGS),
    "per ImageJ's micron": (imagej("micron", 2.0), 0.5, TIFF_TAGS),
    "per ImageJ's escaped sign": (imagej("\\u00B5m", 4.0), 0.25, TIFF_TAGS),
    "per ImageJ's millimetre": (imagej("mm", 2000.0), 0.5, TIFF_TAGS),
    "PNG": (encoded("PNG", dpi=(101_600, 101_600)), 0.25, TIFF_TAGS),
    "JPEG": (encoded("JPEG", dpi=(50_800, 50_800)), 0.5, TIFF_TAGS),
}


@pytest.mark.parametrize(("content", "um_per_pixel", "source"), STATED.values(), ids=STATED)
def test_what_an_image_states_is_read(content: bytes, um_per_pixel: float, source: str) -> None:
    (stated,) = stated_by_image(content)
    assert stated.um_per_pixel == pytest.approx(um_per_pixel, rel=1e-3)
    assert (stated.source, stated.downwards) == (source, None)


@pytest.mark.parametrize(
    "content",
    [
        *(density(dots, INCH) for dots in (1, 72, 96, 300)),
        density(40_000, NO_UNIT),
        imagej("pixel", 4.0),
        encoded(description=of_ome('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" SizeX="5"')),
        encoded(description=of_ome('PhysicalSizeX="0.5"')),
        encoded(description=of_ome('PhysicalSizeX="half" PhysicalSizeY="half"')),
        encoded(description="<OME PhysicalSizeX="),
        encoded(description="Aperio|MPP = unknown"),
        encoded(description="AMPP = 0.25"),
        encoded("PNG"),
        encoded("PNG", dpi=(300, 300)),
        b"",
        b"II*\0",
        density(40_000, CENTIMETRE)[:30],
        b"no image",
    ],
)
def test_what_is_no_resolution_is_left_out(content: bytes) -> None:
    assert stated_by_image(content) == []


def test_a_long_unit_takes_no_time() -> None:
    started = time.process_time()
    assert stated_by_image(imagej(f"a{' ' * 100_000}b", 4.0)) == []
    assert time.process_time() - started < 5  # 60 s, where each space is tried as the end


def test_the_sources_of_one_file_come_in_order_of_trust() -> None:
    content = encoded(
        description=OF_APERIO, x_resolution=40_000, y_resolution=40_000, resolution_unit=CENTIMETRE
    )
    assert stated_by_image(content) == [Stated(0.497, APERIO), Stated(0.25, TIFF_TAGS)]


def test_pixels_that_are_not_square_are_told_and_not_used() -> None:
    (stated,) = stated_by_image(
        encoded(description=of_ome('PhysicalSizeX="0.25" PhysicalSizeY="0.5"'))
    )
    assert stated == Stated(0.25, OME, downwards=0.5)
    counts, remark = settle([stated], given=None)
    assert counts == Stated(0.25, ASSUMED)
    assert remark == "ome-xml 0.25 x 0.5 um per pixel is ignored"
    (tags,) = stated_by_image(
        encoded(x_resolution=40_000, y_resolution=20_000, resolution_unit=CENTIMETRE)
    )
    assert tags == Stated(0.25, TIFF_TAGS, downwards=0.5)


def test_the_most_trusted_source_counts_whatever_the_order() -> None:
    agreeing = [
        Stated(0.25, TIFF_TAGS),
        Stated(0.251, ANNOTATION),
        Stated(0.252, OME),
        Stated(0.253, APERIO),
    ]
    for left in range(len(agreeing)):
        stated = agreeing[: left + 1]
        assert settle(stated, given=None) == (stated[-1], None)
        assert settle(stated[::-1], given=None) == (stated[-1], None)
    assert settle(agreeing, given=0.254) == (Stated(0.254, GIVEN), None)
    assert settle([], given=None) == (Stated(0.25, ASSUMED), None)


def test_sources_that_disagree_are_told() -> None:
    stated = [Stated(0.25, ANNOTATION), Stated(0.497, APERIO)]
    counts, remark = settle(stated, given=None)
    assert counts == stated[1]
    assert remark == (
        "aperio-description 0.497 um per pixel, annotation 0.25 um per pixel disagree, "
        "and the first counts"
    )
    assert settle([Stated(0.274, OME)], given=0.25)[1] is None
    assert settle([Stated(0.276, OME)], given=0.25)[1] is not None


def test_an_implausible_statement_is_ignored_and_told() -> None:
    counts, remark = settle([Stated(40.0, APERIO), Stated(0.25, ANNOTATION)], given=None)
    assert counts == Stated(0.25, ANNOTATION)
    assert remark == "aperio-description 40 um per pixel is ignored"


@pytest.mark.parametrize("value", [0.05, 0.25, 0.5, 10.0])
def test_what_may_be_a_resolution_passes(value: float) -> None:
    require_plausible(value, name="--um-per-pixel")


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.049, 10.01, 250.0, math.nan, math.inf, -math.inf])
def test_what_cannot_be_a_resolution_is_refused(value: float) -> None:
    with pytest.raises(PipelineError, match=r"^x: \S+ um per pixel is not between 0.05 and 10;"):
        require_plausible(value, name="x")


@pytest.mark.parametrize("value", [20, 40.0, 63])
def test_a_magnification_is_called_one(value: float) -> None:
    with pytest.raises(PipelineError, match=f"; {value:g} looks like a magnification; give"):
        require_plausible(value, name="x")
