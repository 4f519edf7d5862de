"""Tests of `monuseg.readers.geojson`."""

import json
from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from monuseg.readers import geojson
from monuseg.readers.geojson import PARTS_MAX, read
from monuseg.readers.regions import COORDINATE_LIMIT

RING = [[1, 1], [5, 1], [5, 5], [1, 1]]
HOLE = [[2, 1.5], [3, 1.5], [3, 2], [2, 1.5]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}


def feature(geometry: object = POLYGON, /, *, nucleus: object = None, **properties: object) -> Any:
    made = {"type": "Feature", "geometry": geometry, "properties": properties}
    return made if nucleus is None else made | {"nucleusGeometry": nucleus}


def encoded(found: object) -> bytes:
    return json.dumps(found).encode()


def collection(*features: object) -> bytes:
    return encoded({"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize(
    "content",
    [
        collection(feature()),
        encoded([feature()]),
        encoded(feature()),
        encoded(POLYGON),
        b"\xef\xbb\xbf" + encoded(POLYGON),
        json.dumps(POLYGON).encode("utf-16"),
        collection(feature(POLYGON | {"plane": {"c": -1, "z": 0, "t": 0}})),
        encoded({"type": "Polygon", "coordinates": [[[*p, 7] for p in RING], HOLE]}),
    ],
    ids=["collection", "array", "feature", "geometry", "BOM", "UTF-16", "plane", "height"],
)
def test_a_polygon_is_read_wherever_it_stands(content: bytes) -> None:
    (region,) = read(content, name="a")
    assert region.outline.tolist() == RING
    assert [hole.tolist() for hole in region.holes] == [HOLE]
    assert (region.layer, region.number, region.layer_name, region.shape) == (1, 1, "", "polygon")


def test_a_multipolygon_is_one_region_of_parts_and_holes() -> None:
    other = [[x + 9, y] for x, y in RING]
    geometry = {"type": "MultiPolygon", "coordinates": [[RING, HOLE], [other, HOLE]]}
    (region,) = read(collection(feature(geometry)), name="a")
    assert region.outline.tolist() == RING
    assert [part.tolist() for part in region.parts] == [other]
    assert len(region.holes) == 2
    assert len(region.rings) == 4


def test_an_object_of_very_many_polygons_is_no_nucleus() -> None:
    def of(parts: int) -> bytes:
        return collection(feature({"type": "MultiPolygon", "coordinates": [[RING]] * parts}))

    assert len(read(of(PARTS_MAX), name="a")) == 1
    with pytest.raises(PipelineError, match=r"region 1: one object of 11 polygons.*Split"):
        read(of(PARTS_MAX + 1), name="a")


def test_a_cells_nucleus_counts_and_what_is_no_object_of_a_nucleus_is_told() -> None:
    nucleus = {"type": "Polygon", "coordinates": [HOLE]}
    found = read(
        collection(
            feature(objectType="cell", nucleus=nucleus),
            feature(objectType="cell"),
            feature(objectType="detection"),
            feature(object_type="tile"),
            feature(objectType="tmaCore"),
            feature(objectType="root"),
            feature(type="tile"),
            feature(type="Neoplastic"),  # a class, so an annotation
            feature({"type": "Point", "coordinates": [1, 2]}),
            feature({"type": "LineString", "coordinates": RING}),
            feature({"type": "GeometryCollection", "geometries": [POLYGON]}),
            feature(None),
            feature({"type": ["Polygon"], "coordinates": [RING]}),
            feature(POLYGON | {"plane": {"z": 2}}),
            7,
        ),
        name="a",
    )
    assert found[0].outline.tolist() == HOLE
    assert [one.shape for one in found] == [
        "polygon",
        "cell without nucleus",
        "polygon",
        "tile",
        "TMA core",
        "root",
        "tile",
        "polygon",
        "Point",
        "LineString",
        "GeometryCollection",
        "no geometry",
        "['Polygon']",
        "on another plane",
        "no geometry",
    ]
    assert [one.number for one in found] == list(range(1, 16))


def test_children_follow_their_parent() -> None:
    child = feature(classification="child")
    found = read(
        collection(
            feature(classification="parent", childObjects=[child, child]),
            feature(classification="last"),
        ),
        name="a",
    )
    assert [one.layer_name for one in found] == ["parent", "child", "child", "last"]


@pytest.mark.parametrize(
    ("classification", "name"),
    [
        ("Tumor", "Tumor"),
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ("a\r\nb\ud800", "a b?"),
        (None, ""),
        ({}, ""),
        (7, ""),
    ],
)
def test_the_classification_is_the_layer(classification: object, name: str) -> None:
    (region,) = read(collection(feature(classification=classification)), name="a")
    assert region.layer_name == name


@pytest.mark.parametrize(
    "ring",
    [
        [["1", "2"], ["3", "4"]],
        [["60,5", 1]],
        [[1, float("nan")]],
        [[1, float("inf")]],
        [[1, COORDINATE_LIMIT + 1]],
        [[1], [2]],
        [[1, 2], [3]],
        [1, 2],
        [[True, False]],
        [[None, 1]],
        {"x": 1},
        7,
    ],
)
def test_a_ring_without_finite_pairs_is_refused(ring: object) -> None:
    with pytest.raises(PipelineError, match="a: region 2: a ring is no list of pairs"):
        read(collection(feature(), feature({"type": "Polygon", "coordinates": [ring]})), name="a")


@pytest.mark.parametrize("coordinates", [[], [[]], None, [[[]]]])
def test_no_coordinates_stay_in_the_count(coordinates: object) -> None:
    for kind in ("Polygon", "MultiPolygon"):
        if coordinates is None or (kind == "Polygon") == (coordinates == [[[]]]):
            continue
        (region,) = read(collection(feature({"type": kind, "coordinates": coordinates})), name="a")
        assert region.outline.shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested without end"),
        ('{"type": "Feature", "name": "ä"}'.encode("latin-1"), "the byte 0xe4 is not UTF-8"),
        (b'{"type": "Feature"', "malformed JSON"),
        (b'{"type": "Polygon", "coordinates": [[[' + b"9" * 5000 + b", 1]]]}", "malformed JSON"),
        (b'{"type": "MultiPolygon", "coordinates": 7}', "coordinates are missing"),
        (b'{"type": "MultiPolygon", "coordinates": [7]}', "coordinates are missing"),
        (b'{"shapes": []}', "JSON of LabelMe"),
        (b"[7]", "JSON of another kind"),
        (b'{"type": {}}', "JSON of another kind"),
        (b'{"type": []}', "JSON of another kind"),
    ],
)
def test_what_is_no_geojson_is_one_line(content: bytes, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read(content, name="a.geojson")
    message = str(caught.value)
    assert message.startswith("a.geojson: ")
    assert said in message
    assert "\n" not in message


def test_more_objects_than_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(feature())
    monkeypatch.setattr(geojson, "VALUES_MAX", content.count(b"{") + content.count(b"["))
    assert len(read(content, name="a")) == 1
    with pytest.raises(PipelineError, match=r"^a: more than 14 objects and lists, which no"):
        read(b"[" + content + b"]", name="a")


def test_a_million_regions_and_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monuseg.readers.regions.REGIONS_MAX", 3)
    with pytest.raises(PipelineError, match="region 4: more than 3 regions"):
        read(collection(*[feature()] * 4), name="a")
