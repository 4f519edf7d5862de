"""GeoJSON as QuPath asks for it."""

import gzip
import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from monuseg.core.errors import PipelineError
from monuseg.readers import geojson
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.geojson import (
    FAST_IN_QUPATH,
    WrittenObjects,
    write_geojson,
    write_tissue,
)
from stages.masks.rasterise import rasterise
from tests.monuseg.segment.outputs.made import (
    blobs,
    in_blocks,
    labels_of,
    noise,
    objects_of,
    peak,
    some_of,
    striped,
    target,
)

LABELS = blobs(90, 120)
# Examples overwrite each other's file.
on_disk = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings.default.max_examples // 2,
)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def features(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    collection = json.loads(content, parse_constant=refuse)
    assert collection.keys() == {"type", "features"}
    assert collection["type"] == "FeatureCollection"
    found: list[dict[str, Any]] = collection["features"]
    return found


def test_each_nucleus_is_a_detection_with_its_id_and_measurements(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    objects = objects_of(LABELS)
    areas = np.bincount(LABELS.ravel())
    written = write_geojson(in_blocks(LABELS), target(LABELS), path)
    assert written == WrittenObjects(len(objects))
    for label, feature in enumerate(features(path), 1):
        assert feature.keys() == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature"
        properties = feature["properties"]
        assert properties.keys() == {"objectType", "classification", "measurements"}
        assert properties["objectType"] == "detection"
        assert properties["classification"] == {"name": "Nucleus", "color": [240, 228, 66]}
        area = areas[label]
        measured = properties["measurements"]
        assert measured["Label"] == label
        assert measured["Area px^2"] == area
        assert measured["Area µm^2"] == pytest.approx(area / 16, abs=1e-4)
        assert 0 < measured["Probability"] < 1
        assert measured["Haematoxylin OD"] == pytest.approx(2 * measured["Probability"], abs=2e-4)


@on_disk
@given(noise)
def test_the_projects_own_reader_gives_the_label_map_again(
    tmp_path: Path, noise: np.ndarray
) -> None:
    labels = labels_of(noise)
    path = tmp_path / "slide.geojson"
    write_geojson([objects_of(labels)], target(labels), path)
    regions = geojson.read(path.read_bytes(), name="slide")
    found, without_pixels = rasterise([one.rings for one in regions], *labels.shape, "center")
    np.testing.assert_array_equal(found, labels)
    assert without_pixels == []
    assert {one.layer_name for one in regions} <= {"Nucleus"}


def test_ids_are_those_of_slide_and_place_however_nuclei_come(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    image = target(LABELS)

    def ids() -> list[str]:
        return [feature["id"] for feature in features(path)]

    write_geojson(in_blocks(LABELS), image, path)
    first = ids()
    assert all(str(uuid.UUID(one)) == one and uuid.UUID(one).version == 5 for one in first)
    assert len(set(first)) == len(first) == LABELS.max()
    write_geojson([some_of(objects_of(LABELS), slice(2, None))], image, path)
    assert ids() == first[2:]
    write_geojson([objects_of(LABELS)], replace(image, identity="another"), path)
    assert not set(ids()) & set(first)


@on_disk
@given(noise)
def test_no_two_nuclei_of_a_label_map_have_the_same_id(tmp_path: Path, noise: np.ndarray) -> None:
    path = tmp_path / "slide.geojson"
    labels = labels_of(noise)
    write_geojson([objects_of(labels)], target(labels), path)
    assert len({feature["id"] for feature in features(path)}) == labels.max()


def test_compressed_or_not_the_same_nuclei_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.geojson", "b.geojson", "c.geojson.gz", "d.geojson.gz")]
    for path in paths:
        write_geojson(in_blocks(LABELS), target(LABELS), path)
    plain, again, compressed, other_name = (path.read_bytes() for path in paths)
    assert plain == again
    assert compressed == other_name
    assert gzip.decompress(compressed) == plain
    flags, time = compressed[3], compressed[4:8]
    assert (flags, time) == (0, bytes(4))


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    objects = some_of(objects_of(LABELS), slice(2))
    objects.probability[0] = np.nan
    objects.haematoxylin[1] = np.inf
    write_geojson([objects], target(LABELS, None), path)
    one, other = (feature["properties"]["measurements"] for feature in features(path))
    assert one.keys() == {"Label", "Area px^2", "Haematoxylin OD"}
    assert other.keys() == {"Label", "Area px^2", "Probability"}


def test_nuclei_are_placed_where_qupath_has_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    objects = Objects(
        np.array([[50, 80, 53, 84]]), [np.ones((3, 4), bool)], *np.ones((2, 1), np.float32)
    )
    write_geojson([objects], target(np.zeros((100, 100)), origin=(30, 20)), path)
    [ring] = features(path)[0]["geometry"]["coordinates"]
    assert np.min(ring, axis=0).tolist() == [50, 30]
    assert np.max(ring, axis=0).tolist() == [54, 33]


def test_what_is_no_nucleus_is_counted_and_keeps_its_label(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    masks = [np.ones((2, 2), bool), np.zeros((2, 2), bool), np.array([[1, 1, 0, 1]], bool)]
    boxes = np.array([[0, 0, 2, 2], [4, 4, 6, 6], [8, 8, 9, 12]])
    objects = Objects(boxes, masks, *np.ones((2, 3), np.float32))
    written = write_geojson([objects], target(np.zeros((20, 20))), path)
    assert written == WrittenObjects(written=2, repaired=1, dropped=1)
    assert [one["properties"]["measurements"]["Label"] for one in features(path)] == [1, 3]


def test_no_nuclei_are_an_empty_collection(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson"
    assert write_geojson([], target(LABELS), path).written == 0
    assert features(path) == []


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 5.0])
def test_simpler_outlines_are_valid_too(tmp_path: Path, tolerance: float) -> None:
    shapely = pytest.importorskip("shapely")
    path = tmp_path / "slide.geojson"
    labels = blobs(120, 120, smooth=0.8)
    written = write_geojson(in_blocks(labels), target(labels), path)
    whole = path.stat().st_size
    simpler = write_geojson(in_blocks(labels), target(labels), path, simplify=tolerance)
    assert simpler == replace(written, unsimplified=simpler.unsimplified)
    assert path.stat().st_size < whole
    for feature in features(path):
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert polygon.geom_type == "Polygon"
        assert polygon.is_valid
        assert polygon.area > 0


def test_simpler_outlines_say_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(PipelineError, match="pip install shapely"):
        write_geojson([], target(LABELS), tmp_path / "slide.geojson", simplify=1)
    assert not list(tmp_path.iterdir())


def test_an_error_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "slide.geojson.gz"
    path.write_bytes(b"old")

    def broken() -> Iterator[Objects]:
        yield objects_of(LABELS)
        raise PipelineError("a tile cannot be read")

    with pytest.raises(PipelineError, match="a tile"):
        write_geojson(broken(), target(LABELS), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_memory_does_not_grow_with_the_number_of_nuclei(tmp_path: Path) -> None:
    path, image = tmp_path / "slide.geojson.gz", target(np.zeros((9, 9)))
    few = peak(lambda: write_geojson(striped(20), image, path))
    many = peak(lambda: write_geojson(striped(80), image, path))
    assert many < 1.1 * few


def test_many_nuclei_are_said_to_be_slow_in_qupath() -> None:
    assert not WrittenObjects(FAST_IN_QUPATH).slow_in_qupath
    assert WrittenObjects(FAST_IN_QUPATH + 1).slow_in_qupath


@pytest.mark.parametrize("name", ["", " ", "Tumor: Positive"])
def test_class_names_that_qupath_would_change_are_refused(name: str) -> None:
    with pytest.raises(PipelineError, match="class name"):
        target(LABELS, class_name=name)


def test_tissue_is_an_annotation_a_part_at_the_scale_of_the_overview(tmp_path: Path) -> None:
    path = tmp_path / "slide.tissue.geojson"
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:5] = True
    mask[2, 3] = False
    mask[5, 7] = True
    image = replace(target(np.zeros((1, 1))), width=250, height=190)
    assert write_tissue(mask, (32.0076, 31.9987), image, path).written == 2
    ring, corner = features(path)
    for feature in (ring, corner):
        assert feature.keys() == {"type", "id", "geometry", "properties"}
        assert feature["properties"] == {
            "objectType": "annotation",
            "classification": {"name": "Tissue", "color": [0, 114, 178]},
        }
    assert ring["id"] != corner["id"]
    outer, hole = ring["geometry"]["coordinates"]
    assert (np.min(outer, axis=0).tolist(), np.max(outer, axis=0).tolist()) == (
        [64.0, 32.01],
        [159.99, 128.03],
    )
    assert np.min(hole, axis=0).tolist() == [96.0, 64.02]
    # The overview's last row and column reach beyond the image.
    assert np.max(corner["geometry"]["coordinates"][0], axis=0).tolist() == [250, 190]


@on_disk
@given(noise)
def test_tissue_is_valid_after_rounding(tmp_path: Path, noise: np.ndarray) -> None:
    shapely = pytest.importorskip("shapely")
    path = tmp_path / "slide.tissue.geojson"
    scale = (32.0076, 7.3333)
    image = replace(target(noise), width=7.2 * noise.shape[1], height=32 * noise.shape[0])
    write_tissue(noise, scale, image, path)
    for feature in features(path):
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert polygon.is_valid
        assert polygon.area > 0
