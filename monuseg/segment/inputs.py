"""Which images are to be segmented, all checked before the first one is."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monuseg.core.errors import PipelineError, explained, tell
from monuseg.formats.scale import ASSUMED
from monuseg.readers.raster import BYTES_MAX, SUFFIXES, decode_rgb
from monuseg.readers.resolution import settle, stated_by_image

LABELS_SUFFIX, TABLE_SUFFIX = ".nuclei.png", ".nuclei.csv"
SHOWN = 5  # names of skipped files


@dataclass(frozen=True)
class Outcome:
    """A row of segment.csv: an image and what came of it.

    Attributes:
        image: the file's name.
        width: in pixels; this and what follows is None as far as the image could not be read.
        height: in pixels.
        um_per_pixel: micrometres per pixel.
        source: who states that; "default" is the model's resolution, for want of a statement.
        nuclei: how many were found.
        error: why there are none.
    """

    image: str
    width: int | None = None
    height: int | None = None
    um_per_pixel: float | None = None
    source: str | None = None
    nuclei: int | None = None
    error: str | None = None


def images_of(named: Sequence[Path], output: Path) -> list[Path]:
    """The images to segment: files as they are named, folders replaced by the images in them.

    Whatever else lies in a folder is skipped, which is said on standard error: subfolders, hidden
    files, files of other kinds and the label maps of an earlier run.

    Args:
        named: files and folders.
        output: the folder of the results.

    Raises:
        PipelineError: a folder has no image, two images have the same name but for case and suffix,
            or a result would replace an image.
    """
    paths: dict[Path, None] = {}
    for path in named:
        paths |= dict.fromkeys(_images_in(path) if path.is_dir() else [path])
    places = {path.parent.resolve() / path.name for path in paths}
    first: dict[str, Path] = {}
    for path in paths:
        # As file systems compare names that ignore case or composition.
        other = first.setdefault(unicodedata.normalize("NFC", path.stem).casefold(), path)
        if other != path:
            raise PipelineError(
                f"{other} and {path} have the same name, so that their results would replace each "
                "other; rename one, or segment them into separate folders"
            )
        if output.resolve() / f"{path.stem}{LABELS_SUFFIX}" in places:
            raise PipelineError(
                f"{output / path.stem}{LABELS_SUFFIX} is among the images, but the result of "
                f"{path} would replace it; give another --output"
            )
    return list(paths)


def inspected(path: Path, *, given: float | None, default: float) -> tuple[Outcome, str | None]:
    """Read one image whole: its size and resolution, or why it cannot be segmented.

    Args:
        path: of the image.
        given: the user's micrometres per pixel, which override the image's own.
        default: micrometres per pixel if neither says.

    Returns:
        The outcome so far, and a remark on its resolution if there is something to know.
    """
    try:
        content = read_image(path)
        height, width = decode_rgb(content, name=str(path)).shape[:2]
    except (PipelineError, OSError) as error:
        return Outcome(path.name, error=explained(error)), None
    found, remark = settle(stated_by_image(content), given=given)
    um_per_pixel = found.um_per_pixel
    if found.source == ASSUMED:
        um_per_pixel = default
        assumed = f"no resolution stated, the model's {default:g} um per pixel assumed"
        remark = "; ".join(filter(None, [remark, f"{assumed} (--um-per-pixel sets it)"]))
    return Outcome(path.name, width, height, um_per_pixel, found.source), remark


def read_image(path: Path) -> bytes:
    """An image file's bytes.

    Raises:
        PipelineError: it is missing, no file, or too large to be an image that is allowed.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: no such file; correct the path")
    if path.stat().st_size > BYTES_MAX:
        raise PipelineError(
            f"{path}: {path.stat().st_size} bytes, but at most {BYTES_MAX} are allowed; "
            "export the region of interest alone"
        )
    return path.read_bytes()


def _images_in(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    images = [path for path in entries if _is_image(path)]
    skipped = [path.name for path in entries if not _is_image(path)]
    if skipped:
        more = ", ..." if len(skipped) > SHOWN else ""
        names = ", ".join(skipped[:SHOWN])
        tell(f"{folder}: {len(skipped)} skipped that are no images: {names}{more}")
    if not images:
        raise PipelineError(f"{folder}: no image in it; give a folder that holds images itself")
    return images


def _is_image(path: Path) -> bool:
    return (
        path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(LABELS_SUFFIX)
        and path.is_file()
    )
