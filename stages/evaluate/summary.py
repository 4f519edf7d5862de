"""From the scores of images to the scores of a split, as the metrics files hold them.

Means are over the images that define the score (`support` says how many); `loss`, `accuracy`, `f1`,
`precision`, `recall`, `pixel_dice` and calibration are of all pixels of the split together, each
counted once. An undefined score is left out, never written as 0 or NaN.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from monuseg.core.files import write_text
from monuseg.scoring.calibration import expected_calibration_error, reliability
from monuseg.scoring.intervals import interval
from monuseg.scoring.pixels import PixelCounts, ProbabilityHistogram
from stages.evaluate.images import ImageScores
from stages.evaluate.selection import mean

DIGITS = 6

# The scores of each split in metrics/<row>.json, in order; all others are detail.
HEADLINE = ("loss", "accuracy", "f1", "dice", "iou", "aji", "pq")
FURTHER = ("precision", "recall", "pixel_dice", "aji_plus", "dq", "sq")
WITH_INTERVAL = ("dice", "aji", "pq")
PIXEL_MEANS = ("dice", "iou")
NUCLEUS_MEANS = ("aji", "aji_plus", "pq", "dq", "sq")
MEANS = (*PIXEL_MEANS, *NUCLEUS_MEANS)
CURVE_BINS = 50  # as fine as the thresholds that evaluate chooses from
NUCLEUS_COUNTS = ("true_positives", "false_positives", "false_negatives")

Numbers = dict[str, float]
ByOrgan = Mapping[str, ProbabilityHistogram]


def headline(images: Sequence[ImageScores], pooled: ByOrgan, *, probabilities: bool) -> Numbers:
    """The scores of a split for `metrics/<row>.json`, in the order of `HEADLINE`.

    Args:
        images: the scored images of the split, at least one.
        pooled: their histograms, added up for each organ.
        probabilities: whether the predictions are probabilities; a hard mask has no `loss`.
    """
    scores = _scores(images, _sum(pooled.values()), probabilities=probabilities)
    return {name: scores[name] for name in HEADLINE if name in scores}


def intervals(images: Sequence[ImageScores]) -> Numbers:
    """The ends `<score>_lo` and `<score>_hi` of 95 % intervals over the images, cut at 0 and 1."""
    found: dict[str, float | None] = {}
    for name in WITH_INTERVAL:
        if ends := interval(_defined(images, name)):
            found[f"{name}_lo"], found[f"{name}_hi"] = max(ends[0], 0.0), min(ends[1], 1.0)
    return rounded(found)


def detail(
    images: Sequence[ImageScores], pooled: ByOrgan, *, probabilities: bool
) -> dict[str, Any]:
    """A split in `metrics/detail/<row>.json`: the further scores, and what all are based on.

    Args:
        images: the scored images of the split, at least one.
        pooled: their histograms, added up for each organ.
        probabilities: whether the predictions are probabilities; a hard mask has no `pixel_dice`
            and no calibration.
    """
    histogram = _sum(pooled.values())
    scores = _scores(images, histogram, probabilities=probabilities)
    content: dict[str, Any] = {
        **{name: score for name, score in scores.items() if name not in HEADLINE},
        "images": len(images),
        "support": {name: len(_defined(images, name)) for name in MEANS},
        "pixels": asdict(_pooled_pixels(images)),
        "nuclei": _pooled_nuclei(images),
        "organs": {
            organ: _organ(images, organ, pooled[organ], probabilities) for organ in sorted(pooled)
        },
    }
    if probabilities:
        content["calibration"] = _calibration(histogram)
    return content


def per_image(image: ImageScores, *, probabilities: bool) -> dict[str, Any]:
    """A row of `metrics/per_image/<row>.csv`; undefined scores are None."""
    scores = _scores([image], image, probabilities=probabilities)
    return {
        "id": image.record.id,
        "split": image.record.split,
        "organ": image.record.organ,
        **{name: scores.get(name) for name in (*HEADLINE, *FURTHER)},
        **{f"pixel_{name}": count for name, count in asdict(image.pixels).items()},
        **{f"nucleus_{name}": _nucleus_count(image, name) for name in NUCLEUS_COUNTS},
    }


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, at least one, under the keys of the first; what is None is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def curve(split: str, pooled: ByOrgan) -> list[dict[str, Any]]:
    """The rows of a split in `metrics/curves/<row>.csv`, one a bin of P(nucleus) that has pixels.

    `precision` and `recall` are those at the threshold `low`, of all pixels of the split together.

    Args:
        split: its name.
        pooled: the histograms of its images, added up for each organ.
    """
    histogram = _sum(pooled.values())
    rows = []
    for one in reliability(histogram, CURVE_BINS):
        at = histogram.at(one.low)
        scores = {"precision": at.precision, "recall": at.recall}
        rows.append({"split": split, **asdict(one), **scores})
    return [
        {name: round(one, DIGITS) if isinstance(one, float) else one for name, one in row.items()}
        for row in rows
    ]


def rounded(values: Mapping[str, float | None]) -> Numbers:
    """The defined values, rounded so that the last bits of a sum do not show in a diff."""
    return {name: round(value, DIGITS) for name, value in values.items() if value is not None}


def _scores(
    images: Sequence[ImageScores],
    pooled: ProbabilityHistogram | ImageScores,
    *,
    probabilities: bool,
) -> Numbers:
    """All scores; `loss` and `pixel_dice` are those of `pooled`."""
    pixels = _pooled_pixels(images)
    found: dict[str, float | None] = {
        "loss": pooled.loss if probabilities else None,
        "accuracy": pixels.accuracy,
        "f1": pixels.dice,
        "precision": pixels.precision,
        "recall": pixels.recall,
        "pixel_dice": pooled.pixel_dice if probabilities else None,
    }
    for name in MEANS:
        found[name] = mean(_defined(images, name))
    return rounded(found)


def _defined(images: Iterable[ImageScores], name: str) -> list[float]:
    """The score `name`, one of `MEANS`, of each image that defines it."""
    # `nuclei` is None, without any score, if the annotation does not tell nuclei apart.
    values = (
        getattr(image.pixels if name in PIXEL_MEANS else image.nuclei, name, None)
        for image in images
    )
    return [value for value in values if value is not None]


def _sum(histograms: Iterable[ProbabilityHistogram]) -> ProbabilityHistogram:
    return reduce(add, histograms)


def _pooled_pixels(images: Iterable[ImageScores]) -> PixelCounts:
    return reduce(add, (image.pixels for image in images))


def _pooled_nuclei(images: Iterable[ImageScores]) -> dict[str, int]:
    counted = [image for image in images if image.nuclei is not None]
    counts = {
        name: sum(_nucleus_count(image, name) or 0 for image in counted) for name in NUCLEUS_COUNTS
    }
    return {"images": len(counted), **(counts if counted else {})}


def _nucleus_count(image: ImageScores, name: str) -> int | None:
    return getattr(image.nuclei, name, None)


def _organ(
    images: Iterable[ImageScores], organ: str, pooled: ProbabilityHistogram, probabilities: bool
) -> dict[str, Any]:
    members = [image for image in images if image.record.organ == organ]
    return {"images": len(members), **_scores(members, pooled, probabilities=probabilities)}


def _calibration(histogram: ProbabilityHistogram) -> dict[str, Any]:
    bins = reliability(histogram)
    return {
        **rounded({"expected_calibration_error": expected_calibration_error(bins)}),
        "bins": [
            {
                name: round(value, DIGITS) if isinstance(value, float) else value
                for name, value in asdict(one).items()
            }
            for one in bins
        ],
    }
