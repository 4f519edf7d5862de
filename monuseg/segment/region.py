"""Regions that somebody drew on a slide, as QuPath exports them, and the nuclei inside."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.readers import geojson
from monuseg.readers.regions import BYTES_MAX, Outline, shown
from monuseg.segment.objects import Mask, Objects
from monuseg.segment.outputs.sheets import Sheet

Points = npt.NDArray[np.float64]  # (n, 2) x, y; the pixel (x, y) covers x to x + 1

COORDINATE_LIMIT = 10_000_000.0  # pixels; a slide of 10 cm has a tenth of them at the finest
COMPRESSED = (b"PK", b"\x1f\x8b")  # how ZIP and gzip begin
ROWS = 64  # points that are looked for among the same edges


@dataclass(frozen=True)
class DrawnRegions:
    """Polygons on a slide; what any of them encloses is inside.

    Attributes:
        file: what they are read from.
        identity: SHA-256 of its bytes.
        polygons: of each its rings, (n, 2) x, y of vertices; an odd number of them encloses what is
            inside, so that rings in others are holes.
    """

    file: Path
    identity: str
    polygons: Sequence[Sequence[Outline]]

    @classmethod
    def read(cls, file: Path, option: str) -> Self:
        """Read a GeoJSON file: a feature collection, a list of features, one, or a bare geometry.

        All polygons and multipolygons count, whatever their class; objects inside objects do not.

        Args:
            file: coordinates are pixels of the full resolution, from the corner that QuPath shows.
            option: what names the file, for errors.

        Raises:
            PipelineError: it cannot be read, is no GeoJSON, or something in it encloses nothing.
        """
        content = _content(file, option)
        polygons = []
        for number, feature in enumerate(_features(geojson.loaded(content, name=str(file))), 1):
            polygons += _polygons(feature, f"{file}: region {number}")
        if not polygons:
            raise PipelineError(f"{option} {file}: no region in it; draw one and export it again")
        return cls(file, hashlib.sha256(content).hexdigest(), polygons)

    def moved(self, origin: tuple[int, int]) -> Self:
        """The same in the slide's own pixels.

        Args:
            origin: the pixel (x, y) of these that QuPath shows as its upper left one.
        """
        polygons = [[ring + np.array(origin) for ring in rings] for rings in self.polygons]
        return replace(self, polygons=polygons)

    def grid(self, shape: tuple[int, int], scale: float) -> Mask:
        """Draw them on a grid, (rows, columns), a cell of it as soon as they touch it.

        Args:
            shape: of the grid.
            scale: pixels per cell.
        """
        drawn = np.zeros(shape, np.uint8)
        for rings in self.polygons:
            cells = [np.floor(ring / scale).astype(np.int32) for ring in rings]
            every = np.concatenate(cells)
            left, top = np.maximum(every.min(axis=0), 0).tolist()
            right, bottom = (np.minimum(every.max(axis=0), (shape[1] - 1, shape[0] - 1))).tolist()
            if left <= right and top <= bottom:
                corner = np.array((left, top), np.int32)
                part = np.zeros((bottom + 1 - top, right + 1 - left), np.uint8)
                cv2.fillPoly(part, [ring - corner for ring in cells], 1)
                for ring in rings:  # drawn from corners of cells, the outline misses some
                    x, y = _passed(ring / scale - corner, part.shape)
                    part[y, x] = 1
                drawn[top : bottom + 1, left : right + 1] |= part
        return drawn.astype(bool)

    def enclose(self, points: Points) -> Mask:
        """Which points are inside, (n,).

        Of a point on an edge that two regions share, exactly one of them has it.
        """
        found = np.zeros(len(points), bool)
        for rings in self.polygons:
            every = np.concatenate(rings)
            near = ((points >= every.min(axis=0)) & (points <= every.max(axis=0))).all(axis=1)
            places = np.flatnonzero(near & ~found)
            if len(places):
                found[places] = _odd(points[places], rings)
        return found


@dataclass(frozen=True)
class Inside:
    """Those of some nuclei whose centroid is in regions; can be iterated over as often as they."""

    objects: Iterable[Objects]
    regions: DrawnRegions

    def __iter__(self) -> Iterator[Objects]:
        for block in self.objects:
            kept = np.flatnonzero(self.regions.enclose(centroids(block)))
            yield Objects(
                block.boxes[kept],
                [block.masks[place] for place in kept.tolist()],
                block.probability[kept],
                block.haematoxylin[kept],
            )


def centroids(objects: Objects) -> Points:
    """The means of nuclei's pixels, (n, 2) x, y, where the first pixel's middle is (0.5, 0.5)."""
    sheet = Sheet.of(objects.masks)
    owner = sheet.owners(sheet.inside)
    rows, columns = sheet.places(sheet.inside, owner)
    pixels = np.maximum(np.bincount(owner, minlength=len(sheet)), 1)
    means = [np.bincount(owner, of, len(sheet)) / pixels for of in (columns, rows)]
    return np.asarray(np.stack(means, axis=1) + objects.boxes[:, 1::-1] + 0.5)


def _passed(ring: Outline, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The cells of a grid, (2, n) x and y, that the edges of a ring touch."""
    ends = np.roll(ring, -1, axis=0)
    steps = ends - ring
    cells = [np.floor(ring)]
    for axis, limit in enumerate(shape[::-1]):
        # The lines between cells that each edge crosses, as far as the grid goes.
        low = np.clip(np.minimum(ring, ends)[:, axis], -1, limit)
        high = np.clip(np.maximum(ring, ends)[:, axis], 0, limit + 1)
        first = np.floor(low).astype(np.int64) + 1
        count = np.maximum(np.ceil(high).astype(np.int64) - first, 0)
        edge = np.repeat(np.arange(len(ring)), count)
        line = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
        part = (line - ring[edge, axis]) / steps[edge, axis]
        for side in (line - 1, line):
            beside = np.floor(ring[edge] + part[:, np.newaxis] * steps[edge])
            beside[:, axis] = side
            cells.append(beside)
    every = np.concatenate(cells)
    within = ((every >= 0) & (every < shape[::-1])).all(axis=1)
    return every[within].astype(np.int64).T


def _odd(points: Points, rings: Sequence[Outline]) -> Mask:
    """Which points an odd number of rings encloses, by the edges to the right of each."""
    ends = np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings])
    # Each from its upper end: the neighbour's edge, drawn the other way, is the same to the bit.
    ends = np.where((ends[:, 1] > ends[:, 3])[:, np.newaxis], ends[:, [2, 3, 0, 1]], ends)
    ends = ends[ends[:, 1] < ends[:, 3]]  # points are level with no others
    odd = np.zeros(len(points), bool)
    order = np.argsort(points[:, 1])
    # Points of about one height, so that few edges are level with them.
    for start in range(0, len(points), ROWS):
        chunk = order[start : start + ROWS]
        x, y = points[chunk, :, np.newaxis].swapaxes(0, 1)
        x0, y0, x1, y1 = ends[(ends[:, 1] <= y.max()) & (ends[:, 3] > y.min())].T
        level = (y0 <= y) & (y < y1)  # an upper end belongs to an edge, a lower one to the next
        crossing = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
        odd[chunk] = np.count_nonzero(level & (x < crossing), axis=1) % 2 == 1
    return odd


def _content(file: Path, option: str) -> bytes:
    try:
        size = file.stat().st_size
        if size > BYTES_MAX:
            raise PipelineError(
                f"{option} {file}: {size >> 20} MB, which no drawing has; export the regions alone"
            )
        content = file.read_bytes()
    except OSError as error:
        raise PipelineError(f"{option} {file}: not a readable file; correct the path") from error
    if content.startswith(COMPRESSED):
        raise PipelineError(f"{option} {file}: compressed; unpack it")
    return content


def _features(found: Any) -> Iterator[Any]:
    """Every feature, or bare geometry, in the file's order."""
    if isinstance(found, dict) and found.get("type") == "FeatureCollection":
        found = found.get("features") or []
    if not isinstance(found, list):
        found = [found]
    for one in found:
        yield one.get("geometry") if isinstance(one, dict) and one.get("type") == "Feature" else one


def _polygons(geometry: Any, place: str) -> list[list[Outline]]:
    """The polygons of a geometry, each as its rings."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        said = shown(str(kind)) if kind else "no geometry"
        raise PipelineError(f"{place}: {said}, which encloses nothing; draw polygons alone")
    found = geometry.get("coordinates")
    parts = [found] if kind == "Polygon" else found
    if not (isinstance(parts, list) and parts and all(isinstance(one, list) for one in parts)):
        raise PipelineError(f"{place}: coordinates are missing; export it from QuPath again")
    polygons = [[geojson.outline(ring, place, COORDINATE_LIMIT) for ring in one] for one in parts]
    for rings in polygons:
        if not rings or not _area(rings[0]) > 0:
            raise PipelineError(f"{place}: a polygon without an area; draw or remove it")
    return polygons


def _area(ring: Outline) -> float:
    """By the shoelace formula, from a vertex of its own so that large numbers cancel exactly."""
    x, y = (ring - ring[0]).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
