"""Score a network of `monuseg segment` on the data set: one that comes along, one's own, or folds.

`python -m tools.score ~/folds --output folds.csv` predicts the test images as stage predict does
(block `predict` of params.yaml), by the mean of the folds' networks, and scores them with the
settings that belong to these. `python -m tools.compare folds.csv segnet` sets the table beside a
row of this work tree. Nothing is chosen, and nothing tells whether a network learned from these
images. No stage of the graph, though it needs the stages up to `tile`.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.images import RGB, read_labels, read_rgb
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord, read_records
from monuseg.formats.paths import MASKS, RAW, SPLITS
from monuseg.formats.predictions import Probabilities
from monuseg.formats.scale import scale_of
from monuseg.inference.params import PredictParams
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.scoring.instances import score_nuclei
from monuseg.scoring.pixels import ProbabilityHistogram
from monuseg.segment.models import Network, find, load
from monuseg.segment.options import pretrained
from stages.evaluate import summary
from stages.evaluate.images import ImageScores

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
        raise PipelineError(f"{output}: name a table, such as scores{TABLE}")
    records = [one for one in read_records(SPLITS, SplitRecord) if one.split == arguments.split]
    if not records:
        raise PipelineError(f"{SPLITS}: no {arguments.split} image")
    named = find(str(arguments.model))
    # What cannot be written is said before anything is computed.
    with replacing(output) as table:
        network = load(named, PredictParams.load())
        images = [
            score(record, network, named.settings)
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


def score(record: SplitRecord, network: Network, settings: NucleiSettings) -> ImageScores:
    """Predict an image of data/raw and score it against data/masks.

    Args:
        record: which.
        network: what predicts.
        settings: of nuclei, in the network's pixels.

    Raises:
        PipelineError: a file is missing or damaged, image and mask differ in size, the image is too
            large at the network's resolution, or the network is broken or lacks what settings need.
    """
    path, mask = RAW / f"{record.id}.tif", MASKS / f"{record.id}.png"
    image, truth = read_rgb(path), read_labels(mask)
    if image.shape[:2] != truth.shape:
        raise PipelineError(f"{path} and {mask} differ in size; run `dvc repro masks`")
    scale = scale_of(record.um_per_pixel, network.um_per_pixel)
    try:
        found = probabilities(network, image, scale)
        histogram = ProbabilityHistogram.of(found[..., 0], truth > 0)
        labels = nuclei_from_predictions(found, network.classes, settings, scale)
    except (PipelineError, ValueError) as error:  # ValueError: of what is no probability
        raise PipelineError(f"{path}: {error}") from error
    nuclei = score_nuclei(truth, labels) if record.tells_nuclei_apart else None
    return ImageScores.of(record, histogram, settings.threshold, nuclei)


def probabilities(network: Network, image: RGB, scale: float) -> Probabilities:
    """What a network makes of an image, (height, width, classes); `scale` as `predict_augmented`.

    Raises:
        PipelineError: as `predict_augmented`.
    """
    return predict_augmented(
        network.forward,
        NORMALISATIONS[network.stain_normalisation](image),
        network.params,
        divisor=network.divisor,
        scale=scale,
    )


def name_or_path(text: str) -> str | Path:
    """The name of a model that comes along, or a path, which counts from where the user is."""
    return text if text in pretrained() else Path(text)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", type=name_or_path, help="as `monuseg segment --model` takes it")
    command.add_argument("--split", choices=[TRAIN, VALIDATION, TEST], default=TEST)
    command.add_argument("--output", type=Path, required=True, help="table to write (.csv)")
    run(main, command.parse_args())
