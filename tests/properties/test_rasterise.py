"""What holds for every outline, beside its equality with poly2mask (tests/dataset)."""

from math import gcd

import numpy as np
import numpy.typing as npt
import pycocotools.mask
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from monuseg.readers.regions import Outline
from stages.masks.params import Rasterisation
from stages.masks.rasterise import SUBPIXELS, rasterise, region_pixels

# pycocotools 2.0.11 decodes into an array of NumPy 1's protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Mask = npt.NDArray[np.bool_]

rules = st.sampled_from(["official", "center"])
sides = st.integers(1, 33)
# On the grids of both rules and off them; within the image, beside it and far off.
coordinates = st.one_of(
    st.integers(-12, 45).map(float),
    st.integers(-30, 100).map(lambda n: n / 2.5),
    st.floats(-5, 38),
    st.floats(-3000, 3000),
)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=10).map(
    lambda vertices: np.array(vertices, np.float64)
)
# Exact in binary, and not below the first sub-pixel, where truncation is no floor.
eighths = st.integers(4, 240).map(lambda n: n / 8)
exact_polygons = st.lists(st.tuples(eighths, eighths), min_size=3, max_size=7).map(
    lambda vertices: np.array(vertices, np.float64)
)


def pixels(outline: Outline, height: int, width: int, rule: Rasterisation) -> Mask:
    rows, columns = region_pixels([outline], height, width, rule)
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


def oracle(outline: Outline, height: int, width: int) -> Mask:
    encoded = pycocotools.mask.frPyObjects([(outline - 0.5).ravel().tolist()], height, width)
    mask: Mask = pycocotools.mask.decode(encoded)[..., 0].astype(bool)
    return mask


@given(polygons, sides, sides)
def test_outlines_that_leave_the_image_far_equal_the_oracle(
    outline: Outline, height: int, width: int
) -> None:
    found = pixels(outline, height, width, "official")
    np.testing.assert_array_equal(found, oracle(outline, height, width))


@example(  # an edge through a pixel's centre, where the last bit decides
    outline=np.array([[5.2, 16], [29.2, 28.8], [28.4, 1.6], [26.8, 21.2], [30.4, 25.6]]),
    first=2,
    repeated=0,
    rule="center",
    side=30,
)
@given(polygons, st.integers(0, 9), st.integers(0, 9), rules, sides)
def test_first_vertex_direction_and_repetition_mean_nothing(
    outline: Outline, first: int, repeated: int, rule: Rasterisation, side: int
) -> None:
    expected = pixels(outline, side, side, rule)
    again = np.insert(outline, repeated % len(outline), outline[repeated % len(outline)], axis=0)
    for other in (np.roll(outline, first, axis=0), outline[::-1], again):
        np.testing.assert_array_equal(pixels(other, side, side, rule), expected)


@example(
    outline=np.array([[22, 4], [12.4, 21.6], [4, 29.2], [19.2, 6.4], [27.6, 17.6]]),
    first=0,
    last=2,
    rule="center",
    side=30,
)
@given(polygons, st.integers(0, 9), st.integers(0, 9), rules, sides)
def test_a_cut_from_vertex_to_vertex_shares_the_pixels_out(
    outline: Outline, first: int, last: int, rule: Rasterisation, side: int
) -> None:
    # Two nuclei that touch along a line: no pixel is in both, and none is lost between them.
    # By the even-odd rule this holds for any outline, self-crossing or not.
    first, last = sorted((first % len(outline), last % len(outline)))
    one = outline[first : last + 1]
    other = np.concatenate([outline[: first + 1], outline[last:]])
    parts = pixels(one, side, side, rule) ^ pixels(other, side, side, rule)
    np.testing.assert_array_equal(parts, pixels(outline, side, side, rule))


@given(polygons, sides, sides, st.integers(0, 20), st.integers(0, 20), rules)
def test_the_images_size_only_cuts_off(
    outline: Outline, height: int, width: int, below: int, beside: int, rule: Rasterisation
) -> None:
    larger = pixels(outline, height + below, width + beside, rule)
    np.testing.assert_array_equal(pixels(outline, height, width, rule), larger[:height, :width])


@given(exact_polygons, st.integers(0, 15), st.integers(0, 15), rules)
def test_an_outline_moved_by_whole_pixels_moves_its_pixels(
    outline: Outline, down: int, right: int, rule: Rasterisation
) -> None:
    assume(rule == "center" or not meets_a_tie(outline))
    expected = np.zeros((46, 46), bool)
    expected[down : down + 31, right : right + 31] = pixels(outline, 31, 31, rule)
    np.testing.assert_array_equal(pixels(outline + np.array([right, down]), 46, 46, rule), expected)


def meets_a_tie(outline: Outline) -> bool:
    """Whether an edge runs midway between two sub-pixels, where the last bit decides (in C too)."""
    grid = np.floor(SUBPIXELS * (outline - 0.5) + 0.5).astype(int)
    for dx, dy in np.abs(grid - np.roll(grid, -1, axis=0)).tolist():
        steps, rise = max(dx, dy), min(dx, dy)
        if steps and steps // gcd(rise, steps) % 2 == 0:
            return True
    return False


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(polygons, max_size=9), sides, sides, rules)
def test_the_first_region_keeps_a_pixel_and_numbers_have_no_gap(
    outlines: list[Outline], height: int, width: int, rule: Rasterisation
) -> None:
    owner = np.full((height, width), -1)
    for index, outline in enumerate(outlines):
        owner[(owner < 0) & pixels(outline, height, width, rule)] = index
    labels, without_pixels = rasterise([[one] for one in outlines], height, width, rule)
    kept = [index for index in range(len(outlines)) if (owner == index).any()]
    assert without_pixels == sorted(set(range(len(outlines))) - set(kept))
    expected = np.zeros((height, width), np.uint16)
    for number, index in enumerate(kept, 1):
        expected[owner == index] = number
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint16


@given(st.lists(polygons, min_size=1, max_size=4), sides, sides, rules)
def test_rings_together_are_the_pixels_that_an_odd_number_of_them_have(
    rings: list[Outline], height: int, width: int, rule: Rasterisation
) -> None:
    odd = np.zeros((height, width), bool)
    for ring in rings:
        odd ^= pixels(ring, height, width, rule)
    rows, columns = region_pixels(rings, height, width, rule)
    found = np.zeros((height, width), bool)
    found[rows, columns] = True
    np.testing.assert_array_equal(found, odd)


@given(st.lists(polygons, min_size=2, max_size=6), sides, sides, rules)
def test_a_cut_takes_its_pixels_and_no_others(
    outlines: list[Outline], height: int, width: int, rule: Rasterisation
) -> None:
    first, *cuts = outlines
    expected = pixels(first, height, width, rule)
    for cut in cuts:
        expected &= ~pixels(cut, height, width, rule)
    labels, _ = rasterise([[first]], height, width, rule, {0: [[cut] for cut in cuts]})
    np.testing.assert_array_equal(labels > 0, expected)
