"""Stage `predict@MODEL`: apply a trained model to whole images, data/predictions/MODEL/."""

import argparse
import sys

from tqdm import tqdm

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_folder
from monuseg.formats.images import read_rgb
from monuseg.formats.manifest import SplitRecord, read_records
from monuseg.formats.paths import MODELS, PREDICTIONS, RAW, SPLITS
from monuseg.formats.predictions import write_output, write_probabilities
from monuseg.formats.scale import scale_of
from monuseg.inference.forward import load_forward
from monuseg.inference.params import PredictParams
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.models.shared import registry


def main(arguments: argparse.Namespace) -> None:
    """Write the probabilities of each image of data/splits.csv.

    Raises:
        PipelineError: the model is missing, or an image too large at the model's resolution.
    """
    params = PredictParams.load()
    forward, card = load_forward(MODELS, arguments.model, params)
    divisor = registry.architecture(card.model).divisor
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / arguments.model) as folder:
        write_output(folder, card.classes, probabilities=True)
        for record in tqdm(records, desc="predict", disable=not sys.stderr.isatty()):
            path = RAW / f"{record.id}.tif"
            image = NORMALISATIONS[card.stain_normalisation](read_rgb(path))
            scale = scale_of(record.um_per_pixel, card.um_per_pixel)
            try:
                found = predict_augmented(forward, image, params, divisor=divisor, scale=scale)
            except PipelineError as error:
                raise PipelineError(f"{path}: {error}") from error
            write_probabilities(folder, record.id, found)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="name of a trained model, such as unet")
    run(main, command.parse_args())
