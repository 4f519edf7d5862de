"""Large slides of synthetic tissue, and what segmenting them takes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import tifffile

from monuseg.formats.images import RGB
from monuseg.segment.outputs.pyramids import COMPRESSION, DEFLATE, JPEG, TILE
from stages.download.synthetic.slide import draw_slide

ORGANS = ("breast", "colon", "liver", "kidney")
SIDE = 1280  # of a piece of tissue
FACTORS = (1, 4, 16)  # pixels of the finest level per pixel of each, along an axis
DENSITY = 1.6  # 630 nuclei a million pixels of tissue
GLASS = 243
SECONDS = 0.1  # between two looks at the memory


def write_slide(path: Path, side: int) -> None:
    """A pyramid of JPEG tiles as Aperio writes it, at 0.25 um per pixel.

    Tissue on the left half, glass beside. In memory is a row of tiles.

    Args:
        path: of the slide.
        side: pixels; a multiple of 2 * SIDE.
    """
    pieces = [
        draw_slide(organ, SIDE, SIDE, DENSITY, np.random.default_rng(number)).image
        for number, organ in enumerate(ORGANS)
    ]
    stated = f"Aperio Image Library v11.2.1 \r\n{side}x{side} (256x256)|AppMag = 40|MPP = 0.25"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for factor in FACTORS:
            level = [
                cv2.resize(piece, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
                for piece in pieces
            ]
            file.write(
                _tiles(level, side // factor), shape=(side // factor, side // factor, 3),
                dtype=np.uint8, tile=(TILE, TILE), compression=DEFLATE, photometric="ycbcr",
                description=stated, metadata=None,
            )  # fmt: skip
    # tifffile asks for a codec that it would not use, as tiles come encoded.
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            page.tags[COMPRESSION].overwrite(JPEG)


def _tiles(pieces: Sequence[RGB], side: int) -> Iterator[bytes]:
    size = pieces[0].shape[0]
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    for top in range(0, side, TILE):
        band = np.full((TILE, -(-side // TILE) * TILE, 3), GLASS, np.uint8)
        for y in range(top, min(top + TILE, side)):
            row = y // size
            for column in range(side // 2 // size):
                number = row * (side // 2 // size) + column
                # Not the same neighbours everywhere.
                piece = pieces[(number + number // 7) % len(pieces)]
                band[y - top, column * size : (column + 1) * size] = piece[y % size]
        for left in range(0, side, TILE):
            tile = np.ascontiguousarray(band[:, left : left + TILE, ::-1])
            yield cv2.imencode(".jpg", tile, options)[1].tobytes()


@dataclass(frozen=True)
class Taken:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        peak: of the resident memory of its processes together, in MB.
        said: its standard output.
    """

    seconds: float
    peak: float
    said: str


def segment(slide: Path, output: Path, *options: str) -> Taken:
    """`monuseg segment` on a slide, in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "monuseg", "segment", str(slide), "--output", str(output)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    peaks: list[float] = [0.0]
    watch = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
    watch.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - start
    watch.join()
    if process.returncode:
        raise RuntimeError(f"segment ended with {process.returncode}")
    return Taken(seconds, max(peaks), said)


def _watch(pid: int, peaks: list[float]) -> None:
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peaks.append(sum(map(_resident, [root, *root.children(recursive=True)])) / 1e6)
            time.sleep(SECONDS)
    except psutil.NoSuchProcess:
        return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
