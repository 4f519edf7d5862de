"""What the cases are made of: images, annotations and archives, whole and spoilt."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

HEIGHT, WIDTH = 24, 32
SQUARE = [(4, 4), (9, 4), (9, 9), (4, 9)]  # 5 x 5 pixels by the official rule

Outline = Iterable[tuple[object, object]]


def pixels(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | npt.NDArray[Any], kind: str = "TIFF", **options: Any) -> bytes:
    """An image file of an array or of a Pillow image."""
    content = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(content, kind, **options)
    return content.getvalue()


def png_that_declares(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of some hundred bytes with any size in its header."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def tif_with(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIF whose tag has another value (of one number)."""
    changed = bytearray(content)
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        found, kind, count = struct.unpack_from("<HHI", content, place)
        if found == tag:
            assert count == 1
            struct.pack_into({3: "<H", 4: "<I"}[kind], changed, place + 8, value)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


def region(outline: Outline) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in outline)
    return f'<Region Id="1"><Vertices>{vertices}</Vertices></Region>'


def layer(*outlines: Outline) -> str:
    return f"<Annotation><Regions>{''.join(map(region, outlines))}</Regions></Annotation>"


def xml(*outlines: Outline) -> bytes:
    """An annotation of one layer."""
    return document(layer(*outlines))


def document(content: str) -> bytes:
    return f'<Annotations MicronsPerPixel="0.25">{content}</Annotations>'.encode()


def pair(name: str = "a", seed: int = 0) -> dict[str, bytes]:
    """A whole image with its whole annotation."""
    return {f"{name}.tif": encoded(pixels(seed)), f"{name}.xml": xml(SQUARE)}


def packed(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        for name, member in files.items():
            file.writestr(name, member)
    return content.getvalue()


def put_archive(content: bytes, name: str = "train.zip") -> Path:
    path = Path("data/archives") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
