"""Images with the outlines of true and predicted nuclei, and maps of the errors."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, Labels, read_labels, read_rgb
from monuseg.formats.manifest import SplitRecord
from stages.report.document import Gallery, Picture, escaped
from stages.report.rows import Row

# Pixels of the image, cut from its centre, and how much larger they are drawn, for fine outlines.
CROP = 200
ENLARGED = 3
WEBP_QUALITY = 75

# Widths in drawn pixels: where the two outlines agree, the true one still frames the predicted one.
TRUTH_WIDTH = 9
PREDICTION_WIDTH = 4

# Neither is a colour of stained tissue, and the colour-blind tell blue from yellow.
TRUTH_COLOUR = "#19C8FF"
PREDICTION_COLOUR = "#FFE11A"

# Okabe and Ito's orange and blue.
AGREED_COLOUR = "#C8C8C8"
MISSED_COLOUR = "#D55E00"
ADDED_COLOUR = "#0072B2"
EMPTY_COLOUR = "#FFFFFF"


def chosen_images(records: Sequence[SplitRecord], split: str, count: int) -> list[SplitRecord]:
    """The first images of a split by id, one of each organ before the second of any."""
    earlier: Counter[str] = Counter()
    ranked = []
    for record in sorted(records, key=lambda record: record.id):
        if record.split == split:
            ranked.append((earlier[record.organ], record.id, record))
            earlier[record.organ] += 1
    return [record for _, _, record in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def gallery(
    record: SplitRecord, rows: Sequence[Row], *, raw: Path, masks: Path, nuclei: Path
) -> Gallery:
    """One image as it is, and with the nuclei of each row.

    Args:
        record: which image.
        rows: whose nuclei.
        raw: the folder of `<id>.tif`.
        masks: the folder of the true label maps, `<id>.png`.
        nuclei: the folder of the predicted label maps, `<row>/<id>.png`.

    Raises:
        PipelineError: a file is missing, or two differ in size.
    """
    image_path, truth_path = raw / f"{record.id}.tif", masks / f"{record.id}.png"
    image = read_rgb(_existing(image_path, "extract"))
    truth = _labels(truth_path, "masks", image, image_path)
    part = _centre(image)
    columns: list[tuple[str, tuple[Picture, ...]]] = [
        ("Image", (_photograph(image[part], f"{record.id}, as it is"),))
    ]
    for row in rows:
        path = nuclei / row.key / f"{record.id}.png"
        predicted = _labels(path, f"evaluate@{row.key}", image, image_path)
        pictures = (
            _photograph(
                image[part],
                f"{record.id} with outlines of the truth and of {row.title}",
                truth[part],
                predicted[part],
            ),
            _error_map(truth[part], predicted[part], f"{record.id}: errors of {row.title}"),
        )
        columns.append((escaped(row.title), pictures))
    return Gallery(f"**{escaped(record.organ)}**, `{record.id}`", tuple(columns))


def outlines(labels: Labels) -> npt.NDArray[np.bool_]:
    """The pixels of nuclei that touch another label (or background) to any of four sides.

    Args:
        labels: (height, width); 0 is background.

    Returns:
        (height, width); a pixel at the image's edge is no outline because of the edge alone.
    """
    edge = np.zeros(labels.shape, bool)
    rows_differ = labels[1:] != labels[:-1]
    columns_differ = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= rows_differ
    edge[:-1] |= rows_differ
    edge[:, 1:] |= columns_differ
    edge[:, :-1] |= columns_differ
    return edge & (labels > 0)


def errors(truth: Labels, predicted: Labels) -> RGB:
    """A (height, width, 3) map of agreed, missed and added nucleus pixels in their colours."""
    true, found = truth > 0, predicted > 0
    painted = np.empty((*truth.shape, 3), np.uint8)
    painted[:] = _rgb(EMPTY_COLOUR)
    painted[true & found] = _rgb(AGREED_COLOUR)
    painted[true & ~found] = _rgb(MISSED_COLOUR)
    painted[~true & found] = _rgb(ADDED_COLOUR)
    return painted


def _existing(path: Path, stage: str) -> Path:
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro {stage}`")
    return path


def _labels(path: Path, stage: str, image: RGB, image_path: Path) -> Labels:
    labels = read_labels(_existing(path, stage))
    if labels.shape != image.shape[:2]:
        raise PipelineError(
            f"{path}: shape {labels.shape}, but {image_path} is {image.shape[:2]}; "
            f"delete it and run `dvc repro {stage}`"
        )
    return labels


def _centre(image: RGB) -> tuple[slice, slice]:
    top, left = (max(0, (size - CROP) // 2) for size in image.shape[:2])
    return slice(top, top + CROP), slice(left, left + CROP)


def _photograph(
    image: RGB, alt: str, truth: Labels | None = None, predicted: Labels | None = None
) -> Picture:
    height, width = (side * ENLARGED for side in image.shape[:2])
    drawn = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    for labels, colour, thickness in (
        (truth, TRUTH_COLOUR, TRUTH_WIDTH),
        (predicted, PREDICTION_COLOUR, PREDICTION_WIDTH),
    ):
        if labels is not None:
            large = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
            brush = np.ones((thickness, thickness), np.uint8)
            line = cv2.dilate(outlines(large).astype(np.uint8), brush)
            drawn[line > 0] = _rgb(colour)
    return _picture(drawn, ".webp", [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY], alt)


def _error_map(truth: Labels, predicted: Labels, alt: str) -> Picture:
    return _picture(
        errors(truth, predicted), ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9], alt, pixelated=True
    )


def _picture(
    image: RGB, suffix: str, options: list[int], alt: str, *, pixelated: bool = False
) -> Picture:
    encoded, content = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)
    if not encoded:
        raise PipelineError(f"report: OpenCV cannot encode {alt} as {suffix}")
    text = base64.b64encode(content.tobytes()).decode("ascii")
    height, width = image.shape[:2]
    return Picture(f"data:image/{suffix[1:]};base64,{text}", alt, width, height, pixelated)


def _rgb(colour: str) -> tuple[int, int, int]:
    """A CSS colour `#rrggbb` as numbers."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
