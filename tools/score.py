"""Score a network of `monuseg segment` on the data set: one that comes along, one's own, or folds.

`python -m tools.score ~/folds/models --output folds.csv` predicts the test images as stage predict
does, by the mean of the folds' networks, and scores them with the settings that belong to these.
`python -m tools.compare folds.csv segnet` sets the table beside a row of this work tree. All other
images were learned from: with folds, each by most of the networks. Nothing is chosen. No stage of
the graph, though it needs the stages up to `tile`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.images import read_rgb
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord, read_records
from monuseg.formats.paths import MASKS, RAW, SPLITS
from monuseg.formats.predictions import write_probabilities
from monuseg.formats.scale import scale_of
from monuseg.inference.params import PredictParams
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.nuclei.watershed import NucleiSettings
from monuseg.segment.models import Network, find, load
from stages.evaluate import summary
from stages.evaluate.images import ImageScores, Row, score_image

TABLE = ".csv"
QUIET = not sys.stderr.isatty()


def main(arguments: argparse.Namespace) -> None:
    """Write a table as stage evaluate does, and print the means over the images.

    Raises:
        PipelineError: the output's name is none of a table, the split has no image, or as `find`,
            `load` and the readers. The output is then as it was.
    """
    output = arguments.output
    if output.suffix != TABLE or output.is_dir():
        raise PipelineError(f"{output}: name a table, which ends in {TABLE}")
    records = [one for one in read_records(SPLITS, SplitRecord) if one.split == arguments.split]
    if not records:
        raise PipelineError(f"{SPLITS}: no {arguments.split} image")
    named = find(arguments.model)
    # What cannot be written is said before anything is computed.
    with replacing(output) as table, tempfile.TemporaryDirectory(dir=table.parent) as scratch:
        network = load(named, PredictParams.load())
        images = [
            score(record, network, named.settings, Path(scratch))
            for record in tqdm(records, desc="score", disable=QUIET)
        ]
        rows = [summary.per_image(image, probabilities=True) for image in images]
        summary.write_table(table, rows)
    print(f"{named.name}, {len(images)} {arguments.split} images:")
    means, ends = pd.DataFrame(rows).mean(numeric_only=True), summary.intervals(images)
    for name in summary.WITH_INTERVAL:
        line = f"{means[name]:.4f}" if name in means else "undefined"
        if f"{name}_lo" in ends:
            line += f" ({ends[f'{name}_lo']:.4f} to {ends[f'{name}_hi']:.4f})"
        print(f"  {name} {line}")


def score(
    record: SplitRecord, network: Network, settings: NucleiSettings, scratch: Path
) -> ImageScores:
    """Predict an image of data/raw and score it against data/masks.

    Args:
        record: which.
        network: what predicts.
        settings: of nuclei.
        scratch: a folder for this image's files, which do not stay.

    Raises:
        PipelineError: the image is too large at the network's resolution, or as the readers.
    """
    path = RAW / f"{record.id}.tif"
    image = NORMALISATIONS[network.stain_normalisation](read_rgb(path))
    scale = scale_of(record.um_per_pixel, network.um_per_pixel)
    try:
        found = predict_augmented(
            network.forward, image, network.params, divisor=network.divisor, scale=scale
        )
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from error
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        write_probabilities(Path(folder), record.id, found)
        row = Row(Path(folder), tuple(network.classes), MASKS)
        scores, _ = score_image(record, row, settings, Path(folder))
    return scores


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="as `monuseg segment --model` takes it")
    command.add_argument("--split", choices=[TRAIN, VALIDATION, TEST], default=TEST)
    command.add_argument("--output", type=Path, required=True, help="table to write (.csv)")
    run(main, command.parse_args())
