"""QuPath's GeoJSON, and what other programs write for QuPath.

A feature collection, an array of features, one feature, or a bare geometry. Coordinates are pixels
of the image, counted from its upper left corner: the pixel (x, y) covers x to x + 1.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.readers import regions as limits
from monuseg.readers.regions import (
    COORDINATE_LIMIT,
    POLYGON,
    SHOWN_MAX,
    Outline,
    Region,
    layer_name,
    require_at_most,
    shown,
)

# Parts of one nucleus; some programs write all nuclei of a class as one object.
PARTS_MAX = 10
# Objects and lists in a file; each takes 100 bytes or so of memory. The densest image that is
# allowed has 13 million, if outlines have 100 vertices and QuPath lists 100 measurements a nucleus.
VALUES_MAX = 20_000_000
# QuPath's objects that are no nuclei.
NO_NUCLEI = {"tile": "tile", "tmacore": "TMA core", "root": "root"}
# No set: a damaged file may have a list there, which a set cannot look for.
GEOMETRIES = (
    *("Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"),
    "GeometryCollection",
)
# Keys at the top of other programs' JSON.
OTHERS = {
    "categories": "COCO",
    "shapes": "LabelMe",
    "_via_img_metadata": "VGG Image Annotator",
    "nuc": "HoVer-Net",
}


def read(content: bytes, *, name: str) -> list[Region]:
    """All regions of a file, in its order.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Raises:
        PipelineError: it is no GeoJSON, a coordinate is no finite number, one object holds very
            many polygons, or there are more regions than any annotation has.
    """
    regions = []
    for number, feature in enumerate(_features(loaded(content, name=name)), 1):
        place = f"{name}: region {number}"
        require_at_most(number, limits.REGIONS_MAX, "regions", place=place, program="QuPath")
        regions.append(_region(feature, number, place))
    return regions


def loaded(content: bytes, *, name: str) -> Any:
    """The JSON of a file, if it is GeoJSON at its top level.

    Raises:
        PipelineError: it is not, or holds more than any annotation does.
    """
    values = content.count(b"{") + content.count(b"[")
    require_at_most(values, VALUES_MAX, "objects and lists", place=name, program="QuPath")
    try:
        found = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise PipelineError(
            f"{name}: the byte 0x{content[error.start]:02x} is not {error.encoding.upper()}; "
            "save it as UTF-8"
        ) from error
    except RecursionError as error:
        raise PipelineError(f"{name}: nested without end; export it from QuPath again") from error
    except ValueError as error:
        raise PipelineError(f"{name}: malformed JSON ({error}); export it again") from error
    top = found[0] if isinstance(found, list) and found else found
    kind = top.get("type") if isinstance(top, dict) else None
    if found == [] or kind in ("FeatureCollection", "Feature") or _is_geometry(top):
        return found
    keys = list(top) if isinstance(top, dict) else []
    others = [program for key, program in OTHERS.items() if key in keys]
    looks = f"JSON of {others[0]}" if others else "JSON of another kind"
    raise PipelineError(
        f"{name}: {looks}, not GeoJSON (it begins with {shown(', '.join(keys) or str(top))}); "
        "export the nuclei as GeoJSON, as QuPath writes it"
    )


def _is_geometry(found: Any) -> bool:
    return isinstance(found, dict) and found.get("type") in GEOMETRIES


def _features(found: Any) -> Iterator[dict[str, Any]]:
    """Every feature, each parent before its children."""
    pending = [found]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += reversed(one)
        elif _is_geometry(one):
            yield {"geometry": one}
        elif isinstance(one, dict) and one.get("type") == "FeatureCollection":
            pending.append(one.get("features"))
        elif isinstance(one, dict):
            yield one
            pending.append(_of(one, "properties").get("childObjects"))
        elif one is not None:
            yield {}  # counted, and listed as no nucleus


def _of(feature: dict[str, Any], key: str) -> dict[str, Any]:
    found = feature.get(key)
    return found if isinstance(found, dict) else {}


def _region(feature: dict[str, Any], number: int, place: str) -> Region:
    properties = _of(feature, "properties")
    # In this order QuPath looks for it; another word there means an annotation.
    keys = [key for key in ("objectType", "object_type", "type") if properties.get(key)]
    kind = str(properties[keys[0]]).lower() if keys else "annotation"
    nucleus = _of(feature, "nucleusGeometry")
    geometry = nucleus or _of(feature, "geometry")
    polygons: list[Any] = []
    if geometry.get("type") == "Polygon":
        polygons = [geometry.get("coordinates") or []]
    elif geometry.get("type") == "MultiPolygon":
        polygons = _list(geometry.get("coordinates"), place)
    if len(polygons) > PARTS_MAX:
        raise PipelineError(
            f"{place}: one object of {len(polygons)} polygons, which is no nucleus but many; "
            "split it (in QuPath: Objects > Annotations > Split annotations) and export it again"
        )
    rings = [
        [np.empty((0, 2)) if ring == [] else outline(ring, place) for ring in _list(one, place)]
        for one in polygons
    ]
    rings = [of_part for of_part in rings if of_part]
    if kind in NO_NUCLEI:
        shape = NO_NUCLEI[kind]
    elif kind == "cell" and not nucleus:
        shape = "cell without nucleus"
    elif geometry.get("type") not in ("Polygon", "MultiPolygon"):
        shape = str(geometry.get("type") or "no geometry")[:SHOWN_MAX]
    elif any(_of(geometry, "plane").get(axis) for axis in "zt"):
        shape = "on another plane"
    else:
        shape = POLYGON
    return Region(
        layer=1,
        number=number,
        outline=rings[0][0] if rings else np.empty((0, 2)),
        layer_name=_class(properties.get("classification")),
        shape=layer_name(shape),
        holes=tuple(ring for of_part in rings for ring in of_part[1:]),
        parts=tuple(of_part[0] for of_part in rings[1:]),
    )


def _class(classification: Any) -> str:
    """The name of a classification, a derived one as QuPath shows it ("Tumor: Positive")."""
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = (
            ": ".join(map(str, names)) if isinstance(names, list) else classification.get("name")
        )
    return layer_name(classification) if isinstance(classification, str) else ""


def _list(found: Any, place: str) -> list[Any]:
    if not isinstance(found, list):
        raise PipelineError(f"{place}: coordinates are missing; export it from QuPath again")
    return found


def outline(ring: Any, place: str, limit: float = COORDINATE_LIMIT) -> Outline:
    """The vertices of a ring, (n, 2) x, y.

    Args:
        ring: what stands in the file.
        place: where, for errors.
        limit: of coordinates, in pixels.

    Raises:
        PipelineError: it is no list of pairs of finite numbers up to the limit.
    """
    try:
        points = np.array(ring)
    except (ValueError, OverflowError):
        points = np.array(None)
    numbers = points.dtype.kind in "iuf" and points.ndim == 2 and points.shape[1] >= 2
    # Written so that NaN fails too.
    if not (numbers and (np.abs(points[:, :2].astype(np.float64)) <= limit).all()):
        raise PipelineError(
            f"{place}: a ring is no list of pairs of finite numbers below {limit:.0f}: "
            f"{shown(str(ring))}; correct or remove that region"
        )
    return points[:, :2].astype(np.float64)
