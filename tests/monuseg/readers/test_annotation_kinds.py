"""Tests of `monuseg.readers.annotations`, `halo`, `asap` and `regions`."""

from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.readers.annotations import kind_of, read_regions, stated_resolution
from monuseg.readers.regions import Region, inscribed_ellipse

VERTICES = ((1, 2), (5, 2), (5, 8))


def points(tag: str) -> str:
    return "".join(f'<{tag} X="{x}" Y="{y}"/>' for x, y in VERTICES)


def aperio(tag: str = "Vertex", kind: str = "0") -> bytes:
    region = f'<Region Type="{kind}"><Vertices>{points(tag)}</Vertices></Region>'
    inner = f"<Annotation><Regions>{region}</Regions></Annotation>"
    return f'<Annotations MicronsPerPixel="0.5">{inner}</Annotations>'.encode()


def halo(*regions: str) -> bytes:
    inner = f'<Annotation Name="Tumor"><Regions>{"".join(regions)}</Regions></Annotation>'
    return f"<Annotations>{inner}</Annotations>".encode()


def halo_region(kind: str, negative: int = 0) -> str:
    return (
        f'<Region Type="{kind}" HasEndcaps="0" NegativeROA="{negative}">'
        f"<Vertices>{points('V')}</Vertices><Comments/></Region>"
    )


def asap(*annotations: str) -> bytes:
    groups = '<AnnotationGroups><Group Name="a" PartOfGroup="None"><Attributes/></Group>'
    return (
        f"<ASAP_Annotations><Annotations>{''.join(annotations)}</Annotations>"
        f"{groups}</AnnotationGroups></ASAP_Annotations>"
    ).encode()


def asap_annotation(kind: str, group: str, order: tuple[object, ...] = (0, 1, 2)) -> str:
    inner = "".join(
        f'<Coordinate Order="{number}" X="{x}" Y="{y}"/>'
        for number, (x, y) in zip(order, VERTICES, strict=True)
    )
    return (
        f'<Annotation Name="A" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{inner}</Coordinates></Annotation>"
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (aperio(), "aperio-xml"),
        (b"\xef\xbb\xbf" + aperio(), "aperio-xml"),
        (aperio().decode().encode("utf-16"), "aperio-xml"),
        (b"<Annotations/>", "aperio-xml"),
        (halo(halo_region("Polygon")), "halo-xml"),
        (halo('<Region Type="Ellipse"/>'), "halo-xml"),
        (aperio("V"), "halo-xml"),
        (asap(), "asap-xml"),
        (b' \n{"type": "FeatureCollection", "features": []}', "geojson"),
        (b"[]", "geojson"),
    ],
)
def test_a_kind_is_told_by_what_the_file_holds(content: bytes, kind: str) -> None:
    assert kind_of(content, name="a") == kind


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "malformed XML (no element found"),
        (b"PK\3\4", "neither XML nor JSON (it begins with b'PK"),
        (b"id,x,y\n1,2,3", "neither XML nor JSON"),
        (b"<html><body/></html>", "a web page (the root element is <html>)"),
        (b"<annotation><object/></annotation>", "Pascal VOC's or LabelMe's"),
        (b"<annotations><ndpviewstate/></annotations>", "NDP.view's annotation"),
        (b"<Something/>", "XML of another kind (the root element is <Something>)"),
        (b'{"images": [], "categories": []}', "JSON of COCO, not GeoJSON"),
        (b'{"magnification": 40}', "JSON of another kind, not GeoJSON"),
        (b'{"type": "FeatureCollection",}', "malformed JSON"),
        (b"<Annotations><Annotation", "malformed XML"),
    ],
)
def test_what_is_no_annotation_is_named(content: bytes, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        kind_of(content, name="train.zip: a/b.xml")
    assert str(caught.value).startswith(f"train.zip: a/b.xml: {said}")
    assert "; " in str(caught.value)


def test_only_aperio_states_a_resolution() -> None:
    assert stated_resolution(aperio(), "aperio-xml") == 0.5
    assert stated_resolution(aperio(), "halo-xml") is None


def test_halos_regions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    kinds = ("Polygon", "Rectangle", "Ellipse", "Ruler", "Pin")
    path.write_bytes(halo(*map(halo_region, kinds), halo_region("Polygon", negative=1)))
    found = read_regions(path, "halo-xml")
    assert [one.shape for one in found] == [
        *("polygon", "rectangle", "ellipse", "ruler", "pin", "polygon"),
    ]
    assert [one.negative for one in found] == [False] * 5 + [True]
    assert {one.layer_name for one in found} == {"Tumor"}
    assert all(one.outline.tolist() == [list(v) for v in VERTICES] for one in found)


def test_asaps_annotations_are_read_in_the_order_of_their_points(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(
        asap(
            asap_annotation("Polygon", "tumor", (2, 0, 1)),
            asap_annotation("Spline", "None", (9, 10, 11)),
            asap_annotation("Rectangle", "tumor", ("", "", "")),
            asap_annotation("Dot", "tumor"),
            asap_annotation("Polygon", "Exclusion"),
        )
    )
    found = read_regions(path, "asap-xml")
    assert [(one.layer, one.number) for one in found] == [(1, n) for n in (1, 2, 3, 4, 5)]
    assert [one.shape for one in found] == ["polygon", "polygon", "rectangle", "dot", "polygon"]
    assert [one.layer_name for one in found] == ["tumor", "", "tumor", "tumor", "Exclusion"]
    assert [one.negative for one in found] == [False] * 4 + [True]
    assert found[0].outline.tolist() == [[5, 2], [5, 8], [1, 2]]
    assert found[1].outline.tolist() == found[2].outline.tolist() == [list(v) for v in VERTICES]


@pytest.mark.parametrize("kind", ["halo-xml", "asap-xml", "geojson"])
def test_a_file_of_too_many_bytes_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("monuseg.readers.regions.BYTES_MAX", 10)
    path = tmp_path / "a.xml"
    path.write_bytes(b"x" * 11)
    with pytest.raises(PipelineError, match=r"a\.xml: more than 10 bytes"):
        read_regions(path, kind)  # type: ignore[arg-type]


def area(outline: np.ndarray) -> float:
    x, y = outline.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@pytest.mark.parametrize("box", [(30, 30), (3, 50), (400, 90), (0.5, 0.5)])
def test_an_ellipse_has_its_boxs_middle_and_area(box: tuple[float, float]) -> None:
    corners = np.array([(50 + box[0], 20), (50, 20 + box[1])])  # any two opposite ones
    ellipse = inscribed_ellipse(corners)
    assert area(ellipse) == pytest.approx(np.pi / 4 * box[0] * box[1], rel=1e-9)
    radii = np.array(box) / 2
    off_centre = np.hypot(*((ellipse - corners.mean(axis=0)) / radii).T)
    edge_middles = (ellipse + np.roll(ellipse, 1, axis=0)) / 2
    inner = np.hypot(*((edge_middles - corners.mean(axis=0)) / radii).T)
    assert (off_centre.max() - 1) * radii.max() < 0.01
    assert (1 - inner.min()) * radii.max() < 0.01


def test_corners_are_the_shape_and_more_vertices_its_outline() -> None:
    two = np.array([(10.0, 20.0), (40.0, 30.0)])
    four = np.array([(10.0, 20.0), (40.0, 20.0), (40.0, 30.0), (10.0, 30.0)])
    (rectangle,) = Region(1, 1, two, shape="rectangle").rings
    assert rectangle.tolist() == four.tolist()
    assert Region(1, 1, four, shape="rectangle").rings[0] is four
    by_two, by_four = (Region(1, 1, one, shape="ellipse").rings[0] for one in (two, four))
    assert np.array_equal(by_two, by_four)
    assert len(by_two) > 20
    five = np.concatenate([four, [(8.0, 25.0)]])
    assert Region(1, 1, five, shape="ellipse").rings[0] is five
