"""From masks to polygons along the edges of pixels, as QuPath's own tracing does.

Polygons are valid by construction, for any mask that is one part connected by edges. Around the
background, parts of which are connected by edges too, there is one ring each. No ring meets a
corner twice: if it did, a closed way through that part of the background would separate two pixels
of the mask. Two rings share at most corners, one between any two, else they would enclose pixels of
the mask alone. This is what the OGC's rules ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from monuseg.segment.objects import Mask
from monuseg.segment.outputs.sheets import Integers, Sheet

Ring = Integers  # (k, 2) x, y of each vertex; the last is the first once more


@dataclass(frozen=True)
class Polygons:
    """The polygons of masks.

    Attributes:
        rings: of each mask, the outline first and then its holes; none if nothing is in the mask.
        repaired: how many masks were not one part, and were reduced to the largest.
    """

    rings: list[list[Ring]]
    repaired: int


def polygons_of(masks: Sequence[Mask], corners: Integers) -> Polygons:
    """Trace masks along the edges of their pixels, of which (x, y) covers x to x + 1.

    The outline runs clockwise on the screen, where y points down, and holes the other way: as
    numbers, as RFC 7946 asks. Only corners are vertices.

    Args:
        masks: each one part, connected by edges.
        corners: (n, 2) x, y of the upper left pixel of each mask, which is added to its vertices.
    """
    rings, broken = _traced(masks, corners)
    if broken:
        parts = [_largest_part(masks[index]) for index in broken]
        mended, _ = _traced(parts, corners[broken])
        for index, one in zip(broken, mended, strict=True):
            rings[index] = one
    return Polygons(rings, repaired=sum(bool(rings[index]) for index in broken))


def _traced(masks: Sequence[Mask], corners: Integers) -> tuple[list[list[Ring]], list[int]]:
    """The rings of each mask, and which masks are not one part."""
    rings: list[list[Ring]] = [[] for _ in masks]
    sheet = Sheet.of(masks)
    # Vertical edges: 1 where a pixel begins to the right of one, -1 where it ends to the left.
    steps = np.diff(sheet.cells, prepend=np.int8(0))
    edges = np.flatnonzero(steps)
    if not len(edges):
        return rings, []
    owner = sheet.owners(edges)
    rows, columns = sheet.places(edges, owner)
    # Down each column, so that the edges of a side follow each other.
    order = np.lexsort((rows, columns, owner))
    edges, owner, rows, columns = edges[order], owner[order], rows[order], columns[order]
    stride, sign = sheet.stride[owner], steps[edges]
    first, last = steps[edges - stride] != sign, steps[edges + stride] != sign
    owner, column, sign = owner[first], columns[first], sign[first]
    top, bottom = rows[first], rows[last] + 1
    sides = len(owner)

    # With the mask to its right on the screen, a left side runs up and a right side runs down.
    tail, head = np.where(sign > 0, bottom, top), np.where(sign > 0, top, bottom)
    # Along each row of corners, ends of sides are joined in pairs. Where two pixels of the mask
    # touch at a corner, the sign tells which side is joined to the left and which to the right, so
    # that rings turn around the background.
    row = np.concatenate([tail, head]) + 1
    corner = np.tile(sheet.start[owner] + column + 1, 2) + row * np.tile(sheet.stride[owner], 2)
    order = np.argsort(2 * corner + np.tile(sign < 0, 2))
    pairs = np.sort(order.reshape(-1, 2), axis=1)
    following = np.empty(sides, np.int64)
    following[pairs[:, 1] - sides] = pairs[:, 0]

    ring, position = _cycles(following)
    twice = np.flatnonzero(corner[order[1:]] == corner[order[:-1]])
    meets = twice[ring[order[twice] % sides] == ring[order[twice + 1] % sides]]
    broken = set(owner[order[meets] % sides].tolist())

    order = np.lexsort((position, ring))
    x, y = corners[owner, 0] + column, corners[owner, 1]
    vertices = np.stack([x, y + tail, x, y + head], axis=1)[order].reshape(-1, 2)
    area = np.bincount(ring, weights=column * (head - tail))
    begins = np.flatnonzero(np.diff(ring[order], prepend=-1))
    heads = order[begins]
    ends = 2 * np.append(begins[1:], sides)
    closed = np.insert(vertices, ends, vertices[2 * begins], axis=0)
    cuts = (ends + np.arange(1, len(ends) + 1))[:-1]
    outer = area[ring[heads]] > 0
    for mask, is_outer, vertices in zip(
        owner[heads].tolist(), outer.tolist(), np.split(closed, cuts), strict=True
    ):
        # A mask's leftmost side is the first of its outline.
        if is_outer and rings[mask]:
            broken.add(mask)
        rings[mask].append(vertices)
    return rings, sorted(broken)


def _cycles(following: Integers) -> tuple[Integers, Integers]:
    """Which cycle of a permutation each element is in, named by its smallest, and its place there.

    By doubling steps: after k of them an element knows all that follow within 2^k.
    """
    smallest, jump = np.arange(len(following)), following
    while True:
        found = np.minimum(smallest, smallest[jump])
        if (found == smallest).all():
            break
        smallest, jump = found, jump[jump]
    ends = following == smallest  # the element before a cycle's first
    jump = np.where(ends, np.arange(len(following)), following)
    left = (~ends).astype(np.int64)  # steps to the end of the cycle
    while (left[jump] > 0).any():
        left, jump = left + left[jump], jump[jump]
    return smallest, -left


def _largest_part(mask: Mask) -> Mask:
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    only: Mask = parts == largest
    return only
