"""Pictures of images, and layers over them: outlines of nuclei and the pixels of errors."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, Labels, read_labels, read_rgb
from monuseg.formats.manifest import SplitRecord
from monuseg.formats.paths import MASKS, NUCLEI, RAW
from monuseg.scoring.rows import Row

# The longer side at most, in pixels, and what a picture may take of the page, in letters: with the
# page's scripts, fourteen images of MoNuSeg stay under 4 MB.
FULL, FULL_LETTERS = 1000, 240_000
SMALL, SMALL_LETTERS = 240, 12_000

# Where the two outlines agree, the true one still frames the predicted one. In pixels.
TRUTH_WIDTH = 3

# Outlines: blue and yellow, which stained tissue lacks and the colour-blind can tell apart.
# Errors: Okabe and Ito's orange and blue.
COLOURS = {
    "true outline": "#19C8FF",
    "predicted outline": "#FFE11A",
    "missed": "#D55E00",
    "added": "#0072B2",
}
PLACES = {name: place for place, name in enumerate(COLOURS, 1)}
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

Layer = npt.NDArray[np.uint8]


def true_nuclei(record: SplitRecord) -> Labels:
    """The label map of an image's true nuclei."""
    return read_labels(existing(MASKS / f"{record.id}.png", "masks"))


def predicted_nuclei(record: SplitRecord, row: Row, shape: tuple[int, ...]) -> Labels:
    """The label map of a row's nuclei of an image.

    Raises:
        PipelineError: it is missing, or not of the shape of the true one.
    """
    path, stage = NUCLEI / row.key / f"{record.id}.png", f"evaluate@{row.key}"
    found = read_labels(existing(path, stage))
    if found.shape != shape:
        raise PipelineError(
            f"{path}: shape {found.shape}, but the truth is {shape}; "
            f"delete it and run `dvc repro {stage}`"
        )
    return found


def galleries(
    records: Sequence[SplitRecord], rows: Sequence[Row], scores: pd.DataFrame, count: int
) -> list[dict[str, Any]]:
    """All images of a split, the best Dice first.

    Args:
        records: of the images.
        rows: whose nuclei; the first has these scores, and its errors are in the small pictures.
        scores: of the images, by id.
        count: of images to be shown at full size, evenly spread from best to worst.

    Returns:
        An image each: `id`, `organ`, `title`, its `scores`, `small` layers, and `full` layers (none
        unless it is to be shown). A layer is the attributes of `<img>`.

    Raises:
        PipelineError: a file is missing, or two differ in size.
    """
    ranked = sorted(records, key=lambda one: -scores["dice"].fillna(-1)[one.id])
    full = spread(len(ranked), count)
    last = int(scores["dice"].notna().sum()) - 1
    named = {last: "worst", max(last, 0) // 2: "median", 0: "best"}
    named |= dict.fromkeys(range(last + 1, len(ranked)), "without a nucleus")
    return [
        {
            "id": record.id,
            "organ": record.organ,
            "title": named.get(place, f"rank {place + 1}"),
            "scores": scores.loc[record.id, ["dice", "aji", "pq"]].dropna().to_dict(),
            "small": _layers(record, rows[:1], SMALL, SMALL_LETTERS),
            "full": _layers(record, rows, FULL, FULL_LETTERS) if place in full else [],
        }
        for place, record in enumerate(ranked)
    ]


def spread(images: int, count: int) -> list[int]:
    """Places in a ranking, evenly spread: the first, the last, and others between them."""
    steps = max(count, 2) - 1
    return sorted({place * (images - 1) // steps for place in range(count)})


def _layers(record: SplitRecord, rows: Sequence[Row], side: int, most: int) -> list[dict[str, Any]]:
    """The image, and over it the true outlines and each row's outlines and errors."""
    path = RAW / f"{record.id}.tif"
    image, whole = read_rgb(existing(path, "extract")), true_nuclei(record)
    if whole.shape != image.shape[:2]:
        raise PipelineError(f"{path} and its label map differ in size; run `dvc repro masks`")
    scale = min(1.0, side / max(whole.shape))
    width, height = size = [max(1, round(length * scale)) for length in whole.shape[::-1]]
    truth = cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST)
    photo = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    framed = outlines(truth, TRUTH_WIDTH) * PLACES["true outline"]
    drawn = {"image": photograph(photo, most), "truth": palette_png(framed)}
    for row in rows:
        nuclei = predicted_nuclei(record, row, whole.shape)
        found = cv2.resize(nuclei, size, interpolation=cv2.INTER_NEAREST)
        drawn[f"errors {row.key}"] = palette_png(errors(truth, found))
        outline = outlines(found, 1) * PLACES["predicted outline"]
        drawn[f"outline {row.key}"] = palette_png(outline)
    return [
        {"src": src, "width": width, "height": height, "data-layer": name}
        | {"alt": f"{record.id}: {name}"}
        for name, src in drawn.items()
        if side == FULL or name[0] in "ie"  # outlines would hide a small picture
    ]


def outlines(labels: Labels, width: int) -> Layer:
    """1 where nuclei have another label or background on any of their four sides, else 0.

    Args:
        labels: (height, width); 0 is background. The edge of the image alone makes no outline.
        width: of the line, in pixels.
    """
    edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, CROSS)
    line = ((edges > 0) & (labels > 0)).astype(np.uint8)
    return np.asarray(cv2.dilate(line, np.ones((width, width), np.uint8)))


def errors(truth: Labels, predicted: Labels) -> Layer:
    """Where nucleus pixels were missed and added, as the numbers of their colours."""
    true, found = truth > 0, predicted > 0
    missed, added = (true & ~found) * PLACES["missed"], (~true & found) * PLACES["added"]
    return (missed + added).astype(np.uint8)


def palette_png(layer: Layer) -> str:
    """A layer as the address of a PNG of `COLOURS`; 0 is transparent."""
    picture = Image.fromarray(layer).convert("P")
    picture.putpalette(bytes(3) + bytes.fromhex("".join(COLOURS.values()).replace("#", "")))
    return _address(picture, "png", bits=4, transparency=0, optimize=True)


def photograph(image: RGB, most: int) -> str:
    """An image as the address of a WebP, of the highest quality that takes at most `most` letters.

    The lowest quality may take more.
    """
    for quality in (85, 70, 55, 40, 25, 10):
        address = _address(Image.fromarray(image), "webp", quality=quality)
        if len(address) <= most:
            break
    return address


def _address(picture: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def existing(path: Path, stage: str) -> Path:
    """The path of a file that a stage writes.

    Raises:
        PipelineError: there is no such file.
    """
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro {stage}`")
    return path
