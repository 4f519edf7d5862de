"""Images from other sources, decoded only after their header was checked.

Pillow reads them, not OpenCV, which decodes before the header can be checked, rotates images that
are stored rotated, takes inks for colours, and logs messages where it should fail. A file is what
its bytes say, whatever its suffix.
"""

import io
import math
from dataclasses import dataclass
from itertools import islice
from tokenize import TokenError

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from PIL import Image, UnidentifiedImageError

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX
from monuseg.readers import tifs
from monuseg.readers.decoding import DAMAGE, quiet
from monuseg.readers.instances import FOREGROUND, Kind, as_ground_truth

# That many pixels at 8 bits in four channels, with room for a header.
BYTES_MAX = 1 << 29
# As Pillow names them.
LOSSLESS = ("TIFF", "PNG", "BMP")
FORMATS = (*LOSSLESS, "JPEG", "JPEG2000", "WEBP")
# How names of such files end, for telling images from other files; the bytes decide.
SUFFIXES = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".jp2", ".j2k", ".webp", ".svs"}
)
# What people have besides: where a file says so, and how.
UNREAD = (
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"ftyp", "HEIF or AVIF"),
    (0, b"GIF8", "GIF"),
    (128, b"DICM", "DICOM"),
)
# Each scan of a progressive JPEG goes over all pixels, and may have a few bytes. Encoders write 10.
SCAN, SCANS_MAX = b"\xff\xda", 32
PNG_BIT_DEPTH = 24  # position of the byte in the file
UPRIGHT = 1  # orientation
OPAQUE = 255
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
    decoded = _decoded(content, name)
    image = decoded.image
    if image.mode in ("P", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if decoded.bits > 8 or image.mode not in ("RGB", "RGBA"):
        raise PipelineError(
            f"{name}: expected 8-bit RGB, found {decoded.kind}; convert it to 8-bit RGB"
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


def is_plain_tif(content: bytes) -> bool:
    """Whether stage extract may keep an image as it is: `formats.images.read_rgb` reads the same.

    Args:
        content: of a file that `decode_rgb` took.
    """
    if content[:4] not in tifs.STARTS:
        return False
    with quiet():
        first, *others = islice(tifs.pages(content), 2)
        return not others and tifs.number(first, tifs.COMPRESSION, 1) not in tifs.SEGMENTED


def decode_map(
    content: bytes, *, name: str
) -> tuple[Kind, npt.NDArray[np.uint8] | npt.NDArray[np.uint16]]:
    """Decode ground truth: a TIF, PNG or BMP with one channel, or a NumPy array (`.npy`).

    Opacity does not count, and three equal channels are one. Of a palette the colours count if all
    are grey, else the numbers, as QuPath writes them. Whether the numbers are instances is decided
    by `monuseg.readers.instances.as_ground_truth`.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Returns:
        "label-map" and (height, width) uint16, 0 background and instances 1..n in the order of
        their numbers in the file, whose gaps are closed; or "binary-mask" and (height, width)
        uint8, 0 background and 255 nuclei.

    Raises:
        PipelineError: as `decode_rgb`; or it is in colours, of a format or compression that changes
            values, or neither instances nor a mask.
    """
    if content.startswith(npy.MAGIC_PREFIX):
        values = _array(content, name)
    else:
        values = _one_channel(content, name)
    return as_ground_truth(values, name=name)


def decode_mask(content: bytes, *, name: str) -> npt.NDArray[np.uint8]:
    """Decode a binary mask as (height, width) uint8, 0 background and 255 nuclei.

    Every pixel that is not 0 is nucleus; see `decode_map` for what else counts.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Raises:
        PipelineError: as `decode_rgb`; or the mask is in colours.
    """
    return np.where(_one_channel(content, name) != 0, np.uint8(FOREGROUND), np.uint8(0))


def _array(content: bytes, name: str) -> npt.NDArray[np.integer]:
    """Read a `.npy` file of (height, width) whole numbers; floats may be whole as well."""
    file = io.BytesIO(content)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        if len(shape) != 2 or dtype.kind not in "biuf":
            raise PipelineError(
                f"{name}: an array of shape {shape} and {dtype}; save (height, width) whole "
                "numbers, one per nucleus"
            )
        if 0 in shape:
            raise ValueError(f"shape {shape}")
        if math.prod(shape) > PIXELS_MAX:
            raise _too_large(f"{shape[1]} x {shape[0]} pixels", name)
        file.seek(0)
        array = npy.read_array(file, allow_pickle=False)
    except (*DAMAGE, TokenError) as error:
        raise PipelineError(
            f"{name}: not a complete and readable NumPy array ({_words(error)}); export it again"
        ) from error
    if dtype.kind != "f":
        return array.astype(np.uint8) if dtype.kind == "b" else array
    whole = array.astype(np.int64) if np.all(np.abs(array) < 2**53) else None
    if whole is None or np.any(whole != array):
        raise PipelineError(
            f"{name}: holds numbers that are not whole; save one whole number per nucleus, or a "
            "mask of 0 and 255"
        )
    return whole


def _one_channel(content: bytes, name: str) -> npt.NDArray[np.integer]:
    """Decode (height, width) whole numbers."""
    decoded = _decoded(content, name)
    image = decoded.image
    if decoded.lossy:
        raise PipelineError(
            f"{name}: a mask stored as {decoded.lossy}, which changes its values near edges; "
            "export it as PNG from where it was drawn"
        )
    wide = image.mode[0] == "I"
    known = image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
    if not (wide or (known and decoded.bits <= 8)):
        raise PipelineError(
            f"{name}: a mask of {decoded.kind}; save it with one channel: 0 and 255, or one whole "
            "number per nucleus"
        )
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    if image.mode in ("P", "PA"):
        colours = np.asarray(image.convert("RGB"))
        if _is_grey(colours):
            pixels = colours[..., 0]
    elif image.mode == "I" and decoded.unsigned:
        pixels = pixels.view(np.uint32)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] > 2 and not _is_grey(pixels[..., :3]):
        raise PipelineError(
            f"{name}: a mask in colours; save it with one channel: 0 and 255, or one whole number "
            "per nucleus (16-bit)"
        )
    return pixels[..., 0]


def _is_grey(pixels: npt.NDArray[np.generic]) -> bool:
    return bool(np.all(pixels == pixels[..., :1]))


@dataclass(frozen=True)
class _Decoded:
    """An image and what its mode does not tell.

    Attributes:
        image: decoded.
        bits: per channel in the file; Pillow's mode does not tell 16-bit RGB from 8-bit.
        lossy: the compression, if it is one that changes values.
        unsigned: whether numbers of 32 bits are.
    """

    image: Image.Image
    bits: int
    lossy: str
    unsigned: bool

    @property
    def kind(self) -> str:
        # "I;16B" is a greyscale of 16 bits, the most significant byte first.
        mode = self.image.mode.partition(";")[0]
        return f"{self.bits}-bit {KINDS.get(mode, mode)}"


def _decoded(content: bytes, name: str) -> _Decoded:
    """Decode an image after its header has been checked."""
    if not content:
        raise PipelineError(f"{name}: an empty file; fetch or export it again")
    for place, mark, known in UNREAD:
        if content.startswith(mark, place):
            raise PipelineError(f"{name}: {known}, which is not read; save it as PNG or TIF")
    try:
        with quiet():
            if content[:4] in tifs.STARTS:
                return _decoded_tif(content, name)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check(image, name)
                if image.format == "JPEG" and image.fp:
                    # Pillow has read up to the first scan, and none of what follows is text.
                    scans = 1 + content.count(SCAN, image.fp.tell())
                    if scans > SCANS_MAX:
                        raise ValueError(f"{scans} scans")
                image.load()
                bits = _bits(image, content)
    except Image.DecompressionBombError as error:  # far beyond the limit, so Pillow asks first
        raise _too_large("declares an enormous size", name) from error
    except DAMAGE as error:
        raise PipelineError(
            f"{name}: not a complete and readable image: TIF, PNG, JPEG, JPEG 2000, WebP or BMP "
            f"({_words(error)}); fetch or export it again"
        ) from error
    lossy = "" if image.format in LOSSLESS else str(image.format)
    return _Decoded(image, bits, lossy, unsigned=True)


def _bits(image: Image.Image, content: bytes) -> int:
    if image.format == "PNG":
        return content[PNG_BIT_DEPTH]
    if image.format == "JPEG2000":
        return tifs.jpeg2000_bits(content)
    return 1 if image.mode == "1" else 8


def _decoded_tif(content: bytes, name: str) -> _Decoded:
    page = tifs.image_page(content, name=name)
    compression = tifs.require_readable(page, name=name)
    _check_size(tifs.number(page, tifs.WIDTH), tifs.number(page, tifs.HEIGHT), name)
    tifs.require_close_tiles(page)
    bits = tifs.number(page, tifs.BITS, 1)
    if compression in tifs.SEGMENTED:
        _check_orientation(tifs.number(page, tifs.ORIENTATION, UPRIGHT), name)
        image = tifs.decode_segments(content, page)
    else:
        try:
            image = Image.open(io.BytesIO(content), formats=["TIFF"])
        except UnidentifiedImageError as error:
            raise PipelineError(
                f"{name}: a TIF with {bits}-bit numbers of a kind that is not read; "
                "save it with 8 or 16 bits per channel"
            ) from error
        with image:
            _check(image, name)
            samples = tifs.number(page, tifs.SAMPLES, 1)
            if samples != len(image.getbands()):
                raise PipelineError(
                    f"{name}: {samples} channels, some of unknown meaning; save it without those"
                )
            image.load()
    unsigned = tifs.number(page, tifs.SAMPLE_FORMAT, 1) == 1
    return _Decoded(image, bits, tifs.LOSSY.get(compression, ""), unsigned)


def _check(image: Image.Image, name: str) -> None:
    """Check what the header says; of a TIF all but the pages, which Pillow is slow to count."""
    _check_size(*image.size, name)
    pages = 1 if image.format == "TIFF" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise PipelineError(
            f"{name}: holds {pages} pages; save the one that the annotation belongs to alone"
        )
    _check_orientation(image.getexif().get(tifs.ORIENTATION, UPRIGHT), name)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > PIXELS_MAX:
        raise _too_large(f"{width} x {height} pixels", name)


def _check_orientation(orientation: int, name: str) -> None:
    if orientation != UPRIGHT:
        raise PipelineError(
            f"{name}: is stored rotated (orientation {orientation}), and it is unknown whether "
            "the annotation is too; save it upright"
        )


def _too_large(found: str, name: str) -> PipelineError:
    return PipelineError(
        f"{name}: {found}, but at most {PIXELS_MAX} pixels are allowed; cut it into smaller images"
    )


def _words(error: BaseException) -> str:
    # Pillow names the object's address in memory, which differs from run to run.
    return " ".join(str(error).split()).partition("<_io.")[0].strip() or type(error).__name__
