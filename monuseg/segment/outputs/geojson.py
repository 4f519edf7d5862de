"""Nuclei and tissue as GeoJSON that QuPath imports: one object each, on pixel edges."""

import gzip
import json
import math
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from monuseg.core.files import replacing
from monuseg.segment.objects import Mask, Objects
from monuseg.segment.outputs.polygons import Ring, polygons_of
from monuseg.segment.outputs.sheets import numbered
from monuseg.segment.outputs.target import Colour, Target
from monuseg.segment.packages import require_packages

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "nuclei.monuseg.grand-challenge.org")
# Above this many objects QuPath is slow to import a file and to move about in the image.
FAST_IN_QUPATH = 500_000
TISSUE = "Tissue"
TISSUE_COLOUR: Colour = (0, 114, 178)  # blue of Okabe and Ito's palette
HUNDREDTHS = "%.2f"  # coordinates as QuPath writes them
LEVEL = 5  # of gzip: as small as its default, in half the time
DIGITS = 4  # decimals of measurements


@dataclass(frozen=True)
class WrittenObjects:
    """What became of the nuclei.

    Attributes:
        written: how many are in the file.
        repaired: of these, how many were not one part and were reduced to the largest.
        unsimplified: of these, how many kept all vertices, as they had no valid simpler outline.
        dropped: how many have no pixel, and are not in the file.
    """

    written: int
    repaired: int = 0
    unsimplified: int = 0
    dropped: int = 0

    @property
    def slow_in_qupath(self) -> bool:
        """Whether there are so many that the user should know that QuPath will be slow."""
        return self.written > FAST_IN_QUPATH


def write_geojson(
    objects: Iterable[Objects], target: Target, path: Path, *, simplify: float = 0.0
) -> WrittenObjects:
    """Write each nucleus as a detection of QuPath, a line of the file each.

    Args:
        objects: all nuclei, in the order of their ids; iterated over once.
        target: the image.
        path: `.geojson`, or `.geojson.gz`, which is compressed.
        simplify: pixels that outlines may be off, to have fewer vertices; needs shapely.

    Raises:
        PipelineError: shapely is needed and missing.
    """
    ids = uuid.uuid5(NAMESPACE, target.identity)
    classification = {"name": target.class_name, "color": target.colour}
    written = repaired = unsimplified = dropped = 0
    simpler = _simplifier(simplify) if simplify else None
    with _features(path) as put:
        for first, block in numbered(objects):
            polygons = polygons_of(block.masks, block.boxes[:, 1::-1] - target.origin)
            repaired += polygons.repaired
            for index, rings in enumerate(polygons.rings):
                if not rings:
                    dropped += 1
                    continue
                place = _first_pixel(block, index)
                if simpler is not None:
                    rings, found = simpler(rings)
                    unsimplified += not found
                measured = _measurements(block, index, first + index, target.um_per_pixel)
                named = uuid.uuid5(ids, place)
                put(_feature("detection", named, _text(rings, "%d"), classification, measured))
                written += 1
    return WrittenObjects(written, repaired, unsimplified, dropped)


def write_tissue(
    mask: Mask, scale: tuple[float, float], target: Target, path: Path
) -> WrittenObjects:
    """Write each connected part of the tissue as an annotation of QuPath.

    Args:
        mask: (rows, columns) an overview, true on tissue.
        scale: pixels of the whole image per pixel of the overview, along y and x; exact, as
            overviews are seldom a whole number of times smaller.
        target: the image; what the overview's last pixels reach beyond it is cut off.
        path: as in `write_geojson`.
    """
    ids = uuid.uuid5(NAMESPACE, target.identity)
    classification = {"name": TISSUE, "color": TISSUE_COLOUR}
    # Moving whole rows and columns of corners, apart from each other, keeps polygons valid.
    ys, xs = (
        np.minimum(np.arange(side + 1) * factor, limit) - start
        for side, factor, limit, start in zip(
            mask.shape, scale, (target.height, target.width), target.origin[::-1], strict=True
        )
    )
    parts, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    with _features(path) as put:
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            own: Mask = labels[box] == number
            corner = np.array([[box[1].start, box[0].start]])
            (rings,) = polygons_of([own], corner).rings
            moved = [np.stack([xs[ring[:, 0]], ys[ring[:, 1]]], axis=1) for ring in rings]
            place = f"tissue {box[0].start},{box[1].start + int(own[0].argmax())}"
            put(
                _feature(
                    "annotation", uuid.uuid5(ids, place), _text(moved, HUNDREDTHS), classification
                )
            )
    return WrittenObjects(parts - 1)


def _first_pixel(block: Objects, index: int) -> str:
    """The place of a nucleus: its first pixel, which no other nucleus has."""
    y, x = block.boxes[index, :2].tolist()
    mask = block.masks[index]
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    return f"{y + row},{x + column}"


def _measurements(
    block: Objects, index: int, label: int, um_per_pixel: float | None
) -> dict[str, float]:
    area = int(np.count_nonzero(block.masks[index]))
    measured = {
        "Label": label,
        "Area px^2": area,
        "Area µm^2": area * um_per_pixel**2 if um_per_pixel else math.nan,
        "Probability": float(block.probability[index]),
        "Haematoxylin OD": float(block.haematoxylin[index]),
    }
    # JSON has no NaN, and QuPath refuses null.
    return {key: round(value, DIGITS) for key, value in measured.items() if math.isfinite(value)}


def _text(rings: Iterable[npt.NDArray[np.generic]], number: str) -> str:
    """Coordinates of (k, 2) rings, each number in a format; several times faster than by `json`."""
    return ",".join(
        "[" + ",".join([f"[{number},{number}]"] * len(ring)) % tuple(ring.ravel().tolist()) + "]"
        for ring in rings
    )


def _feature(
    kind: str,
    identity: uuid.UUID,
    coordinates: str,
    classification: dict[str, Any],
    measurements: dict[str, float] | None = None,
) -> str:
    properties = {"objectType": kind, "classification": classification}
    if measurements:
        properties["measurements"] = measurements
    said = json.dumps(properties, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (
        f'{{"type":"Feature","id":"{identity}",'
        f'"geometry":{{"type":"Polygon","coordinates":[{coordinates}]}},"properties":{said}}}'
    )


@contextmanager
def _features(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds a feature to a collection, which takes its place at the end."""
    with replacing(path) as temporary, temporary.open("wb") as raw, _packed(raw, path) as file:
        file.write(b'{"type":"FeatureCollection","features":[')
        lead = "\n"

        def put(feature: str) -> None:
            nonlocal lead
            file.write(f"{lead}{feature}".encode())
            lead = ",\n"

        yield put
        file.write(b"\n]}\n")


def _packed(raw: IO[bytes], path: Path) -> AbstractContextManager[IO[bytes]]:
    """What is written to: of `.gz` a packer, closed before the file, after an error too."""
    if path.suffix != ".gz":
        return nullcontext(raw)
    # Neither a name nor a time is in it, so the same nuclei give the same bytes.
    return cast(IO[bytes], gzip.GzipFile("", "wb", LEVEL, raw, mtime=0))


def _simplifier(tolerance: float) -> Callable[[list[Ring]], tuple[list[Ring], bool]]:
    """A function from a polygon's rings to simpler ones and true, or to themselves and false."""
    require_packages(f"outlines simpler by {tolerance:g} pixels", ["shapely"])
    from shapely import Polygon  # type: ignore[import-untyped,import-not-found,unused-ignore]

    def simpler(rings: list[Ring]) -> tuple[list[Ring], bool]:
        found = Polygon(rings[0], rings[1:]).simplify(tolerance)
        if found.geom_type != "Polygon" or found.is_empty or not found.is_valid:
            return rings, False
        # Vertices stay where they were, in whole pixels.
        kept = [found.exterior, *found.interiors]
        return [np.array(ring.coords).astype(np.int64) for ring in kept], True

    return simpler
