"""What a TIF of any size holds, by its tags: OpenSlide turns whatever it reads into 8-bit RGB."""

from pathlib import Path
from typing import TYPE_CHECKING

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX
from monuseg.readers import tifs
from monuseg.readers.decoding import DAMAGE, quiet
from monuseg.readers.raster import BYTES_MAX, UPRIGHT

if TYPE_CHECKING:
    from tifffile import TiffPage

# Photometric interpretations: RGB and YCbCr.
COLOURS = (2, 6)


def is_plain(path: Path) -> bool:
    """Whether a TIF is small enough to be decoded whole, or too damaged to tell."""
    pages = _pages(path)
    small = not pages or pages[0].imagewidth * pages[0].imagelength <= PIXELS_MAX
    return small and path.stat().st_size <= BYTES_MAX


def require_one_rgb(path: Path) -> str | None:
    """Refuse a TIF whose first page is not all of the image, or not 8-bit RGB.

    Returns:
        A remark if it has further pages that are not marked as its reduced levels.

    Raises:
        PipelineError: it has planes, channels or images of the same size, is of another kind than
            8-bit RGB, or stored rotated.
    """
    pages = _pages(path)
    if not pages:
        return None  # OpenSlide says what is wrong with it
    first, *others = pages
    if any(page.shape[:2] == first.shape[:2] for page in others):
        raise PipelineError(
            f"{path}: holds several pages of one size, as planes or channels; save the RGB image "
            "of one plane alone"
        )
    channels = first.samplesperpixel - len(first.extrasamples)
    if first.bitspersample != 8 or channels != 3 or first.photometric not in COLOURS:
        raise PipelineError(
            f"{path}: expected 8-bit RGB, found {first.samplesperpixel} channels of "
            f"{first.bitspersample} bits, photometric {int(first.photometric)}; save it as RGB"
        )
    if first.tags.valueof(tifs.ORIENTATION, UPRIGHT) != UPRIGHT:
        raise PipelineError(f"{path}: is stored rotated; save it upright")
    unmarked = sum(not page.is_reduced for page in others)
    return f"its further pages ({unmarked}) are not read" if unmarked else None


def _pages(path: Path) -> "list[TiffPage]":
    """The pages of a TIF, none if they cannot be told."""
    from tifffile import TiffFile, TiffPage

    try:
        with quiet(), TiffFile(path) as file:
            chain = file.pages
            return [
                page
                for page in map(chain.__getitem__, range(min(len(chain), tifs.PAGES_MAX)))
                if isinstance(page, TiffPage)
            ]
    except DAMAGE:
        return []
