"""Stage `evaluate`: one row's predictions scored against the masks, metrics/ROW.json."""

import argparse
from functools import partial
from typing import Any, get_args

import cv2
import numpy as np
import scipy
import skimage

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.core.paths import METRICS
from monuseg.formats.files import write_json
from monuseg.formats.manifest import TEST, Split, SplitRecord, read_records
from monuseg.formats.paths import DETAIL, MASKS, NUCLEI, PER_IMAGE, PREDICTIONS, SPLITS
from monuseg.formats.predictions import read_output
from monuseg.scoring.intervals import IntervalParams
from stages.evaluate import summary
from stages.evaluate.choices import choose
from stages.evaluate.images import Row, score_image
from stages.evaluate.params import EvaluateParams

PACKAGES = {"numpy": np, "scipy": scipy, "scikit-image": skimage, "opencv": cv2}


def main(arguments: argparse.Namespace) -> None:
    """Choose thresholds on validation images, then score the splits that params name."""
    name = arguments.row
    params = EvaluateParams.load()
    draws = IntervalParams.load()
    records = read_records(SPLITS, SplitRecord)
    output = read_output(PREDICTIONS / name)
    row = Row(PREDICTIONS.absolute() / name, output.classes, MASKS.absolute())
    probabilities = output.probabilities
    choices = choose(records, row, params, probabilities=probabilities)
    scored = [record for record in records if record.split in params.splits]
    if not scored:
        raise PipelineError(f"{SPLITS}: no image of evaluate.splits; name a split that has images")
    with replacing_folder(NUCLEI / name) as folder:
        score = partial(score_image, row=row, settings=choices.settings, nuclei=folder)
        images = parallel_map(score, scored, title=f"evaluate {name}")

    metrics: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    for split in get_args(Split):
        members = [image for image in images if image.record.split == split]
        if members:
            metrics[split] = summary.headline(members, probabilities=probabilities)
            detail[split] = summary.detail(members, probabilities=probabilities)
        if members and split == TEST:
            metrics[split] |= summary.intervals(members, resamples=draws.resamples, seed=draws.seed)
    detail["settings"] = choices.as_settings()
    detail["candidates"] = choices.as_candidates()
    detail["versions"] = {package: module.__version__ for package, module in PACKAGES.items()}
    write_json(METRICS / f"{name}.json", metrics)
    write_json(DETAIL / f"{name}.json", detail)
    write_json(PREDICTIONS / f"{name}.json", choices.as_settings())
    summary.write_table(PER_IMAGE / f"{name}.csv", images, probabilities=probabilities)
    for split, scores in metrics.items():
        print(f"{name}, {split}: " + ", ".join(f"{k} {scores[k]:.3f}" for k in scores))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("row", help="a model's name, `ensemble` or `otsu`")
    run(main, arguments.parse_args())
