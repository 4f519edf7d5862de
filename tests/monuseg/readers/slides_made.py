"""Whole slides made of noise, small ones, in the layouts of scanners, for OpenSlide to read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

RGB = npt.NDArray[np.uint8]
TILE = (256, 256)
NM_PER_PIXEL = 250


def tissue(height: int, width: int, seed: int = 0) -> RGB:
    """Smooth random colours, nowhere white."""
    coarse = np.random.default_rng(seed).integers(60, 220, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.minimum(np.asarray(image), 230)


def reduced(image: RGB, factor: int) -> RGB:
    """The means of squares; what is left over at the edges is dropped, as scanners do."""
    height, width = (size // factor for size in image.shape[:2])
    squares = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(squares.mean((1, 3))).astype(np.uint8)


def aperio(
    path: Path,
    image: RGB,
    factors: Sequence[int] = (4, 16),
    stated: str = "|AppMag = 40|MPP = 0.25",
) -> Path:
    """A pyramid whose description is Aperio's; lossless, so that pixels can be compared."""
    text = f"Aperio Image Library v11.2.1 \r\n{image.shape[1]}x{image.shape[0]} (256x256){stated}"
    with tifffile.TiffWriter(path) as file:
        for level in (image, *(reduced(image, factor) for factor in factors)):
            _page(file, level, text)
    return path


def leica(
    path: Path, areas: Sequence[tuple[int, int, RGB]], glass: tuple[int, int], objective: int = 40
) -> Path:
    """Areas (y, x, image) on glass of (height, width) pixels; between them nothing was scanned."""
    overview = np.full((glass[0] // 16, glass[1] // 16, 3), 200, np.uint8)
    pages: list[RGB] = []
    images = ""
    everything = [(0, 0, overview, glass, 1, [overview])]
    everything += [
        (y, x, image, image.shape[:2], objective, [image, reduced(image, 4)])
        for y, x, image in areas
    ]
    for y, x, image, (height, width), power, levels in everything:
        dimensions = "".join(
            f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{number}" '
            f'ifd="{len(pages) + number}"/>'
            for number, level in enumerate(levels)
        )
        pages += levels
        nm = [size * NM_PER_PIXEL for size in (width, height, x, y)]
        images += (
            f'<image name="{len(pages)}" uuid="{len(pages)}"><device model="SCN400" version="1"/>'
            "<creationDate>2026-01-01T00:00:00Z</creationDate>"
            f'<pixels sizeX="{image.shape[1]}" sizeY="{image.shape[0]}">{dimensions}</pixels>'
            f'<view sizeX="{nm[0]}" sizeY="{nm[1]}" offsetX="{nm[2]}" offsetY="{nm[3]}"/>'
            f"<scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
            "</scanSettings></image>"
        )
    sides = [size * NM_PER_PIXEL for size in glass]
    text = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="" uuid="" sizeX="{sides[1]}" sizeY="{sides[0]}">'
        f"{images}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, page in enumerate(pages):
            _page(file, page, "" if number else text)
    return path


def _page(file: tifffile.TiffWriter, image: RGB, text: str) -> None:
    file.write(
        image, tile=TILE, photometric="rgb", compression="zlib", description=text, metadata=None
    )


def damage(path: Path, *, page: int, tile: int) -> None:
    """Overwrite a tile's bytes."""
    with tifffile.TiffFile(path) as file:
        level = file.pages[page]
        place, size = level.dataoffsets[tile], level.databytecounts[tile]
    with path.open("r+b") as slide:
        slide.seek(place)
        slide.write(b"\xff" * size)
