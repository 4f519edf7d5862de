"""Opening what a pathologist has: whole slides by OpenSlide, plain images as everywhere else."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from monuseg.core.errors import PipelineError
from monuseg.readers import raster, tifs
from monuseg.readers.slide import DamagedRegionError, Slide
from monuseg.readers.slide_plain import PlainSlide
from monuseg.readers.slide_tif import is_plain, require_one_rgb
from monuseg.readers.slide_whole import INSTALL, WholeSlide

if TYPE_CHECKING:
    from openslide import OpenSlide

__all__ = ["SUFFIXES", "DamagedRegionError", "Slide", "open_slide"]

# How names of whole slides end, for telling them from other files; the bytes decide.
WHOLE = frozenset(
    {".svs", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".svslide", ".dcm", ".czi"}
)
SUFFIXES = raster.SUFFIXES | WHOLE
APERIO, GENERIC = "aperio", "generic-tiff"  # as OpenSlide names formats
DICOM = b"DICM", 128  # mark, and its place
UNTILED = (
    "a TIF of more than 100 million pixels that OpenSlide does not read; save it in tiles, as "
    "`vips tiffsave in.tif out.tif --tile --pyramid --bigtiff --compression jpeg` does"
)
UNKNOWN = (
    "no slide that OpenSlide reads, or some of the files beside it are missing; export it as SVS "
    "or as a tiled TIF"
)


def open_slide(
    path: Path,
    *,
    um_per_pixel: float | None = None,
    crop_to_bounds: bool = True,
    scene: int | None = None,
) -> Slide:
    """Open a whole slide or a plain image.

    A TIF that OpenSlide does not know as some scanner's is read whole, as a plain image, up to 100
    million pixels, and by OpenSlide beyond.

    Args:
        path: the file.
        um_per_pixel: micrometres per pixel, whatever the file states; see `require_plausible`.
        crop_to_bounds: leave out the empty glass around what a whole slide's scanner saw.
        scene: which of a whole slide's several scanned areas, counted from 1; None for all.

    Raises:
        PipelineError: it is missing, damaged, of a kind that is not read, or a whole slide of
            unknown resolution; or OpenSlide is needed and not installed.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: no such file; correct the path")
    with path.open("rb") as file:
        head = file.read(DICOM[1] + len(DICOM[0]))
    if not head:
        raise PipelineError(f"{path}: an empty file; fetch or export it again")
    if not (head[:4] in tifs.STARTS or path.suffix.lower() in WHOLE or head.startswith(*DICOM)):
        return _plain(path, um_per_pixel, scene)
    tif = head[:4] in tifs.STARTS
    try:
        from openslide import OpenSlide
    except (ImportError, OSError):
        return _without_openslide(path, um_per_pixel, scene, tif=tif)
    vendor = OpenSlide.detect_format(path)
    if vendor in (None, GENERIC):
        if is_plain(path) if tif else path.suffix.lower() in raster.SUFFIXES:
            return _plain(path, um_per_pixel, scene)
        if vendor is None:
            raise PipelineError(f"{path}: {UNTILED if tif else UNKNOWN}")
    remark = require_one_rgb(path) if vendor in (GENERIC, APERIO) else None
    slide = WholeSlide(
        path,
        partial(_opened, path),
        um_per_pixel=um_per_pixel,
        crop_to_bounds=crop_to_bounds,
        scene=scene,
    )
    if vendor == GENERIC:
        slide.remark = "; ".join(filter(None, [remark, slide.remark])) or None
    return slide


def _opened(path: Path) -> "OpenSlide":
    from openslide import OpenSlide, OpenSlideError

    try:
        return OpenSlide(path)
    except (OpenSlideError, OSError) as error:
        raise PipelineError(
            f"{path}: OpenSlide cannot open it ({error}); fetch or export it again"
        ) from error


def _plain(path: Path, um_per_pixel: float | None, scene: int | None) -> Slide:
    if scene not in (None, 1):
        raise PipelineError(f"{path}: no scene {scene}; it has 1")
    return PlainSlide(path, um_per_pixel=um_per_pixel)


def _without_openslide(
    path: Path, um_per_pixel: float | None, scene: int | None, *, tif: bool
) -> Slide:
    """A small TIF can be read all the same, some scanners' exports of a region among them."""
    needed = PipelineError(f"{path}: a whole slide needs OpenSlide; install it: {INSTALL}")
    if not (tif and is_plain(path)):
        raise needed
    try:
        return _plain(path, um_per_pixel, scene)
    except PipelineError:
        if path.suffix.lower() in WHOLE:
            raise needed from None
        raise
