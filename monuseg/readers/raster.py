"""Images from other sources: TIF and PNG files, decoded only after their header was checked.

Pillow reads them, not OpenCV, which decodes before the header can be checked, rotates images that
are stored rotated, takes inks for colours, and logs messages where it should fail.
"""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from monuseg.core.errors import PipelineError

# At the density of the challenge's images, 16 bits can number the nuclei of this many pixels.
PIXELS_MAX = 100_000_000
# That many pixels at 8 bits in four channels, with room for a header.
BYTES_MAX = 1 << 29
FORMATS = ("TIFF", "PNG")
# What Pillow raises for damaged, unsupported or oversized files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    RuntimeError,  # includes NotImplementedError
)
PNG_BIT_DEPTH = 24  # position of the byte in the file
TIF_BITS, TIF_SAMPLES = 258, 277  # tags
ORIENTATION, UPRIGHT = 0x0112, 1  # of Exif, and of TIF
STANDARD_ERROR = 2  # file descriptor
OPAQUE = 255
FOREGROUND = 255
KINDS = {
    "1": "black and white",
    "L": "greyscale",
    "I": "greyscale",
    "F": "floating-point greyscale",
    "LA": "greyscale with opacity",
    "P": "a palette",
    "PA": "a palette with opacity",
    "RGB": "RGB",
    "RGBA": "RGB with opacity",
    "CMYK": "CMYK, which are inks",
    "LAB": "CIE Lab",
    "YCbCr": "YCbCr",
}

_ONE_AT_A_TIME = threading.Lock()


def decode_rgb(content: bytes, *, name: str) -> npt.NDArray[np.uint8]:
    """Decode an image of tissue as (height, width, 3) uint8 RGB.

    Opaque palettes are converted and a fully opaque alpha channel is dropped; neither loses
    anything. Anything else that is not 8-bit RGB is refused, since only its owner knows how to
    convert it.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Raises:
        PipelineError: it is damaged, too large, of another kind, holds several pages, or is stored
            rotated, so that the orientation of its outlines is unclear.
    """
    with _opened(content, name) as image:
        bits, kind = _bits(image, content), _kind(image)
        if image.mode in ("P", "RGB") and "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode == "P":
            image = image.convert("RGB")
        if bits > 8 or image.mode not in ("RGB", "RGBA"):
            raise PipelineError(
                f"{name}: expected 8-bit RGB, found {bits}-bit {kind}; convert it to 8-bit RGB"
            )
        pixels = np.asarray(image, np.uint8)
    if pixels.shape[2] == 3:
        return pixels
    if np.any(pixels[..., 3] != OPAQUE):
        raise PipelineError(
            f"{name}: expected 8-bit RGB, found transparent pixels; "
            "flatten it on the background that it should have"
        )
    return np.ascontiguousarray(pixels[..., :3])


def decode_mask(content: bytes, *, name: str) -> npt.NDArray[np.uint8]:
    """Decode a binary mask as (height, width) uint8, 0 background and 255 nuclei.

    Every pixel that is not black is nucleus; opacity does not count.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Raises:
        PipelineError: as `decode_rgb`; or the mask is in colours.
    """
    with _opened(content, name) as image:
        bits, kind = _bits(image, content), _kind(image)
        if image.mode in ("P", "PA"):
            image = image.convert("RGB")
        known = image.mode in ("1", "L", "LA", "RGB", "RGBA") or image.mode[0] == "I"
        if not known or (bits > 8 and image.mode[0] != "I"):
            raise PipelineError(
                f"{name}: a mask of {bits}-bit {kind}; save it with one channel, 0 and 255"
            )
        decoded = np.asarray(image)
    if decoded.ndim == 3:
        colours = decoded[..., : 3 if decoded.shape[2] > 2 else 1]
        if np.any(colours != colours[..., :1]):
            raise PipelineError(f"{name}: a mask in colours; save it with one channel, 0 and 255")
        decoded = colours[..., 0]
    return np.where(decoded != 0, np.uint8(FOREGROUND), np.uint8(0))


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    """Decode an image after its header has been checked."""
    if not content:
        raise PipelineError(f"{name}: an empty file; fetch or export it again")
    try:
        with _quiet(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height <= PIXELS_MAX:
                _check_layout(image, name)
                image.load()
    except Image.DecompressionBombError as error:  # far beyond the limit, so Pillow asks first
        raise _too_large("declares an enormous size", name) from error
    except DAMAGE as error:
        raise PipelineError(
            f"{name}: not a complete and readable TIF or PNG ({_words(error)}); "
            "fetch or export it again"
        ) from error
    if width * height > PIXELS_MAX:
        raise _too_large(f"{width} x {height} pixels", name)
    yield image


def _too_large(found: str, name: str) -> PipelineError:
    return PipelineError(
        f"{name}: {found}, but at most {PIXELS_MAX} pixels are allowed; cut it into smaller images"
    )


def _check_layout(image: Image.Image, name: str) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise PipelineError(
            f"{name}: holds {pages} pages; save the one that the annotation belongs to alone"
        )
    orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    if orientation != UPRIGHT:
        raise PipelineError(
            f"{name}: is stored rotated (orientation {orientation}), and it is unknown whether "
            "the annotation is too; save it upright"
        )
    samples = _tag(image, TIF_SAMPLES)
    if samples and samples != len(image.getbands()):
        raise PipelineError(
            f"{name}: {samples} channels, some of unknown meaning; save it without those"
        )


def _kind(image: Image.Image) -> str:
    # "I;16B" is a greyscale of 16 bits, the most significant byte first.
    mode = image.mode.partition(";")[0]
    return KINDS.get(mode, mode)


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits per channel in the file; Pillow's mode does not tell 16-bit RGB from 8-bit."""
    return content[PNG_BIT_DEPTH] if image.format == "PNG" else _tag(image, TIF_BITS) or 1


def _tag(image: Image.Image, tag: int) -> int:
    """The largest value of a TIF's tag, or 0 if it has none."""
    value = getattr(image, "tag_v2", {}).get(tag, 0)
    return max(value) if isinstance(value, tuple) else int(value)


def _words(error: BaseException) -> str:
    # Pillow names the object's address in memory, which differs from run to run.
    return " ".join(str(error).split()).partition("<_io.")[0].strip() or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep standard error clear of warnings and of what libtiff and libpng print themselves.

    Their messages would clutter the one line of an error, and an exception reports any failure. All
    threads share the file descriptor, so they take turns.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(), Path(os.devnull).open("wb") as nowhere:
        warnings.simplefilter("ignore")
        kept = os.dup(STANDARD_ERROR)
        try:
            os.dup2(nowhere.fileno(), STANDARD_ERROR)
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
