"""Outlines of masks along the edges of pixels."""

import numpy as np
import pytest
from hypothesis import example, given

from monuseg.segment.outputs.polygons import Ring, polygons_of
from stages.masks.rasterise import region_pixels
from tests.monuseg.segment.outputs.made import labels_of, noise, objects_of


def traced(mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> list[Ring]:
    polygons = polygons_of([mask], np.array([corner]))
    assert polygons.repaired == 0
    return polygons.rings[0]


def area(ring: Ring) -> float:
    (x, y), (next_x, next_y) = ring[:-1].T, ring[1:].T
    return float((x * next_y - next_x * y).sum() / 2)


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize("side", [1, 2, 22])
def test_a_square_has_four_corners_around_its_pixels(side: int) -> None:
    [ring] = traced(np.ones((side, side), bool), corner=(7, 5))
    assert area(ring) == side**2
    assert set(map(tuple, ring.tolist())) == {(x, y) for x in (7, 7 + side) for y in (5, 5 + side)}
    assert len(ring) == 5
    assert ring[0].tolist() == ring[-1].tolist()


def test_a_hole_is_a_ring_of_its_own_that_runs_the_other_way() -> None:
    outer, hole = traced(mask_of("####", "#..#", "####"))
    assert (area(outer), area(hole)) == (12, -2)
    assert (hole.min(axis=0).tolist(), hole.max(axis=0).tolist()) == ([1, 1], [3, 2])


def test_a_hole_that_touches_the_outside_at_a_corner_stays_a_hole() -> None:
    # An outline that ran into it would meet that corner twice, which QuPath refuses.
    outer, hole = traced(mask_of("###.", "#.##", "####"))
    assert (area(outer), area(hole)) == (11, -1)
    assert [2, 1] not in outer.tolist()
    assert [3, 1] in outer.tolist()
    touching = traced(mask_of(".###", "#.##", "####"))
    assert [area(ring) for ring in touching] == [11, -1]
    assert [1, 1] in touching[0].tolist()
    assert [1, 1] in touching[1].tolist()


@pytest.mark.parametrize("rows", [("##.", "##.", "..#"), ("##..#",), ("#.", ".#")])
def test_of_several_parts_the_largest_stays(rows: tuple[str, ...]) -> None:
    mask = mask_of(*rows)
    polygons = polygons_of([np.ones((2, 3), bool), mask], np.array([[9, 9], [0, 0]]))
    assert polygons.repaired == 1
    [whole], [part] = polygons.rings
    assert area(whole) == 6
    assert area(part) == labels_largest(mask)


def labels_largest(mask: np.ndarray) -> int:
    return int(np.bincount(labels_of(mask)[mask]).max())


def test_nothing_has_no_outline() -> None:
    polygons = polygons_of([np.zeros((3, 4), bool), np.ones((1, 1), bool)], np.zeros((2, 2), int))
    assert [len(rings) for rings in polygons.rings] == [0, 1]
    assert polygons.repaired == 0
    assert polygons_of([], np.zeros((0, 2), int)).rings == []


@example(mask_of("###.", "#.##", "##.#", ".###"))
@given(noise)
def test_polygons_are_valid_and_cover_their_masks_to_the_pixel(noise: np.ndarray) -> None:
    objects = objects_of(labels_of(noise))
    polygons = polygons_of(objects.masks, objects.boxes[:, 1::-1])
    assert polygons.repaired == 0
    for rings, mask, (top, left, bottom, right) in zip(
        polygons.rings, objects.masks, objects.boxes.tolist(), strict=True
    ):
        assert sum(map(area, rings)) == mask.sum()
        assert [area(ring) > 0 for ring in rings] == [True] + [False] * (len(rings) - 1)
        assert rings[0].min(axis=0).tolist() == [left, top]
        assert rings[0].max(axis=0).tolist() == [right, bottom]
        for ring in rings:
            # Simple, and no vertex that could go.
            assert len(np.unique(ring[:-1], axis=0)) == len(ring) - 1 >= 4
            turns = np.diff(np.vstack([ring, ring[1]]), axis=0) != 0
            assert (turns[:-1] != turns[1:]).all()
        pixels = np.zeros(noise.shape, bool)
        pixels[region_pixels(rings, *noise.shape, "center")] = True
        np.testing.assert_array_equal(pixels[top:bottom, left:right], mask)
        assert pixels.sum() == mask.sum()


@given(noise)
def test_shapely_finds_polygons_valid(noise: np.ndarray) -> None:
    shapely = pytest.importorskip("shapely")
    objects = objects_of(labels_of(noise))
    for rings, mask in zip(
        polygons_of(objects.masks, objects.boxes[:, 1::-1]).rings, objects.masks, strict=True
    ):
        polygon = shapely.Polygon(rings[0], rings[1:])
        assert polygon.is_valid
        assert polygon.area == mask.sum()
        assert polygon.exterior.is_ccw
        # QuPath 0.6 brings all it reads to this grid, which must not take it apart.
        reduced = shapely.set_precision(polygon, 0.01)
        assert reduced.geom_type == "Polygon"
        assert reduced.equals(polygon)
