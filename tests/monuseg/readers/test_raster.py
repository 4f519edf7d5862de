"""Tests of `monuseg.readers.raster`: what is decoded, and what is refused, by its bytes."""

import base64
import io
import struct
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from monuseg.core.errors import PipelineError
from monuseg.formats.images import read_rgb
from monuseg.readers.raster import decode_map, decode_mask, decode_rgb, is_plain_tif
from tests.bad_input.making import tif_with

HEIGHT, WIDTH = 48, 64
RGB = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
YCBCR, APERIO_RGB, JPEG_2000, WEBP = 33003, 33005, 34712, 50001  # compressions
REDUCED, BITS, ORIENTATION = 254, 258, 274  # tags


def encoded(image: Image.Image | npt.NDArray[Any], kind: str = "TIFF", **options: Any) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def codestream(image: Image.Image | npt.NDArray[Any], *, transformed: bool = True) -> bytes:
    return encoded(image, "JPEG2000", no_jp2=True, mct=int(transformed))


def strips(
    segments: Sequence[bytes], compression: int, rows: int, shape: tuple[int, int] = (HEIGHT, WIDTH)
) -> bytes:
    """A TIF of 8-bit RGB in strips of so many rows, each encoded already."""
    tags = ImageFileDirectory_v2(prefix=b"II")
    tags[257], tags[256] = shape
    tags[258], tags[259], tags[262], tags[277], tags[278] = (8, 8, 8), compression, 2, 3, rows
    sizes = tuple(map(len, segments))
    tags[279] = sizes
    # Pillow writes them relative to the end of the tags.
    tags[273] = tuple(sum(sizes[:index]) for index in range(len(sizes)))
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + b"".join(segments)


def tiles(image: npt.NDArray[np.uint8], side: int, compression: int, **options: Any) -> bytes:
    """A TIF of 8-bit RGB in square tiles of JPEG 2000, padded at the right and at the bottom."""
    height, width, _ = image.shape
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)))
    segments = [
        codestream(padded[y : y + side, x : x + side], **options)
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    tags = ImageFileDirectory_v2(prefix=b"II")
    tags[257], tags[256] = height, width
    tags[258], tags[259], tags[262], tags[277] = (8, 8, 8), compression, 2, 3
    tags[322] = tags[323] = side
    sizes = tuple(map(len, segments))
    tags[324] = tuple(8 + sum(sizes[:index]) for index in range(len(sizes)))
    tags[325] = sizes
    end = 8 + sum(sizes)
    return b"II*\0" + struct.pack("<I", end) + b"".join(segments) + tags.tobytes(end)


def array_file(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pyramid(*pages: npt.NDArray[np.uint8], description: str = "") -> bytes:
    first, *others = map(Image.fromarray, pages)
    return encoded(first, save_all=True, append_images=others, description=description)


def looping() -> bytes:
    content = bytearray(encoded(RGB))
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    struct.pack_into("<I", content, directory + 2 + 12 * entries, directory)
    return bytes(content)


LOSSLESS = {
    "JPEG 2000 file": encoded(RGB, "JPEG2000"),
    "JPEG 2000 codestream": codestream(RGB),
    "WebP": encoded(RGB, "WEBP", lossless=True),
    "BMP": encoded(RGB, "BMP"),
    "TIF, JPEG 2000 in one strip": strips([codestream(RGB)], JPEG_2000, HEIGHT),
    "TIF, JPEG 2000 in strips, the last shorter": strips(
        [codestream(RGB[:32]), codestream(RGB[32:])], APERIO_RGB, 32
    ),
    "TIF, JPEG 2000 in tiles beyond the image": tiles(RGB[:45, :50], 32, JPEG_2000),
    "TIF, JPEG 2000 without a transform of colours": tiles(RGB, 32, APERIO_RGB, transformed=False),
    "TIF, Aperio's YCbCr, already transformed": tiles(RGB, 32, YCBCR),
    "TIF, WebP": strips([encoded(RGB, "WEBP", lossless=True)], WEBP, HEIGHT),
    "Aperio with a thumbnail": pyramid(RGB, RGB[:9, :9], description="Aperio Image Library v11"),
    "TIF whose next page is itself": looping(),
    "BigTIFF": encoded(RGB, big_tiff=True),
}


@pytest.mark.parametrize("content", LOSSLESS.values(), ids=LOSSLESS)
def test_an_image_of_any_lossless_format_is_decoded(content: bytes) -> None:
    found = decode_rgb(content, name="a")
    assert found.dtype == np.uint8
    assert np.array_equal(found, RGB[: found.shape[0], : found.shape[1]])
    assert found.shape in ((HEIGHT, WIDTH, 3), (45, 50, 3))


def test_a_jpeg_is_decoded_whatever_its_name_says() -> None:
    smooth = np.full((HEIGHT, WIDTH, 3), (200, 120, 160), np.uint8)
    found = decode_rgb(encoded(smooth, "JPEG", quality=95), name="really_a_jpeg.tif")
    assert np.abs(found.astype(int) - smooth).max() <= 2


def test_aperios_ycbcr_becomes_rgb() -> None:
    smooth = np.full((HEIGHT, WIDTH, 3), (200, 120, 160), np.uint8)
    inks = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    content = tiles(inks, 32, YCBCR, transformed=False)
    assert np.abs(decode_rgb(content, name="a").astype(int) - smooth).max() <= 2


# 16 x 16 pixels of one YCbCr colour, which is RGB (200, 120, 160), chroma at half the width:
# opj_compress -F 16,16,3,8,u@1x1:2x1:2x1 -mct 0 -n 1
SUBSAMPLED = base64.b64decode(
    "/0//UQAvAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAADBwEBBwIBBwIB/1IADAAAAAEAAAQEAAH/XAAEQED/"
    "ZAAEAAH/kAAKAAAAAABCAAH/k8PnIhQAXK/0nLA8AAAAAGEhL/9/wPhGFABcrdZ/x9QoFABcry5HLQAAAAGEhLuvWABhIS//"
    "2Q=="
)


@pytest.mark.parametrize("compression", [YCBCR, JPEG_2000])
def test_chroma_of_half_the_width_becomes_rgb_once(compression: int) -> None:
    found = decode_rgb(strips([SUBSAMPLED], compression, 16, (16, 16)), name="a")
    assert np.abs(found.astype(int) - (200, 120, 160)).max() <= 2


def test_a_pyramid_is_its_full_size_if_the_other_pages_are_marked_as_reduced() -> None:
    levels = RGB[::2, ::2].copy(), RGB[::4, ::4].copy()
    with pytest.raises(PipelineError, match=r"^a: holds 3 pages; save the one"):
        decode_rgb(pyramid(RGB, *levels), name="a")
    reduced = ImageFileDirectory_v2()
    reduced[REDUCED] = 1
    marked = [Image.fromarray(level) for level in levels]
    for level in marked:
        level.encoderinfo = {"tiffinfo": reduced}
    content = encoded(RGB, save_all=True, append_images=marked)
    assert np.array_equal(decode_rgb(content, name="a"), RGB)
    assert not is_plain_tif(content)


def test_several_images_of_one_size_are_no_pyramid() -> None:
    content = pyramid(RGB, RGB[::-1].copy(), description="Aperio Image Library v11")
    with pytest.raises(PipelineError, match=r"^a: holds 2 pages; save the one"):
        decode_rgb(content, name="a")


PLAIN = {
    "none": encoded(RGB),
    "LZW": encoded(RGB, compression="tiff_lzw"),
    "JPEG": encoded(RGB, compression="jpeg"),
}


@pytest.mark.parametrize("content", PLAIN.values(), ids=PLAIN)
def test_a_plain_tif_is_read_as_it_was_decoded(content: bytes, tmp_path: Any) -> None:
    assert is_plain_tif(content)
    (tmp_path / "a.tif").write_bytes(content)
    assert np.array_equal(read_rgb(tmp_path / "a.tif"), decode_rgb(content, name="a"))


TO_KEEP = ("BigTIFF", "TIF whose next page is itself")


@pytest.mark.parametrize("name", LOSSLESS)
def test_only_a_tif_of_one_page_that_pillow_reads_is_plain(name: str) -> None:
    assert is_plain_tif(LOSSLESS[name]) == (name in TO_KEEP)


def rotated(kind: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(RGB, kind, exif=exif)


def declares(stream: bytes, width: int, height: int) -> bytes:
    """A JPEG 2000 codestream of another size."""
    return stream[:8] + struct.pack(">II", width, height) + stream[16:]


def many_scans() -> bytes:
    content = encoded(RGB, "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + 40 * last + content[-2:]


def empty_pages(number: int) -> bytes:
    """A TIF with so many further pages of one tag."""
    content = bytearray(encoded(RGB))
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    end = len(content)
    struct.pack_into("<I", content, directory + 2 + 12 * entries, end)
    page = struct.Struct("<HHHIII")
    for index in range(number):
        following = end + page.size * (index + 1) if index < number - 1 else 0
        content += page.pack(1, REDUCED, 4, 1, 0, following)
    return bytes(content)


def huge_tags() -> bytes:
    """A TIF that declares 3 million strips, and has room for them."""
    numbers = 3_000_000
    end = 8 + 4 * numbers
    entry = struct.pack("<HHHIII", 1, 273, 4, numbers, 8, 0)
    return b"II*\0" + struct.pack("<I", end) + bytes(4 * numbers) + entry


def wide_tiles(count: int) -> bytes:
    """A TIF one pixel wide, whose tiles are all the same bytes and lie beside the image."""
    across, down = 16_384, 1_024
    segment = zlib.compress(bytes(across * down * 3))
    tags = ImageFileDirectory_v2(prefix=b"II")
    tags[257], tags[256] = count * down, 1
    tags[258], tags[259], tags[262], tags[277] = (8, 8, 8), 8, 2, 3
    tags[322], tags[323] = across, down
    tags[324], tags[325] = (8,) * count, (len(segment),) * count
    end = 8 + len(segment)
    return b"II*\0" + struct.pack("<I", end) + segment + tags.tobytes(end)


NOT_WHOLE = "not a complete and readable image: TIF, PNG, JPEG, JPEG 2000, WebP or BMP"
REFUSED = {
    "JPEG XL": (b"\xff\x0a" + bytes(40), "JPEG XL, which is not read; save it as PNG or TIF"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL, which is not read"),
    "AVIF": (b"\0\0\0\x20ftypavif" + bytes(40), "HEIF or AVIF, which is not read"),
    "GIF": (encoded(Image.fromarray(RGB).quantize(8), "GIF"), "GIF, which is not read"),
    "TIF of JPEG XL": (strips([b"x"], 50002, HEIGHT), r"compression 50002 \(JPEG XL\) of TIF"),
    "TIF of an unknown kind": (strips([b"x"], 9999, HEIGHT), r"compression 9999 \(unknown\)"),
    "JPEG of inks": (encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "8-bit CMYK, which"),
    "JPEG, grey": (encoded(RGB[..., 0], "JPEG"), "found 8-bit greyscale"),
    "JPEG 2000 of 16 bits": (encoded(RGB[..., 0].astype(np.uint16), "JPEG2000"), "found 16-bit"),
    "JPEG, rotated": (rotated("JPEG"), r"is stored rotated \(orientation 6\)"),
    "WebP, rotated": (rotated("WEBP"), r"is stored rotated \(orientation 6\)"),
    "WebP, transparent": (
        encoded(np.dstack([RGB, RGB[..., :1]]), "WEBP", lossless=True),
        "found transparent pixels",
    ),
    "WebP, animated": (
        encoded(
            Image.fromarray(RGB),
            "WEBP",
            save_all=True,
            append_images=[Image.fromarray(RGB[::-1].copy())],
        ),
        "holds 2 pages",
    ),
    "JPEG of 41 empty scans more": (many_scans(), f"{NOT_WHOLE} .*scans"),
    "40,000 empty pages": (empty_pages(40_000), "holds more than 64 pages"),
    "3 million strips": (huge_tags(), f"{NOT_WHOLE} .*3000000 numbers in the tags"),
    "tiles beside the image": (wide_tiles(12), f"{NOT_WHOLE} .*tiles of 201326592 pixels in all"),
    "JPEG 2000 of too many pixels": (
        declares(codestream(RGB), 12_000, 12_000),
        "pixels are allowed",
    ),
    "a tile of another size than declared": (
        strips([codestream(RGB[:, :32])], JPEG_2000, HEIGHT),
        f"{NOT_WHOLE} .*a tile or strip of",
    ),
    "a tile that declares billions of pixels": (
        strips([declares(codestream(RGB), 60_000, 60_000)], JPEG_2000, HEIGHT),
        "pixels are allowed",
    ),
    "too few strips": (strips([codestream(RGB)], JPEG_2000, 24), f"{NOT_WHOLE} .*in place of 2"),
    "strips of zero rows": (strips([codestream(RGB)], JPEG_2000, 0), NOT_WHOLE),
    "a TIF without a page": (b"II*\0\0\0\0\0", f"{NOT_WHOLE} .*no page"),
    "a TIF that ends in its header": (b"II*\0\x08", NOT_WHOLE),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_is_refused_in_a_line_and_at_once(
    content: bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    with pytest.raises(PipelineError, match=rf"^a: .*{said}") as caught:
        decode_rgb(content, name="a")
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        encoded(RGB, "JPEG"),
        encoded(RGB, "JPEG2000"),
        codestream(RGB),
        encoded(RGB, "WEBP"),
        encoded(RGB, "BMP"),
        strips([codestream(RGB)], JPEG_2000, HEIGHT),
    ],
    ids=["JPEG", "JPEG 2000", "codestream", "WebP", "BMP", "TIF of JPEG 2000"],
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.9999])
def test_a_file_cut_short_is_refused(content: bytes, share: float) -> None:
    with pytest.raises(PipelineError, match=f"^a: {NOT_WHOLE}"):
        decode_rgb(content[: int(len(content) * share)], name="a")


LABELS = np.zeros((HEIGHT, WIDTH), np.uint16)
LABELS[4:14, 4:14], LABELS[4:14, 14:24], LABELS[30:40, 30:50] = 7, 300, 65_535
DENSE = np.searchsorted([0, 7, 300, 65_535], LABELS)
SMALL = DENSE.astype(np.uint8)


def palette(colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(SMALL)
    image.putpalette([value for colour in colours for value in colour])
    return image


INSTANCES = {
    "16-bit PNG": encoded(LABELS, "PNG"),
    "16-bit TIF": encoded(LABELS, compression="tiff_lzw"),
    "32-bit TIF": encoded(LABELS.astype(np.int32) * 3),
    "8-bit PNG": encoded(SMALL, "PNG"),
    "8-bit BMP": encoded(SMALL, "BMP"),
    "colours by number, on white": encoded(
        palette([(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]), "PNG"
    ),
    "three equal channels": encoded(np.dstack([SMALL] * 3), "PNG"),
    "npy of int64": array_file(LABELS.astype(np.int64) * 2**40),
    "npy of whole floats": array_file(LABELS.astype(np.float64)),
    "npy in Fortran's order": array_file(np.asfortranarray(LABELS)),
}


@pytest.mark.parametrize("content", INSTANCES.values(), ids=INSTANCES)
def test_instances_come_back_numbered_in_order(content: bytes) -> None:
    kind, labels = decode_map(content, name="a")
    assert kind == "label-map"
    assert labels.dtype == np.uint16
    assert np.array_equal(labels, DENSE)


MASKS = {
    "0 and 255": encoded((SMALL > 0).astype(np.uint8) * 255, "PNG"),
    "0 and 1": encoded((SMALL > 0).astype(np.uint8), "PNG"),
    "black and white": encoded(Image.fromarray(SMALL > 0), "PNG"),
    "16 bits": encoded((SMALL > 0).astype(np.uint16) * 65_535, "PNG"),
    "npy of truth values": array_file(SMALL > 0),
    "npy of 0 and 1": array_file((SMALL > 0).astype(np.int64)),
    "a palette of greys": encoded(
        palette([(0, 0, 0), (255, 255, 255), (255, 255, 255), (255, 255, 255)]), "PNG"
    ),
}


@pytest.mark.parametrize("content", MASKS.values(), ids=MASKS)
def test_a_binary_mask_comes_back_as_0_and_255(content: bytes) -> None:
    kind, mask = decode_map(content, name="a")
    assert kind == "binary-mask"
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, (SMALL > 0) * 255)
    if content[:4] != b"\x93NUM":
        assert np.array_equal(decode_mask(content, name="a"), mask)


GROUND_TRUTH_REFUSED = {
    "JPEG": (encoded(SMALL * 80, "JPEG"), "a mask stored as JPEG, which changes its values"),
    "TIF of JPEG": (encoded(SMALL * 80, compression="jpeg"), "a mask stored as JPEG, which"),
    "WebP": (encoded(RGB, "WEBP"), "a mask stored as WEBP, which changes"),
    "coloured instances": (encoded(RGB, "PNG"), "a mask in colours; .*one whole number per nucl"),
    "floating point": (encoded(LABELS.astype(np.float32)), "a mask of 32-bit floating-point"),
    "64-bit TIF": (
        tif_with(encoded(LABELS), BITS, 64),
        "a TIF with 64-bit numbers of a kind that is not read; save it with 8 or 16 bits",
    ),
    "npy of fractions": (array_file(LABELS / 2), "numbers that are not whole; save one whole"),
    "npy of NaN": (array_file(np.full((3, 4), np.nan)), "numbers that are not whole"),
    "npy of three axes": (array_file(RGB), r"an array of shape \(48, 64, 3\) and uint8"),
    "npy of words": (array_file(np.array([["a"]])), r"an array of shape \(1, 1\) and <U1"),
    "npy of nothing": (array_file(np.zeros((0, 4))), "not a complete and readable NumPy array"),
    "npy cut short": (array_file(LABELS)[:-9], "not a complete and readable NumPy array"),
    "npy header cut short": (array_file(LABELS)[:40], "not a complete and readable NumPy array"),
    "npy of too many numbers": (
        array_file(LABELS).replace(b"(48, 64), }" + b" " * 8, b"(480000, 640000), }"),
        "640000 x 480000 pixels, but at most",
    ),
}


@pytest.mark.parametrize(
    ("content", "said"), GROUND_TRUTH_REFUSED.values(), ids=GROUND_TRUTH_REFUSED
)
def test_ground_truth_of_another_kind_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(PipelineError, match=rf"^a: .*{said}") as caught:
        decode_map(content, name="a")
    assert "; " in str(caught.value)


def test_pickled_objects_are_not_loaded() -> None:
    file = io.BytesIO()
    np.save(file, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(PipelineError, match=r"^a: an array of shape \(1, 1\) and object"):
        decode_map(file.getvalue(), name="a")
