"""A trained model applied to images of the data set."""

import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.formats.images import read_rgb
from monuseg.formats.manifest import SplitRecord
from monuseg.formats.paths import MODELS, RAW
from monuseg.formats.predictions import write_output, write_probabilities
from monuseg.formats.scale import scale_of
from monuseg.inference.forward import load_forward
from monuseg.inference.params import PredictParams
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.models.shared import registry


def predict(model: str, records: Iterable[SplitRecord], folder: Path) -> None:
    """Write a predictions folder: the probabilities of images by the model in data/models.

    Args:
        model: its name.
        records: the images, read from data/raw.
        folder: what it has of other images stays.

    Raises:
        PipelineError: the model is missing, or an image too large at the model's resolution.
    """
    params = PredictParams.load()
    forward, card = load_forward(MODELS, model, params)
    divisor = registry.architecture(card.model).divisor
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
