"""Stage `evaluate`: one row's predictions scored against the masks, metrics/ROW.json."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import cv2
import numpy as np
import scipy
import skimage

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all
from monuseg.core.parallel import parallel_each
from monuseg.core.paths import METRICS
from monuseg.formats.files import write_json
from monuseg.formats.manifest import TEST, Split, SplitRecord, read_records
from monuseg.formats.paths import DETAIL, MASKS, NUCLEI, PER_IMAGE, PREDICTIONS, SPLITS
from monuseg.formats.predictions import read_output
from monuseg.scoring.pixels import ProbabilityHistogram
from stages.evaluate import summary
from stages.evaluate.choices import choose
from stages.evaluate.images import ImageScores, Row, score_image
from stages.evaluate.params import EvaluateParams

# By split and organ.
Pooled = dict[str, dict[str, ProbabilityHistogram]]

CURVES = METRICS / "curves"

PACKAGES = {"numpy": np, "scipy": scipy, "scikit-image": skimage, "opencv": cv2}


def main(arguments: argparse.Namespace) -> None:
    """Choose thresholds on validation images, then score the splits that params name."""
    name = arguments.row
    params = EvaluateParams.load()
    records = read_records(SPLITS, SplitRecord)
    output = read_output(PREDICTIONS / name)
    row = Row(PREDICTIONS.absolute() / name, output.classes, MASKS.absolute())
    probabilities = output.probabilities
    choices = choose(records, row, params, probabilities=probabilities)
    scored = [record for record in records if record.split in params.splits]
    if not scored:
        raise PipelineError(f"{SPLITS}: no image of evaluate.splits; name a split that has images")
    outputs = [
        NUCLEI / name,
        METRICS / f"{name}.json",
        DETAIL / f"{name}.json",
        PREDICTIONS / f"{name}.json",
        PER_IMAGE / f"{name}.csv",
        CURVES / f"{name}.csv",
    ]
    # Together, so that no score stands beside nuclei of another run.
    with replacing_all(*outputs) as [nuclei, *files]:
        metrics_file, detail_file, settings_file, table_file, curves_file = files
        nuclei.mkdir()
        score = partial(score_image, row=row, settings=choices.settings, nuclei=nuclei)
        images: list[ImageScores] = []
        pooled: Pooled = defaultdict(dict)

        def take(found: tuple[ImageScores, ProbabilityHistogram]) -> None:
            image, histogram = found
            images.append(image)
            of_split, organ = pooled[image.record.split], image.record.organ
            of_split[organ] = of_split[organ] + histogram if organ in of_split else histogram

        parallel_each(score, scored, take, title=f"evaluate {name}")
        metrics, detail = _scores(images, pooled, probabilities=probabilities)
        detail["settings"] = choices.as_settings()
        detail["candidates"] = choices.as_candidates()
        detail["versions"] = {package: module.__version__ for package, module in PACKAGES.items()}
        write_json(metrics_file, metrics)
        write_json(detail_file, detail)
        write_json(settings_file, choices.as_settings())
        rows = [summary.per_image(image, probabilities=probabilities) for image in images]
        summary.write_table(table_file, rows)
        curves = [row for split in metrics for row in summary.curve(split, pooled[split])]
        summary.write_table(curves_file, curves)
    for split, scores in metrics.items():
        print(f"{name}, {split}: " + ", ".join(f"{k} {scores[k]:.3f}" for k in scores))


def _scores(
    images: Sequence[ImageScores], pooled: Pooled, *, probabilities: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of metrics/ROW.json and of metrics/detail/ROW.json, by split."""
    metrics: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    for split in get_args(Split):
        members = [image for image in images if image.record.split == split]
        if members:
            metrics[split] = summary.headline(members, pooled[split], probabilities=probabilities)
            detail[split] = summary.detail(members, pooled[split], probabilities=probabilities)
        if members and split == TEST:
            metrics[split] |= summary.intervals(members)
    return metrics, detail


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("row", help="a model's name, `ensemble` or `otsu`")
    run(main, arguments.parse_args())
