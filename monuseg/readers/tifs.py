"""TIF files: what their pages say, and pixels in compressions that libtiff does not read.

Such pixels are tiles or strips, each of which is a JPEG 2000 or WebP file of its own. Pillow reads
those, and checks their size before it decodes.
"""

import io
import struct
from collections.abc import Iterator
from itertools import islice

from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# A pyramid of ten levels with its label, overview and thumbnail has 13.
PAGES_MAX = 64
# The largest image that is allowed, in tiles of 64 x 64 pixels, twice.
SEGMENTS_MAX = 1 << 16
# Tags, and values of theirs.
SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 256, 257, 258, 259
DESCRIPTION, ORIENTATION, SAMPLES, PLANES, SAMPLE_FORMAT = 270, 274, 277, 284, 339
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
BYTES = (1, 2, 6, 7)  # types of tags, texts included
VALUES_MAX = 1 << 20
REDUCED = 1  # bit of SUBFILE_TYPE
APERIO_YCBCR = 33003
SEGMENTED = {
    **dict.fromkeys((APERIO_YCBCR, 33004, 33005, 34712), "JPEG2000"),
    **dict.fromkeys((34927, 50001), "WEBP"),
}
# What changes values, so that no mask may be compressed by it.
LOSSY = {**SEGMENTED, 6: "JPEG", 7: "JPEG"}
UNREAD = {
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((33007, 34892), "JPEG of another kind"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    34887: "LERC",
}
# Of the header of a JPEG 2000 codestream (ISO/IEC 15444-1, annex A): how it begins, and where
# number, bit depth and sampling of the components stand; a further segment, and its place for
# whether the colours were transformed.
CODESTREAM, COMPONENTS, DEPTH, SAMPLING = b"\xff\x4f\xff\x51", 40, 42, 43
CODING, TRANSFORMED = b"\xff\x52", 8


def pages(content: bytes) -> Iterator[ImageFileDirectory_v2]:
    """The tags of one page after the other; a chain that is a loop ends where it closes."""
    seen: set[int] = set()
    file = io.BytesIO(content)
    big = b"+" in content[2:4]
    start = content[: 16 if big else 8]
    offset = ImageFileDirectory_v2(start).next
    while offset and offset not in seen:
        seen.add(offset)
        _require_few_values(content, offset, big)
        page = ImageFileDirectory_v2(start)
        page.next = 0  # stays so if the page is cut short
        file.seek(offset)
        page.load(file)
        yield page
        offset = page.next


def _require_few_values(content: bytes, offset: int, big: bool) -> None:
    """Refuse tags of so many numbers that reading them, as Pillow does at once, fills memory."""
    order = "<" if content[:2] == b"II" else ">"
    head, entry = struct.Struct(order + "HQ"[big]), struct.Struct(order + ("HHL4s", "HHQ8s")[big])
    (tags,) = head.unpack_from(content, offset)
    first = offset + head.size
    whole = content[first : first + tags * entry.size]
    whole = whole[: len(whole) - len(whole) % entry.size]
    values = sum(count for _, kind, count, _ in entry.iter_unpack(whole) if kind not in BYTES)
    if values > VALUES_MAX:
        raise ValueError(f"{values} numbers in the tags of a page")


def number(page: ImageFileDirectory_v2, tag: int, default: int = 0) -> int:
    """A tag as one whole number, the largest of several."""
    value = page.get(tag, default)
    return int(max(value) if isinstance(value, tuple) else value)


def image_page(content: bytes, *, name: str) -> ImageFileDirectory_v2:
    """The page with the image: the only one, or the first of a pyramid.

    The further pages of a pyramid are all smaller, and are either marked as reduced or of an Aperio
    file, whose thumbnail and levels are not.

    Raises:
        PipelineError: it holds several pages otherwise.
        ValueError: it holds none.
    """
    chain = islice(pages(content), PAGES_MAX + 1)
    first = next(chain, None)
    if first is None:
        raise ValueError("no page")
    aperio = str(first.get(DESCRIPTION, "")).startswith("Aperio")
    # One after the other, as a small file may have pages that share large tags.
    further = [
        (aperio or number(page, SUBFILE_TYPE) & REDUCED) and _area(page) < _area(first)
        for page in chain
    ]
    if len(further) < PAGES_MAX and all(further):
        return first
    count = 1 + len(further) if len(further) < PAGES_MAX else f"more than {PAGES_MAX}"
    raise PipelineError(
        f"{name}: holds {count} pages; save the one that the annotation belongs to alone"
    )


def require_readable(page: ImageFileDirectory_v2, *, name: str) -> int:
    """Return the compression, or refuse by its name what is not read."""
    compression = number(page, COMPRESSION, 1)
    if compression not in COMPRESSION_INFO and compression not in SEGMENTED:
        known = UNREAD.get(compression, "unknown")
        raise PipelineError(
            f"{name}: compression {compression} ({known}) of TIF is not read; "
            "save it with LZW, Deflate or none"
        )
    return compression


def require_close_tiles(page: ImageFileDirectory_v2) -> None:
    """Refuse tiles that mostly lie outside the image, as decoding them takes time all the same.

    Raises:
        ValueError: they do.
    """
    if TILE_WIDTH not in page:
        return
    area = 1
    for size, of_tile in ((WIDTH, TILE_WIDTH), (HEIGHT, TILE_HEIGHT)):
        across = number(page, of_tile)
        area *= -(-number(page, size) // across) * across
    if area > 2 * PIXELS_MAX:
        raise ValueError(f"tiles of {area} pixels in all")


def decode_segments(content: bytes, page: ImageFileDirectory_v2) -> Image.Image:
    """Decode a page whose compression is in `SEGMENTED`.

    Raises:
        ValueError: its tiles or strips are not what it declares.
    """
    compression, width, height = (number(page, tag) for tag in (COMPRESSION, WIDTH, HEIGHT))
    tiled = TILE_OFFSETS in page
    if tiled:
        across, down = number(page, TILE_WIDTH), number(page, TILE_HEIGHT)
        places, sizes = page[TILE_OFFSETS], page[TILE_BYTES]
    else:
        across, down = width, min(number(page, ROWS_PER_STRIP, height), height)
        places, sizes = page[STRIP_OFFSETS], page[STRIP_BYTES]
    expected = -(-width // across) * -(-height // down)
    if not len(places) == len(sizes) == expected <= SEGMENTS_MAX or number(page, PLANES, 1) != 1:
        raise ValueError(f"{len(places)} tiles or strips in place of {expected}")
    if sum(sizes) > len(content):
        raise ValueError("tiles or strips that share their bytes")
    image = None
    corners = ((x, y) for y in range(0, height, down) for x in range(0, width, across))
    for (x, y), place, size in zip(corners, places, sizes, strict=True):
        segment = content[place : place + size]
        with Image.open(io.BytesIO(segment), formats=[SEGMENTED[compression]]) as part:
            if part.size != (across, down if tiled else min(down, height - y)):
                raise ValueError(f"a tile or strip of {part.size} pixels")
            if part.format == "JPEG2000" and jpeg2000_bits(segment) != number(page, BITS, 1):
                raise ValueError("a tile or strip of another bit depth")
            part.load()
            image = image or Image.new(part.mode, (width, height))
            if compression == APERIO_YCBCR and not _is_rgb(segment):
                image.paste(Image.merge("YCbCr", part.split()).convert("RGB"), (x, y))
            else:
                image.paste(part, (x, y))
    if image is None:
        raise ValueError("no pixels")
    return image


def jpeg2000_bits(content: bytes) -> int:
    """Bits per channel of the first JPEG 2000 codestream in a file.

    Raises:
        ValueError: there is none.
    """
    start = content.index(CODESTREAM)
    components = int.from_bytes(content[start + COMPONENTS : start + DEPTH])
    depths = content[start + DEPTH : start + DEPTH + 3 * components : 3]
    return max(depth & 0x7F for depth in depths) + 1


def _is_rgb(codestream: bytes) -> bool:
    """Whether OpenJPEG and Pillow return RGB of a JPEG 2000 codestream without a colour space.

    They undo a transform of colours that the codestream declares, and take it for YCbCr if the
    second component is sampled more coarsely.
    """
    second = codestream.index(CODESTREAM) + SAMPLING + 3
    coding = codestream.index(CODING, second)
    return codestream[second : second + 2] != b"\1\1" or codestream[coding + TRANSFORMED] == 1


def _area(page: ImageFileDirectory_v2) -> int:
    return number(page, WIDTH) * number(page, HEIGHT)
