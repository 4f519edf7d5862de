"""Stage `predict@MODEL`: apply a trained model to whole images, data/predictions/MODEL/."""

import argparse
import sys

from tqdm import tqdm

from stages import backend
from stages.command import parser, run
from stages.dataset.images import read_rgb
from stages.dataset.manifest import SplitRecord, read_records
from stages.files import replacing_folder
from stages.inference.predictions import write_output, write_probabilities
from stages.inference.stain import NORMALISATIONS
from stages.inference.views import predict_augmented
from stages.params.predict import PredictParams
from stages.paths import MODELS, PREDICTIONS, RAW, SPLITS


def main(arguments: argparse.Namespace) -> None:
    """Write the probabilities of each image of data/splits.csv."""
    params = PredictParams.load()
    backend.configure(params, seed=0)
    # Only now, since these import Keras, and Keras reads its backend when it is imported.
    from stages.inference.forward import forward_of
    from stages.models import registry, store

    model, card = store.load(MODELS, arguments.model)
    forward = forward_of(model, card.scaling)
    divisor = registry.architecture(card.model).divisor
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / arguments.model) as folder:
        write_output(folder, card.classes, probabilities=True)
        for record in tqdm(records, desc="predict", disable=not sys.stderr.isatty()):
            image = NORMALISATIONS[card.stain_normalisation](read_rgb(RAW / f"{record.id}.tif"))
            probabilities = predict_augmented(forward, image, params, divisor=divisor)
            write_probabilities(folder, record.id, probabilities)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="name of a trained model, such as unet")
    run(main, command.parse_args())
