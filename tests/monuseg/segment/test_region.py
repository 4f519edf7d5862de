"""Nuclei of drawn regions alone: which they are, and that they are those of the whole slide."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.inference.sliding_window import Forward
from monuseg.readers.slides import open_slide
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.writing import Written
from monuseg.segment.region import DrawnRegions, Inside, centroids
from monuseg.segment.slide import Choices, segment_slide
from tests.monuseg.readers.slides_made import aperio, leica
from tests.monuseg.segment.networks import NAMED, UM, contents, darkness, network, small_blocks

pytest.importorskip("openslide", reason="OpenSlide is not installed")

HEIGHT, WIDTH = 600, 720  # nine blocks
ALL = Choices(formats=("csv", "geojson", "labels", "tissue"), tissue="none")

Ring = list[list[float]]


def box(top: float, bottom: float, left: float, right: float) -> Ring:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def polygon(*rings: Ring) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def multipolygon(*polygons: list[Ring]) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": list(polygons)}


def feature(geometry: object) -> dict[str, Any]:
    properties = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [1, 2]}}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def regions(tmp_path: Path, content: object) -> DrawnRegions:
    return DrawnRegions.read(written(tmp_path / "r.geojson", content), "--region")


def enclosed(tmp_path: Path, content: object, *points: tuple[float, float]) -> list[bool]:
    return regions(tmp_path, content).enclose(np.array(points)).tolist()


SQUARE = box(10, 20, 30, 50)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature(polygon(SQUARE))]},
        [feature(polygon(SQUARE))],
        feature(polygon(SQUARE)),
        polygon(SQUARE),
        multipolygon([SQUARE]),
        polygon(SQUARE[:-1]),  # not closed
        polygon(SQUARE[::-1]),  # the other way round
        polygon([[*place, 0] for place in SQUARE]),  # with a third coordinate
    ],
)
def test_every_form_that_qupath_writes_is_read(content: object, tmp_path: Path) -> None:
    points = [(40, 15), (29, 15), (51, 15), (40, 9), (40, 21)]
    assert enclosed(tmp_path, content, *points) == [True, False, False, False, False]


def test_holes_are_outside_and_several_regions_are_one(tmp_path: Path) -> None:
    ring, hole, island = box(0, 100, 0, 100), box(20, 80, 20, 80), box(40, 60, 40, 60)
    points = [(10.0, 10.0), (30.0, 30.0), (50.0, 50.0)]
    assert enclosed(tmp_path, polygon(ring, hole), *points) == [True, False, False]
    several = [feature(polygon(ring, hole)), feature(polygon(island))]
    assert enclosed(tmp_path, several, *points) == [True, False, True]
    # Where two overlap, it is inside all the same.
    overlapping = [polygon(box(0, 60, 0, 60)), polygon(box(20, 90, 20, 90))]
    assert enclosed(tmp_path, overlapping, *points) == [True, True, True]
    many = multipolygon(*[[box(20 * n, 20 * n + 10, 0, 10)] for n in range(40)])
    places = [(5.0, 20.0 * n + 5) for n in range(40)]
    assert enclosed(tmp_path, many, *places) == [True] * 40


def test_a_grid_has_every_cell_that_a_region_touches(tmp_path: Path) -> None:
    generator, scale, shape = np.random.default_rng(0), 3.7, (30, 40)
    points = np.stack(np.meshgrid(np.arange(0.1, 147, 0.3), np.arange(0.1, 110, 0.3)), axis=-1)
    points = points.reshape(-1, 2)
    for _ in range(4):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 12))
        star = np.stack([np.cos(angles), np.sin(angles)]) * generator.uniform(30, 90, 12)
        ring = star.T + np.array((90, 60))  # some of it beyond the edges
        content = polygon(ring.tolist(), box(50, 70, 80, 100.5), [[-9e6, -9e6], [9, 9e6], [9, 9e5]])
        drawn = regions(tmp_path, content)
        expected = np.zeros(shape, bool)
        x, y = (points[drawn.enclose(points)] // scale).astype(int).T
        expected[y, x] = True
        found = drawn.grid(shape, scale)
        assert found[expected].all()
        near = cv2.dilate(expected.astype(np.uint8), np.ones((3, 3))) > 0
        assert not found[~near].any()


def test_of_regions_that_share_an_edge_one_has_a_point_on_it(tmp_path: Path) -> None:
    corners = np.array([[0, 0], [300, 17], [411, 300], [33, 370]], float)
    middle = np.array([151.3, 149.7])
    triangles = [polygon([*corners[[n, (n + 1) % 4]].tolist(), middle.tolist()]) for n in range(4)]
    shares = np.linspace(0.01, 0.99, 99)[:, np.newaxis]
    on_edges = np.concatenate([corner * shares + middle * (1 - shares) for corner in corners])
    grid = np.stack(np.meshgrid(np.arange(45.0, 300), np.arange(30.0, 300)), axis=-1)
    inner = grid.reshape(-1, 2)
    inner = inner[regions(tmp_path, polygon(corners.tolist())).enclose(inner)]
    points = np.concatenate([on_edges, inner, [middle]])
    held = sum(regions(tmp_path, one).enclose(points).astype(int) for one in triangles)
    assert len(inner) > 10_000
    assert (held == 1).all()


def test_a_region_of_very_many_vertices_on_a_large_slide(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 5001)[:-1]
    circle = 190_000 + 5000 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = 190_000 + np.random.default_rng(0).uniform(-6000, 6000, (5000, 2))
    distance = np.hypot(*(points - 190_000).T)
    found = np.array(enclosed(tmp_path, polygon(circle.tolist()), *points.tolist()))
    clear = abs(distance - 5000) > 0.01
    assert (found == (distance < 5000))[clear].all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"--region .*r\.geojson: not a readable file; correct the path"),
        ("{", r"r\.geojson: malformed JSON"),
        ("PK\x03\x04", r"--region .*r\.geojson: compressed; unpack it"),
        ({"shapes": []}, r"r\.geojson: JSON of LabelMe, not GeoJSON"),
        ([], r"--region .*r\.geojson: no region in it; draw one and export it again"),
        ({"type": "FeatureCollection", "features": []}, "no region in it"),
        ({"type": "FeatureCollection"}, "no region in it"),
        ([feature({"type": "Point", "coordinates": [1, 2]})], "region 1: 'Point', which encloses"),
        (
            [feature(polygon(SQUARE)), feature({"type": "LineString", "coordinates": SQUARE})],
            "region 2: 'LineString', which encloses nothing; draw polygons alone",
        ),
        ({"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}, "'GeometryCollection'"),
        (feature(None), "region 1: no geometry"),
        ([feature(polygon(SQUARE)), 5], "region 2: no geometry"),
        (feature({"type": "Polygon"}), "region 1: coordinates are missing"),
        (feature(polygon()), "region 1: a polygon without an area"),
        (feature(multipolygon([])), "region 1: a polygon without an area"),
        (polygon([[1, 1], [2, 2]]), "region 1: a polygon without an area; draw or remove it"),
        (polygon([[5, 5]] * 4), "a polygon without an area"),
        (polygon([]), "region 1: a ring is no list of pairs"),
        (polygon([[0, 0], [9, 0], [9, "x"]]), "a ring is no list of pairs of finite numbers"),
        (polygon([[0, 0], [9, 0], [9, float("nan")]]), "a ring is no list of pairs of finite"),
        (polygon([[0, 0], [9, 0], [9, float("inf")]]), "a ring is no list of pairs of finite"),
        (polygon([[0, 0], [9, 0], [1e9, 9]]), "a ring is no list of pairs of finite numbers below"),
        (polygon([[0], [9], [9]]), "a ring is no list of pairs"),
        (polygon([[0, 0], [9, 0], [9]]), "a ring is no list of pairs"),
    ],
)
def test_what_is_no_region_is_one_line(content: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "r.geojson"
    if content is not None:
        written(file, content)
    with pytest.raises(PipelineError, match=said) as error:
        DrawnRegions.read(file, "--region")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_file_that_is_no_drawing_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monuseg.segment.region.BYTES_MAX", 20)
    with pytest.raises(PipelineError, match="MB, which no drawing has"):
        regions(tmp_path, polygon(SQUARE))


def test_centroids_are_the_tables_but_for_half_a_pixel() -> None:
    masks = [np.ones((2, 3), bool), np.array([[True, True], [False, True]])]
    objects = Objects(np.array([[10, 20, 12, 23], [0, 0, 2, 2]]), masks, *np.ones((2, 2), "f4"))
    expected = [[21.5, 11], [(0.5 + 1.5 + 1.5) / 3, (0.5 + 0.5 + 1.5) / 3]]
    np.testing.assert_allclose(centroids(objects), expected)
    assert centroids(Objects.none()).shape == (0, 2)


def test_nuclei_inside_can_be_read_again(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 40, 4, 44], [0, 4, 4, 8]])
    values = np.arange(3, dtype=np.float32)
    block = Objects(boxes, [np.ones((4, 4), bool)] * 3, values, values + 10)
    inside = Inside([block, Objects.none()], regions(tmp_path, polygon(box(0, 9, 0, 9))))
    for _ in range(2):
        first, second = inside
        assert first.boxes.tolist() == boxes[[0, 2]].tolist()
        assert (first.probability.tolist(), first.haematoxylin.tolist()) == ([0, 2], [10, 12])
        assert (len(first.masks), len(second)) == (2, 0)


# === A slide, with a network whose answer is known ===


def crowded() -> np.ndarray:
    """Dark discs, many of which touch, all over pale noise."""
    generator = np.random.default_rng(0)
    image = generator.integers(231, 235, (HEIGHT, WIDTH, 3), np.uint8)
    rows, columns = np.indices((HEIGHT, WIDTH))
    for y, x in generator.uniform((20, 20), (HEIGHT - 20, WIDTH - 20), (120, 2)):
        image[np.hypot(rows - y, columns - x) < generator.uniform(6, 16)] = (60, 30, 120)
    return image


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return aperio(tmp_path_factory.mktemp("slides") / "a.svs", crowded())


def run(path: Path, output: Path, choices: Choices = ALL, forward: Forward = darkness) -> Written:
    crop, scene = choices.crop_to_bounds, choices.scene
    with open_slide(path, crop_to_bounds=crop, scene=scene) as opened:
        return segment_slide(opened, UM, NAMED, network(forward), choices, output / path.stem)


def nuclei(output: Path, name: str = "a") -> dict[str, str]:
    """The geometry of each nucleus, by its UUID."""
    found = json.loads((output / f"{name}.nuclei.geojson").read_text())["features"]
    return {one["id"]: json.dumps(one["geometry"]) for one in found}


def table(output: Path, name: str = "a") -> pd.DataFrame:
    return pd.read_csv(output / f"{name}.nuclei.csv")


def test_nuclei_are_those_of_the_whole_slide_whose_centroid_is_inside(
    slide: Path, tmp_path: Path
) -> None:
    whole = run(slide, tmp_path / "whole")
    # Across the corner of four blocks, and a part of one; edges go through nuclei.
    drawn = [polygon(box(170, 350, 190, 400), box(230, 260, 250, 300)), polygon(box(5, 80, 9, 99))]
    region = written(tmp_path / "r.geojson", drawn)
    computed = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        computed.append(len(pixels))
        return darkness(pixels)

    # The margin of 64 um is 256 pixels: it would reach all over so small a slide.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monuseg.segment.slide.AROUND_REGION", 15.0)
        some = run(slide, tmp_path / "some", replace(ALL, region=str(region)), counted)
    every = table(tmp_path / "whole")
    inside = DrawnRegions.read(region, "").enclose(every[["x", "y"]].to_numpy() + 0.5)
    assert 5 < inside.sum() == some.nuclei < whole.nuclei / 2
    expected, found = every[inside], table(tmp_path / "some")
    assert found["label"].tolist() == list(range(1, some.nuclei + 1))
    pd.testing.assert_frame_equal(
        found.drop(columns="label"), expected.drop(columns="label").reset_index(drop=True)
    )
    everywhere = nuclei(tmp_path / "whole")
    assert nuclei(tmp_path / "some").items() <= everywhere.items()
    # Some of them reach out of the region, whole.
    across = expected[(expected["x"] > 380) & (expected["x"] < 400)]
    assert len(across)
    windows = len(computed)
    computed.clear()
    run(slide, tmp_path / "again", ALL, counted)
    assert windows < 0.7 * len(computed)


def test_the_stains_are_the_whole_slides(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("monuseg.segment.slide.AS_IT_IS", "not this")
    monkeypatch.setattr("monuseg.segment.slide.SAMPLES", 2)
    monkeypatch.setattr("monuseg.segment.slide.SAMPLE_SIDE", 64)

    def fitted(pixels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        seen.append(pixels.tobytes())
        return lambda image: image

    monkeypatch.setattr("monuseg.segment.slide.fitted", fitted)
    region = written(tmp_path / "r.geojson", polygon(box(0, 90, 0, 90)))
    run(slide, tmp_path / "whole", Choices(("csv",)))
    run(slide, tmp_path / "some", Choices(("csv",), region=str(region)))
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_a_region_and_tissue_both_count(tmp_path: Path) -> None:
    image = np.full((HEIGHT, WIDTH * 2, 3), 240, np.uint8)
    image[:, :WIDTH] = crowded()
    path = aperio(tmp_path / "a.svs", image)
    left = written(tmp_path / "left.geojson", polygon(box(0, HEIGHT, 0, WIDTH / 2)))
    right = written(tmp_path / "right.geojson", polygon(box(0, HEIGHT, 1200, 1400)))
    auto = replace(ALL, tissue="auto")
    both = run(path, tmp_path / "both", replace(auto, region=str(left)))
    assert both.nuclei > 0
    [tissue] = json.loads((tmp_path / "both/a.tissue.geojson").read_text())["features"]
    assert np.max(tissue["geometry"]["coordinates"][0], axis=0)[0] <= WIDTH / 2 + 2
    glass = replace(auto, region=str(right))
    none = run(path, tmp_path / "none", glass)
    assert none.nuclei == 0
    assert none.remarks == ["no tissue in the region; --tissue none searches all of it"]
    other = run(path, tmp_path / "file", replace(ALL, tissue=str(right), region=str(left)))
    assert other.nuclei == 0


def test_a_region_off_the_slide_is_refused_and_one_across_its_edge_is_not(
    slide: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "r.geojson", polygon(box(0, 9, WIDTH + 1, WIDTH + 9)))
    with pytest.raises(PipelineError, match=r"r\.geojson: no region on the slide; draw one there"):
        run(slide, tmp_path / "out", replace(ALL, region=str(file)))
    assert not (tmp_path / "out").exists()
    written(file, polygon(box(-1e6, 200, -1e6, 200)))
    some = run(slide, tmp_path / "out", replace(ALL, region=str(file)))
    run(slide, tmp_path / "whole")
    every = table(tmp_path / "whole")
    assert some.nuclei == ((every["x"] < 199.5) & (every["y"] < 199.5)).sum() > 0


def test_a_region_that_changed_is_done_again_and_one_that_did_not_stands(
    slide: Path, tmp_path: Path
) -> None:
    def refused(pixels: np.ndarray) -> np.ndarray:
        raise AssertionError("computed once more")

    file = written(tmp_path / "r.geojson", polygon(box(0, 300, 0, 300)))
    choices = replace(ALL, region=str(file))
    first = run(slide, tmp_path / "out", choices)
    assert not first.earlier
    before = contents(tmp_path / "out")
    file.rename(tmp_path / "other name.geojson")
    same = replace(ALL, region=str(tmp_path / "other name.geojson"))
    again = run(slide, tmp_path / "out", same, refused)
    assert again.earlier
    assert again == first
    assert contents(tmp_path / "out") == before
    written(file, polygon(box(0, 300, 0, 200)))
    for changed in (choices, ALL):
        with pytest.raises(AssertionError, match="computed once more"):
            run(slide, tmp_path / "out", changed, refused)
    fewer = run(slide, tmp_path / "out", choices)
    assert 0 < fewer.nuclei < first.nuclei
    # Nothing of another region stays beside what is written now.
    run(slide, tmp_path / "out", replace(ALL, formats=("csv",)))
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "a.nuclei.csv", "a.nuclei.json"
    ]  # fmt: skip


# === Where QuPath counts from ===


def two_areas(path: Path) -> Path:
    """A slide of two scanned areas, at (256, 512) and (800, 1200), on 2000 pixels of glass."""
    image = crowded()[:300, :400]
    return leica(path, [(256, 512, image), (800, 1200, image)], (2000, 2000))


@pytest.mark.parametrize("choice", [{"crop_to_bounds": False}, {"scene": 2}])
def test_geojson_of_other_choices_of_pixels_lies_where_qupath_shows_them(
    choice: dict[str, Any], tmp_path: Path
) -> None:
    path = two_areas(tmp_path / "a.scn")
    cropped = run(path, tmp_path / "cropped")
    assert cropped.remarks == []
    other = run(path, tmp_path / "other", replace(ALL, **choice))
    shown, moved = (set(nuclei(tmp_path / name).values()) for name in ("cropped", "other"))
    if "scene" in choice:
        x, y = 512 - 1200, 256 - 800
        assert 0 < len(moved) < len(shown)
    else:
        x, y = 512, 256
        assert len(moved) == len(shown) > 0
    assert moved <= shown
    [said] = other.remarks
    assert said.endswith(f"which is at x {x}, y {y} of these pixels")
    # Tables and label maps count from the image's own corner.
    tables = [table(tmp_path / name)[["x", "y"]].round(3) for name in ("cropped", "other")]
    places = [set(map(tuple, one.to_numpy().tolist())) for one in tables]
    assert {(round(a - x, 3), round(b - y, 3)) for a, b in places[1]} <= places[0]


@pytest.mark.parametrize("choice", [{"crop_to_bounds": False}, {"scene": 2}])
@pytest.mark.parametrize("option", ["region", "tissue"])
def test_drawings_are_read_where_qupath_shows_them(
    option: str, choice: dict[str, Any], tmp_path: Path
) -> None:
    path = two_areas(tmp_path / "a.scn")
    # In the second area, in pixels from the corner of the first.
    top, bottom, left, right = 820 - 256, 950 - 256, 1220 - 512, 1400 - 512
    file = str(written(tmp_path / "r.geojson", polygon(box(top, bottom, left, right))))
    by_region = run(path, tmp_path / "cropped", replace(ALL, region=file))
    run(path, tmp_path / "other", replace(ALL, **{option: file}, **choice))
    shown, moved = (set(nuclei(tmp_path / name).values()) for name in ("cropped", "other"))
    assert by_region.nuclei == len(shown) > 0
    # Blocks that a tissue's file touches are searched whole.
    assert moved == shown if option == "region" else moved > shown
    [one] = json.loads((tmp_path / "other/a.tissue.geojson").read_text())["features"]
    corners = np.array(one["geometry"]["coordinates"][0])
    assert abs(corners.min(axis=0) - (left, top)).max() <= 2
    assert abs(corners.max(axis=0) - (right, bottom)).max() <= 2
