"""Which files hold the results of an image, and writing them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX, RGB
from monuseg.segment.objects import Objects
from monuseg.segment.options import FORMATS
from monuseg.segment.outputs.geojson import write_geojson, write_tissue
from monuseg.segment.outputs.labels import write_label_png, write_label_tiff
from monuseg.segment.outputs.overlays import write_overlay_png, write_overlay_tiff
from monuseg.segment.outputs.tables import write_csv, write_parquet
from monuseg.segment.outputs.target import Target
from monuseg.segment.packages import require_packages
from monuseg.segment.search import SearchArea

Read = Callable[[int, int, int, int], RGB]

RECORD = ".nuclei.json"  # of what made the others
# Of all files of results, so that none is taken for an image.
SUFFIXES = (
    RECORD,
    ".nuclei.png",
    ".nuclei.ome.tif",
    ".nuclei.csv",
    ".nuclei.parquet",
    ".nuclei.geojson",
    ".nuclei.geojson.gz",
    ".overlay.png",
    ".overlay.tif",
    ".tissue.geojson",
)
# Without a word: all that people open, but no label map of a whole slide, which they seldom do.
DEFAULT, DEFAULT_OF_LARGE = ("labels", "csv", "geojson"), ("csv", "geojson")


@dataclass
class Written:
    """What became of an image's nuclei.

    Attributes:
        nuclei: how many were found.
        median_area: of them, in pixels; None without any.
        files: their names, without that of the image, which no JSON may be able to hold.
        remarks: what there is to know about them.
        damaged: parts of the image that could not be decoded and are taken for glass: top, bottom,
            left and right in pixels.
        earlier: whether an earlier run wrote them, and nothing was computed now.
    """

    nuclei: int
    median_area: float | None = None
    files: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    damaged: list[list[int]] = field(default_factory=list)
    earlier: bool = field(default=False, compare=False)

    def record(self) -> dict[str, Any]:
        """All but `earlier`, for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "earlier"}


def formats_of(text: str | None) -> tuple[str, ...] | None:
    """The formats that `--write` names, or None for the default.

    Raises:
        PipelineError: it names another one.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise PipelineError(f"--write: {unknown[0]!r} is none of {', '.join(FORMATS)}")
    return names


def require_packages_of(formats: Sequence[str] | None, simplify: float) -> None:
    """Refuse what packages are missing for, before anything is computed.

    Args:
        formats: from `formats_of`.
        simplify: as `write_all` takes it.

    Raises:
        PipelineError: one is not installed.
    """
    names = formats or DEFAULT
    if "parquet" in names:
        require_packages("--write parquet", ["pyarrow"])
    if "geojson" in names and simplify:
        require_packages(f"--simplify {simplify:g}", ["shapely"])


def write_all(
    objects: Iterable[Objects],
    target: Target,
    place: Path,
    formats: Sequence[str] | None,
    read: Read,
    area: SearchArea,
    *,
    simplify: float = 0.0,
) -> Written:
    """Write the nuclei of an image.

    Args:
        objects: all nuclei, in the order of their ids; can be iterated over again.
        target: the image.
        place: path of the results without suffix.
        formats: from `formats_of`.
        read: the image's pixels.
        area: where nuclei were looked for.
        simplify: pixels that outlines of GeoJSON may be off.

    Raises:
        PipelineError: a package that a format needs is missing.
    """
    large = target.width * target.height > PIXELS_MAX
    areas = [int(mask.sum()) for block in objects for mask in block.masks]
    written = Written(len(areas), float(np.median(areas)) if areas else None)

    def at(suffix: str) -> Path:
        written.files.append(suffix)
        return place.with_name(place.name + suffix)

    for name in formats or (DEFAULT_OF_LARGE if large else DEFAULT):
        if name == "labels":
            if large or not write_label_png(objects, target, at(".nuclei.png")):
                written.files = [one for one in written.files if one != ".nuclei.png"]
                write_label_tiff(objects, target, at(".nuclei.ome.tif"))
        elif name == "csv":
            write_csv(objects, target, at(".nuclei.csv"))
        elif name == "parquet":
            write_parquet(objects, target, at(".nuclei.parquet"))
        elif name == "geojson":
            suffix = ".nuclei.geojson.gz" if large else ".nuclei.geojson"
            found = write_geojson(objects, target, at(suffix), simplify=simplify)
            written.remarks += [
                f"{count} {what} in GeoJSON"
                for count, what in (
                    (found.repaired, "nuclei of several parts reduced to the largest"),
                    (found.dropped, "nuclei without a pixel dropped"),
                )
                if count
            ]
            if found.slow_in_qupath:
                written.remarks.append(
                    f"QuPath is slow with {found.written} objects; --simplify 0.5 helps a little"
                )
        elif name == "overlay" and large:
            write_overlay_tiff(objects, target, at(".overlay.tif"), read)
        elif name == "overlay":
            write_overlay_png(objects, target, at(".overlay.png"), read)
        else:
            write_tissue(area.mask, area.scale, target, at(".tissue.geojson"))
    return written
