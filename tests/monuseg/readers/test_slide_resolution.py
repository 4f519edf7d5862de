"""Tests of `monuseg.readers.slide_resolution`: which of a slide's statements counts."""

import pytest

from monuseg.core.errors import PipelineError
from monuseg.readers.slide_resolution import slide_resolution

X, Y, POWER = "openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"
OME = (
    '<OME><Image><Pixels PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" '
    'PhysicalSizeYUnit="µm"/></Image></OME>'
)
PER_CM = {"tiff.XResolution": "40000", "tiff.YResolution": "40000"}


@pytest.mark.parametrize(
    ("properties", "um_per_pixel", "source", "remark"),
    [
        ({X: "0.25", Y: "0.25"}, 0.25, "openslide", None),
        ({X: "0,2520", Y: "0.2521", POWER: "40"}, 0.252, "openslide", None),
        ({X: "0.25", Y: "0.26"}, 0.254951, "openslide", "0.25 x 0.26 um count as square"),
        # 20x with an adapter in front of the camera, and 40x with one.
        ({X: "0.2325", Y: "0.2325", POWER: "20"}, 0.2325, "openslide", None),
        ({X: "0.1213", Y: "0.1213", POWER: "40"}, 0.1213, "openslide", None),
        ({X: "0.092", Y: "0.092"}, 0.092, "openslide", "finer than any usual objective's"),
        ({POWER: "40"}, 0.25, "objective-power", "0.25 um per pixel assumed for its 40x objective"),
        ({X: "92", Y: "92", POWER: "20"}, 0.5, "objective-power", "92 x 92 um per pixel is"),
        ({X: "0.25", POWER: "20"}, 0.5, "objective-power", "assumed for its 20x objective"),
        ({"tiff.ImageDescription": OME}, 0.5, "ome-xml", None),
        ({**PER_CM, "tiff.ResolutionUnit": "centimeter"}, 0.25, "tiff-tags", None),
        ({"tiff.XResolution": "50800", "tiff.YResolution": "50800"}, 0.5, "tiff-tags", None),
    ],
)  # fmt: skip
def test_what_counts(
    properties: dict[str, str], um_per_pixel: float, source: str, remark: str | None
) -> None:
    found, said = slide_resolution(properties, given=None, name="a.svs")
    assert found.um_per_pixel == pytest.approx(um_per_pixel, rel=1e-5)
    assert found.source == source
    assert said is None if remark is None else remark in (said or "")


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "no resolution stated"),
        ({X: "nan", Y: "nan", POWER: "400"}, "no resolution stated"),
        ({X: "92", Y: "92"}, "openslide 92 x 92 um per pixel is ignored; no resolution stated"),
        ({X: "0.25", Y: "0.5"}, r"not square \(0.25 x 0.5 um\)"),
        ({X: "0.092", Y: "0.092", POWER: "40"}, "does not fit its 40x objective"),
        ({**PER_CM, "tiff.ResolutionUnit": "none"}, "no resolution stated"),
    ],
)
def test_what_is_refused_unless_a_resolution_is_given(
    properties: dict[str, str], said: str
) -> None:
    with pytest.raises(PipelineError, match=rf"^a\.svs: .*{said}.*; give --um-per-pixel"):
        slide_resolution(properties, given=None, name="a.svs")
    found, _ = slide_resolution(properties, given=0.5, name="a.svs")
    assert (found.um_per_pixel, found.source) == (0.5, "given")


def test_a_given_resolution_wins_and_disagreement_is_said() -> None:
    stated = {X: "0.25", Y: "0.25"}
    assert slide_resolution(stated, given=0.26, name="")[1] is None
    found, said = slide_resolution(stated, given=0.5, name="")
    assert found.um_per_pixel == 0.5
    assert said == "openslide 0.25 um per pixel is ignored for the given 0.5"
