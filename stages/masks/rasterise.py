"""From outlines to pixels, by the challenge's rasterisation or by pixel centres.

One pixel of difference in convention is worth 0.06 Dice on this data set, so the rules are exact:

- `official` is MATLAB's `poly2mask`, which the challenge's own script applies to the vertices as
  the XML has them. Its pixel centres are 1-based, so vertices move by half a pixel; they are then
  rounded to a grid of fifths, the edges are traced on it, and a pixel is inside if its central
  fifth is. pycocotools (`rleFrPoly`) has the same algorithm and is the oracle of the tests.
- `center` takes a pixel (row i, column j) whose centre (j + 0.5, i + 0.5) lies inside, by the
  even-odd rule, with no shift of the vertices.

The challenge has Aperio's XML, so the choice between them is one for that format. The others count
from pixel edges, as QuPath's tracing of a mask does, and always go by `center`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX, Labels
from monuseg.readers.regions import Outline
from stages.masks.params import Rasterisation

Rings = Sequence[Outline]
Integers = npt.NDArray[np.int64]

SUBPIXELS = 5  # of poly2mask, along each axis
MATLAB_SHIFT = 0.5  # from 1-based pixel centres to 0-based pixel edges

BLOCK = 200_000  # pixels of outline that are traced at once
# Length of all outlines of an image, in pixels: a thousand times that of the challenge's densest.
# Tracing takes time in proportion, so damaged outlines could otherwise take days.
OUTLINES_MAX = 50_000_000
# Area of the boxes around all outlines, in areas of the image (taken as at least SMALL_IMAGE).
OVERLAP_MAX = 100
SMALL_IMAGE = 1_000_000  # pixels


def region_pixels(
    rings: Rings, height: int, width: int, rasterisation: Rasterisation
) -> tuple[Integers, Integers]:
    """The pixels of one region inside an image, column by column.

    Args:
        rings: its outlines, each (n, 2) finite vertices (x, y) as in the annotation file and closed
            implicitly. What an odd number of them enclose is inside, so that holes are cut out.
        height: of the image.
        width: of the image.
        rasterisation: see the module.

    Returns:
        Row and column indices of the pixels; empty where the region has no area.
    """
    crossings_of = _EDGE_CROSSINGS[rasterisation]
    found = [
        crossings_of(*edges, height, width) for ring in rings for edges in _blocks_of_edges(ring)
    ]
    none = np.empty(0, np.int64)
    columns = np.concatenate([none, *(columns for columns, _ in found)])
    rows = np.concatenate([none, *(rows for _, rows in found)])
    if len(columns) == 0:
        return columns, rows
    # A closed outline crosses each column an even number of times, and between an odd and an even
    # crossing lies the inside. Only the box around the crossings is searched.
    left, top = columns.min(), rows.min()
    box = (int(columns.max() - left) + 1, int(rows.max() - top) + 1)
    crossings = np.bincount((columns - left) * box[1] + (rows - top), minlength=box[0] * box[1])
    inside = np.cumsum(crossings.reshape(box), axis=1) % 2 == 1
    found_columns, found_rows = np.nonzero(inside)
    return found_rows + top, found_columns + left


def edge_lengths(outline: Outline) -> npt.NDArray[np.float64]:
    """The length in pixels of each edge of a closed outline along its longer axis."""
    lengths: npt.NDArray[np.float64] = np.abs(np.roll(outline, -1, axis=0) - outline).max(axis=1)
    return lengths


def _blocks_of_edges(outline: Outline) -> Iterator[tuple[Outline, Outline]]:
    """Starts and ends of an outline's edges, in blocks that bound the memory in use.

    An edge begins where the last one ended, so no crossing is lost or doubled between two blocks.
    """
    ends = np.roll(outline, -1, axis=0)
    block = (np.cumsum(edge_lengths(outline) + 1) / BLOCK).astype(np.int64)
    cuts = np.flatnonzero(np.diff(block)) + 1
    for first, last in itertools.pairwise([0, *cuts.tolist(), len(outline)]):
        yield outline[first:last], ends[first:last]


def _official_crossings(
    start: Outline, end: Outline, height: int, width: int
) -> tuple[Integers, Integers]:
    """Columns, and in each the first row below a crossing of the edges, as `rleFrPoly` does."""
    along, across = _trace(_on_grid(start), _on_grid(end))
    step = np.flatnonzero(along[1:] != along[:-1]) + 1
    # A crossing lies between two sub-columns; it counts if the left one is a pixel's central one.
    column = np.minimum(along[step], along[step - 1])
    central = (column - SUBPIXELS // 2) % SUBPIXELS == 0
    column = (column - SUBPIXELS // 2) // SUBPIXELS
    row = np.minimum(across[step], across[step - 1])
    keep = central & (column >= 0) & (column < width)
    # ceil((row + 0.5) / 5 - 0.5), clipped to the image.
    first = np.ceil(np.clip((row[keep] + 0.5) / SUBPIXELS - 0.5, 0, height))
    return column[keep], first.astype(np.int64)


def _on_grid(vertices: Outline) -> Integers:
    # Truncation towards zero, as C's conversion to int does; it differs from floor below zero.
    return np.trunc(SUBPIXELS * (vertices - MATLAB_SHIFT) + 0.5).astype(np.int64)


def _trace(start: Integers, end: Integers) -> tuple[Integers, Integers]:
    """Every grid point along successive edges, both ends of each included."""
    dx, dy = np.abs(end - start).T
    steps = np.maximum(dx, dy)
    flat = dx >= dy
    # An edge is drawn from its lower end along its longer axis, and listed in the outline's order.
    flip = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    low = np.where(flip[:, None], end, start)
    high = np.where(flip[:, None], start, end)
    rise = np.where(flat, high[:, 1] - low[:, 1], high[:, 0] - low[:, 0])
    slope = rise / np.maximum(steps, 1)  # a repeated vertex has no steps and no slope

    edge = np.repeat(np.arange(len(start)), steps + 1)
    first = np.concatenate([[0], np.cumsum(steps + 1)[:-1]])
    position = np.arange(len(edge)) - first[edge]
    position = np.where(flip[edge], steps[edge] - position, position)
    long_axis = np.where(flat, low[:, 0], low[:, 1])[edge] + position
    short_start = np.where(flat, low[:, 1], low[:, 0])[edge]
    short_axis = np.trunc(short_start + slope[edge] * position + 0.5).astype(np.int64)
    flat_point = flat[edge]
    return (
        np.where(flat_point, long_axis, short_axis),
        np.where(flat_point, short_axis, long_axis),
    )


def _center_crossings(
    start: Outline, end: Outline, height: int, width: int
) -> tuple[Integers, Integers]:
    """Columns, and in each the first row whose pixel centre lies below a crossing."""
    # Each edge from its left end, whichever way the outline runs. Otherwise the last bit could give
    # a pixel whose centre lies on an edge to both nuclei that share it, or to neither.
    flip = (start[:, 0] > end[:, 0])[:, None]
    start, end = np.where(flip, end, start), np.where(flip, start, end)
    left, right = start[:, 0], end[:, 0]
    # Columns j with left <= j + 0.5 < right: half-open, so a shared vertex counts once.
    first = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.ceil(right - 0.5), 0, width).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(start)), count)
    column = first[edge] + np.arange(len(edge)) - (np.cumsum(count) - count)[edge]
    run = (end[:, 0] - start[:, 0])[edge]
    y = start[edge, 1] + (column + 0.5 - start[edge, 0]) * (end[:, 1] - start[:, 1])[edge] / run
    return column, np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)


_EDGE_CROSSINGS = {"official": _official_crossings, "center": _center_crossings}


def places(rings: Rings, height: int, width: int, rasterisation: Rasterisation) -> Integers:
    """The pixels of one region as ascending numbers, counted down the columns of the image."""
    rows, columns = region_pixels(rings, height, width, rasterisation)
    numbers: Integers = columns * height + rows
    return numbers


def among(some: Integers, others: Integers) -> npt.NDArray[np.bool_]:
    """Of each of `some` places whether it is one of the `others`; both ascend."""
    if len(others) == 0:
        return np.zeros(len(some), bool)
    found: npt.NDArray[np.bool_] = (
        others[np.minimum(np.searchsorted(others, some), len(others) - 1)] == some
    )
    return found


def rasterise(
    regions: Sequence[Rings],
    height: int,
    width: int,
    rasterisation: Rasterisation,
    cuts: Mapping[int, Sequence[Rings]] | None = None,
) -> tuple[Labels, list[int]]:
    """A label map of regions; where regions overlap, the first one has the pixel.

    Args:
        regions: the outlines of each region, in the file's order.
        height: of the image.
        width: of the image.
        rasterisation: see the module.
        cuts: by index, what is cut out of a region before it is painted.

    Returns:
        (height, width) labels 1..n without gaps, and the indices of the regions that got no pixel
        (no area, outside the image, or covered by earlier ones), which have no label.

    Raises:
        PipelineError: more nuclei than 16 bits can number.
    """
    labels = np.zeros((height, width), np.uint16)
    without_pixels = []
    nuclei = 0
    for index, rings in enumerate(regions):
        found = places(rings, height, width, rasterisation)
        for cut in (cuts or {}).get(index, ()):
            found = found[~among(found, places(cut, height, width, rasterisation))]
        rows, columns = found % height, found // height
        free = labels[rows, columns] == 0
        if not free.any():
            without_pixels.append(index)
            continue
        nuclei += 1
        if nuclei > LABELS_MAX:
            raise PipelineError(
                f"more than {LABELS_MAX} nuclei in one image; cut the image into smaller ones"
            )
        labels[rows[free], columns[free]] = nuclei
    return labels, without_pixels


def area_max(height: int, width: int) -> int:
    """How many pixels of regions may be looked at in an image."""
    return OVERLAP_MAX * max(height * width, SMALL_IMAGE)


def require_bounded(regions: Sequence[Rings], height: int, width: int) -> None:
    """Refuse outlines that would take very long to paint.

    Raises:
        PipelineError: they are longer or overlap more than those of nuclei.
    """
    length = area = 0.0
    for ring in itertools.chain.from_iterable(regions):
        if len(ring) == 0:
            continue
        length += float(edge_lengths(ring).sum())
        box = np.clip(ring, 0, (width, height))
        area += float(np.prod(box.max(axis=0) - box.min(axis=0)))
    if length > OUTLINES_MAX:
        found = f"outlines of more than {OUTLINES_MAX} pixels in all"
    elif area > area_max(height, width):
        found = f"regions that cover the image more than {OVERLAP_MAX} times"
    else:
        return
    raise PipelineError(f"{found}, which cannot be nuclei; export the annotation again")
