"""Tests of `stages.masks.rasterise`; pycocotools has poly2mask's algorithm and is the oracle."""

import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycocotools.mask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels
from monuseg.formats.manifest import APERIO_XML
from monuseg.readers.annotations import read_regions
from monuseg.readers.regions import Outline
from stages.masks import rasterise as module
from stages.masks.params import Rasterisation
from stages.masks.rasterise import (
    among,
    edge_lengths,
    places,
    rasterise,
    region_pixels,
    require_bounded,
)

# pycocotools 2.0.11 decodes into an array of NumPy 1's protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Mask = npt.NDArray[np.bool_]

SQUARE = [(2, 2), (5, 2), (5, 5), (2, 5)]


def outline(vertices: list[tuple[float, float]]) -> Outline:
    return np.array(vertices, np.float64).reshape(-1, 2)


def pixels(shape: Outline, height: int, width: int, rasterisation: Rasterisation) -> Mask:
    rows, columns = region_pixels([shape], height, width, rasterisation)
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    assert mask.sum() == len(rows), "a pixel is listed twice"
    return mask


def oracle(shape: Outline, height: int, width: int) -> Mask:
    # A list of 2 vertices would be taken for a box.
    assert len(shape) > 2
    encoded = pycocotools.mask.frPyObjects([(shape - 0.5).ravel().tolist()], height, width)
    mask: Mask = pycocotools.mask.decode(encoded)[..., 0].astype(bool)
    return mask


def oracle_labels(outlines: list[Outline], height: int, width: int) -> Labels:
    """Every region painted in full, the last one first, so that the first one stays."""
    masks = [oracle(o, height, width) if len(o) > 2 else None for o in outlines]
    painted = np.zeros((height, width), np.int64)
    for number in reversed(range(len(masks))):
        mask = masks[number]
        if mask is not None:
            painted[mask] = number + 1
    # Numbers without gaps, in the order of the regions.
    _, labels = np.unique(np.append(painted.ravel(), 0), return_inverse=True)
    return labels[:-1].reshape(height, width).astype(np.uint16)


# Whole numbers and fifths fall on the algorithm's ties; below 0 and beyond the border are met in
# the real files, tens of pixels beyond are not.
coordinates = st.one_of(
    st.integers(-12, 45).map(float),
    st.integers(-60, 200).map(lambda n: n / 5),
    st.integers(-120, 400).map(lambda n: n / 10),
    st.floats(-60, 120, allow_nan=False, width=32),
    st.floats(-5, 35, allow_nan=False),
)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12)
sides = st.integers(1, 33)


@settings(max_examples=300, deadline=None)
@example(vertices=SQUARE, height=8, width=8)
@example(vertices=SQUARE[::-1], height=8, width=8)
@example(vertices=[(3, 3), (3, 3), (9, 3), (9, 3), (3, 9)], height=12, width=12)  # repeated
@example(vertices=[(1, 1), (9, 9), (9, 1), (1, 9)], height=12, width=12)  # a bow tie
@example(vertices=[(0, 0), (10, 0), (10, 10), (0, 10)], height=10, width=10)
@example(vertices=[(-5, -5), (40, -5), (40, 40), (-5, 40)], height=7, width=9)  # all of it
@example(vertices=[(-9.5, 3.2), (-2.5, 1), (-4, 8)], height=7, width=9)  # outside
@example(vertices=[(4, 4), (4, 4), (4, 4)], height=7, width=9)  # a point
@example(vertices=[(1, 1), (8, 8), (1, 1)], height=9, width=9)  # a line, there and back
@example(vertices=[(999.6, 0.4), (1000.3, 20.7), (-0.3, 1000.2)], height=33, width=33)
@given(vertices=polygons, height=sides, width=sides)
def test_official_equals_the_oracle_in_every_pixel(
    vertices: list[tuple[float, float]], height: int, width: int
) -> None:
    shape = outline(vertices)
    found = pixels(shape, height, width, "official")
    assert np.array_equal(found, oracle(shape, height, width))


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(polygons, max_size=8),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
)
def test_a_whole_map_equals_the_oracle_in_every_pixel(
    shapes: list[list[tuple[float, float]]], height: int, width: int
) -> None:
    outlines = [outline(vertices) for vertices in shapes]
    labels, without_pixels = rasterise([[one] for one in outlines], height, width, "official")
    assert np.array_equal(labels, oracle_labels(outlines, height, width))
    assert labels.max(initial=0) == len(outlines) - len(without_pixels)


def test_a_square_of_whole_corners_2_to_5_is_3_by_3() -> None:
    expected = np.zeros((8, 8), bool)
    expected[2:5, 2:5] = True
    # 1-based pixel centres: the pixels 3..5 of MATLAB, of which poly2mask leaves out the left and
    # upper edge. The direction of the outline does not matter.
    for shape in (outline(SQUARE), outline(SQUARE[::-1]), outline(SQUARE[2:] + SQUARE[:2])):
        assert np.array_equal(pixels(shape, 8, 8, "official"), expected)
        assert np.array_equal(pixels(shape, 8, 8, "center"), expected)


def test_the_two_rasterisations_differ_by_half_a_pixel() -> None:
    # Half a pixel further than the square: centred on pixel edges by one rule, centres by the other
    shape = outline([(2.4, 2.4), (4.6, 2.4), (4.6, 4.6), (2.4, 4.6)])
    official = np.argwhere(pixels(shape, 8, 8, "official"))
    center = np.argwhere(pixels(shape, 8, 8, "center"))
    assert official.tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert center.tolist() == [
        [2, 2],
        [2, 3],
        [2, 4],
        [3, 2],
        [3, 3],
        [3, 4],
        [4, 2],
        [4, 3],
        [4, 4],
    ]


def inside_by_even_odd(shape: Outline, x: Fraction, y: Fraction) -> bool | None:
    """Whether a ray from (x, y) to the right crosses the outline an odd number of times.

    The module walks down columns; this goes along rows, in exact fractions. None on the outline.
    """
    vertices = [(Fraction(float(a)), Fraction(float(b))) for a, b in shape]
    odd = False
    for (x0, y0), (x1, y1) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        between = min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1)
        if cross == 0 and between:
            return None
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x:
            odd = not odd
    return odd


quarters = st.integers(-20, 80).map(lambda n: n / 4)  # exact in binary, and on centres


@settings(max_examples=150, deadline=None)
@given(
    vertices=st.lists(st.tuples(quarters, quarters), min_size=1, max_size=9),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
)
def test_center_takes_the_pixels_whose_centre_is_inside(
    vertices: list[tuple[float, float]], height: int, width: int
) -> None:
    shape = outline(vertices)
    found = pixels(shape, height, width, "center")
    for i in range(height):
        for j in range(width):
            expected = inside_by_even_odd(shape, Fraction(2 * j + 1, 2), Fraction(2 * i + 1, 2))
            assert expected is None or found[i, j] == expected, (i, j)


@pytest.mark.parametrize("rasterisation", ["official", "center"])
def test_neighbours_along_a_common_edge_share_no_pixel_and_leave_none(
    rasterisation: Rasterisation,
) -> None:
    # Edges through pixel centres of either rule, upright and slanted.
    for top, bottom in (((5.5, 0.5), (5.5, 10.5)), ((2.5, 0.5), (8.5, 10.5)), ((5, 0), (5, 10))):
        left = [(1, 0.5), top, bottom, (1, 10.5)]
        right = [top, (14, 0.5), (14, 10.5), bottom]
        together = outline([*left[:2], *right[1:], left[3]])
        a, b = (pixels(shape, 16, 24, rasterisation) for shape in map(outline, (left, right)))
        assert not (a & b).any()
        assert np.array_equal(a | b, pixels(together, 16, 24, rasterisation))


@pytest.mark.parametrize("rasterisation", ["official", "center"])
@pytest.mark.parametrize("vertices", [[], [(3, 3)], [(3, 3), (7, 5)], [(-9, 3), (-2, 9), (-5, 1)]])
def test_what_has_no_area_in_the_image_has_no_pixel(
    vertices: list[tuple[float, float]], rasterisation: Rasterisation
) -> None:
    assert not pixels(outline(vertices), 9, 9, rasterisation).any()


def test_the_first_region_has_the_pixels_where_two_overlap() -> None:
    first, second = outline(SQUARE), outline([(4, 4), (8, 4), (8, 8), (4, 8)])
    labels, without_pixels = rasterise([[first], [second]], 9, 9, "official")
    assert labels.dtype == np.uint16
    assert (labels[2:5, 2:5] == 1).all()
    assert labels[4, 5] == labels[5, 4] == 2
    assert (np.count_nonzero(labels == 2), without_pixels) == (15, [])


def test_regions_without_a_pixel_are_listed_and_leave_no_gap() -> None:
    square = outline(SQUARE)
    far = outline([(20, 20), (25, 20), (25, 25)])
    other = outline([(0, 6), (3, 6), (3, 9), (0, 9)])
    line = outline([(1, 1), (5, 5)])
    shapes = [line, square, square, far, other]
    labels, without_pixels = rasterise([[shape] for shape in shapes], 9, 9, "official")
    assert without_pixels == [0, 2, 3]
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[3, 3] == 1
    assert labels[7, 1] == 2


def test_no_region_gives_an_empty_map() -> None:
    labels, without_pixels = rasterise([], 4, 6, "official")
    assert (labels.shape, labels.max(), without_pixels) == ((4, 6), 0, [])


def test_more_nuclei_than_16_bits_number_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.LABELS_MAX == 65_535
    monkeypatch.setattr(module, "LABELS_MAX", 3)
    row = [[outline([(x, 1), (x + 1, 1), (x + 1, 2), (x, 2)])] for x in range(4)]
    # What gets no pixel is not counted.
    labels, _ = rasterise([*row[:3], row[0]], 3, 6, "official")
    assert labels.max() == 3
    with pytest.raises(PipelineError, match="more than 3 nuclei in one image; cut"):
        rasterise(row, 3, 6, "official")


def test_outlines_as_long_as_the_limit_are_taken_and_longer_ones_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OUTLINES_MAX", 12)
    require_bounded([[outline(SQUARE)], [outline([])]], 9, 9)
    for regions in ([[outline(SQUARE)], [outline([(0, 0), (0.5, 0)])]], [[outline(SQUARE)] * 2]):
        with pytest.raises(PipelineError, match="more than 12 pixels in all"):
            require_bounded(regions, 9, 9)


@pytest.mark.parametrize("rasterisation", ["official", "center"])
def test_what_an_odd_number_of_rings_enclose_is_inside(rasterisation: Rasterisation) -> None:
    rings = [outline([(a, a), (b, a), (b, b), (a, b)]) for a, b in ((2, 14), (4, 12), (6, 10))]
    expected = np.zeros((16, 16), bool)
    expected[2:14, 2:14] = True
    expected[4:12, 4:12] = False
    expected[6:10, 6:10] = True  # a part in a hole
    rows, columns = region_pixels(rings, 16, 16, rasterisation)
    found = np.zeros((16, 16), bool)
    found[rows, columns] = True
    assert np.array_equal(found, expected)


def test_a_cut_leaves_its_pixels_to_later_regions() -> None:
    first = outline([(0, 0), (9, 0), (9, 9), (0, 9)])
    hole = outline([(3, 3), (6, 3), (6, 6), (3, 6)])
    corner = outline([(8, 8), (12, 8), (12, 12), (8, 12)])  # takes one more pixel
    labels, without = rasterise([[first], [hole]], 9, 9, "center", {0: [[hole], [corner]]})
    expected = np.ones((9, 9), np.uint16)
    expected[3:6, 3:6] = 2
    expected[8, 8] = 0
    assert np.array_equal(labels, expected)
    assert without == []


def test_places_ascend_down_the_columns() -> None:
    assert places([outline(SQUARE)], 10, 8, "center").tolist() == [
        *(22, 23, 24),
        *(32, 33, 34),
        *(42, 43, 44),
    ]
    some, others = np.array([1, 4, 9]), np.array([0, 4, 5])
    assert among(some, others).tolist() == [False, True, False]
    assert among(some, others[:0]).tolist() == [False] * 3


def test_an_edge_is_as_long_as_it_is_along_its_longer_axis() -> None:
    assert edge_lengths(outline([(0, 0), (3, 1), (3, 6)])).tolist() == [3, 5, 6]
    assert edge_lengths(outline([])).tolist() == []


@pytest.mark.parametrize("vertices", [[(0, 0)] * 100, [(0, 0), (4, 0)] * 30])
def test_no_more_than_a_block_of_an_outline_is_traced_at_once(
    monkeypatch: pytest.MonkeyPatch, vertices: list[tuple[float, float]]
) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    shape = outline(vertices)
    edges = [len(starts) for starts, _ in module._blocks_of_edges(shape)]
    assert sum(edges) == len(shape)
    # A repeated vertex counts as a pixel too, and a block may end within its last edge.
    longest = max(edge_lengths(shape)) + 1
    assert max(edges) * longest <= module.BLOCK + longest


# Many vertices between pixel centres, two-vertex regions, one without a pixel, a test image.
REAL = {
    "TCGA-AR-A1AK": "MoNuSeg 2018 Training Data.zip",
    "TCGA-50-5931": "MoNuSeg 2018 Training Data.zip",
    "TCGA-E2-A1B5": "MoNuSeg 2018 Training Data.zip",
    "TCGA-HT-8564": "MoNuSegTestData.zip",
}


@pytest.mark.real
@pytest.mark.parametrize("patient", REAL)
def test_real_images_equal_the_oracle_in_every_pixel(
    archives: Path, tmp_path: Path, patient: str
) -> None:
    with zipfile.ZipFile(archives / REAL[patient]) as file:
        (name,) = (
            name
            for name in file.namelist()
            if name.endswith(".xml") and name.rpartition("/")[2].startswith(patient)
        )
        annotation = tmp_path / f"{patient}.xml"
        annotation.write_bytes(file.read(name))
    outlines = [region.outline for region in read_regions(annotation, APERIO_XML)]
    labels, _ = rasterise([[one] for one in outlines], 1000, 1000, "official")
    assert labels.max() > 100
    assert np.array_equal(labels, oracle_labels(outlines, 1000, 1000))
