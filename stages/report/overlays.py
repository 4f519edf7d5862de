"""Images with the outlines of true and predicted nuclei, and maps of the errors."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, Labels, read_labels, read_rgb
from monuseg.formats.manifest import SplitRecord
from stages.report.rows import Row

# Pixels of the image, cut from its centre, and the factor by which they are enlarged.
CROP = 200
ENLARGED = 3
WEBP = ".webp", [cv2.IMWRITE_WEBP_QUALITY, 75]
PNG = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9]

# In enlarged pixels. Where the two outlines agree, the true one still frames the predicted one.
TRUTH_WIDTH = 9
PREDICTION_WIDTH = 4

# Outlines: blue and yellow, which stained tissue lacks and the colour-blind can tell apart.
# Errors: Okabe and Ito's orange and blue.
COLOURS = {
    "true outline": "#19C8FF",
    "predicted outline": "#FFE11A",
    "nucleus in both": "#C8C8C8",
    "missed": "#D55E00",
    "added": "#0072B2",
}

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def chosen_images(records: Sequence[SplitRecord], split: str, count: int) -> list[SplitRecord]:
    """The first images of a split by id: one of each organ before a second of any."""
    earlier: Counter[str] = Counter()
    ranked = []
    for record in sorted(records, key=lambda record: record.id):
        if record.split == split:
            ranked.append((earlier[record.organ], record.id, record))
            earlier[record.organ] += 1
    return [record for _, _, record in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def gallery(
    record: SplitRecord, rows: Sequence[Row], *, raw: Path, masks: Path, nuclei: Path
) -> dict[str, Any]:
    """One image, plain and with the nuclei of each row.

    Args:
        record: which image.
        rows: whose nuclei.
        raw: the folder of `<id>.tif`.
        masks: the folder of the true label maps, `<id>.png`.
        nuclei: the folder of the predicted label maps, `<row>/<id>.png`.

    Returns:
        `organ` and `id` of the image, and `columns`, each with a `title` and `pictures`, which
        are the attributes of `<img>`.

    Raises:
        PipelineError: a file is missing, or two differ in size.
    """
    path = raw / f"{record.id}.tif"
    image = read_rgb(_existing(path, "extract"))
    part = tuple(
        slice(start := max(0, (size - CROP) // 2), start + CROP) for size in image.shape[:2]
    )

    def labels(file: Path, stage: str) -> Labels:
        found = read_labels(_existing(file, stage))
        if found.shape != image.shape[:2]:
            raise PipelineError(
                f"{file}: shape {found.shape}, but {path} is {image.shape[:2]}; "
                f"delete it and run `dvc repro {stage}`"
            )
        return found[part]

    truth = labels(masks / f"{record.id}.png", "masks")
    plain = _picture(_photograph(image[part]), f"{record.id}, as it is", WEBP)
    columns = [{"title": "Image", "pictures": [plain]}]
    for row in rows:
        found = labels(nuclei / row.key / f"{record.id}.png", f"evaluate@{row.key}")
        drawn = _photograph(image[part], truth, found)
        pictures = [
            _picture(drawn, f"{record.id} with outlines of the truth and of {row.title}", WEBP),
            _picture(errors(truth, found), f"{record.id}: errors of {row.title}", PNG),
        ]
        columns.append({"title": row.title, "pictures": pictures})
    return {"organ": record.organ, "id": record.id, "columns": columns}


def outlines(labels: Labels) -> npt.NDArray[np.bool_]:
    """The pixels of nuclei with another label or background on any of their four sides.

    Args:
        labels: (height, width); 0 is background.

    Returns:
        (height, width); the edge of the image alone makes no outline.
    """
    edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, CROSS)
    return np.asarray((edges > 0) & (labels > 0))


def errors(truth: Labels, predicted: Labels) -> RGB:
    """A (height, width, 3) map of agreed, missed and added nucleus pixels in their colours."""
    true, found = truth > 0, predicted > 0
    painted = np.full((*truth.shape, 3), 255, np.uint8)
    painted[true & found] = _rgb("nucleus in both")
    painted[true & ~found] = _rgb("missed")
    painted[~true & found] = _rgb("added")
    return painted


def _existing(path: Path, stage: str) -> Path:
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro {stage}`")
    return path


def _photograph(image: RGB, truth: Labels | None = None, predicted: Labels | None = None) -> RGB:
    height, width = (side * ENLARGED for side in image.shape[:2])
    drawn = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    for labels, colour, thickness in (
        (truth, "true outline", TRUTH_WIDTH),
        (predicted, "predicted outline", PREDICTION_WIDTH),
    ):
        if labels is not None:
            large = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
            brush = np.ones((thickness, thickness), np.uint8)
            line = cv2.dilate(outlines(large).astype(np.uint8), brush)
            drawn[line > 0] = _rgb(colour)
    return np.asarray(drawn)


def _picture(image: RGB, alt: str, encoding: tuple[str, list[int]]) -> dict[str, Any]:
    suffix, options = encoding
    encoded, content = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)
    if not encoded:
        raise PipelineError(f"report: OpenCV cannot encode {alt} as {suffix}")
    text = base64.b64encode(content.tobytes()).decode("ascii")
    height, width = image.shape[:2]
    uri = f"data:image/{suffix[1:]};base64,{text}"
    return {"src": uri, "alt": alt, "width": width, "height": height}


def _rgb(name: str) -> tuple[int, ...]:
    """A colour of `COLOURS`, written as `#rrggbb`, as numbers."""
    return tuple(bytes.fromhex(COLOURS[name][1:]))
