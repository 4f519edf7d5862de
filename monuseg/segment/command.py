"""Apply a trained model to your own images; not a stage of the graph.

`monuseg segment MODEL IMAGE [IMAGE ...] --output FOLDER [--um-per-pixel 0.5]` writes, for
each image, `<name>.nuclei.png` (16-bit label map) and `<name>.nuclei.csv` (one row per nucleus:
label, centre and area).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage.measure import regionprops_table
from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.images import RGB, Labels, write_labels
from monuseg.formats.paths import MODELS, PREDICTIONS
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Forward
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.models.shared import backend
from monuseg.nuclei.chosen import read_chosen
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.readers.raster import decode_rgb

# Rescaling by less only blurs: slides of one scanner setting differ by this much anyway.
SCALE_TOLERANCE = 0.1


def main(arguments: argparse.Namespace) -> None:
    """Write the nuclei of each image.

    Raises:
        PipelineError: the model was not trained or evaluated, two images have the same name, or an
            image cannot be read.
    """
    names = [path.stem for path in arguments.images]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise PipelineError(f"two images are called {repeated}; rename one, or run them separately")
    settings, _ = read_chosen(PREDICTIONS, arguments.model)
    params = PredictParams.load()
    backend.configure(params, seed=0)
    # Only now, since these import Keras, and Keras reads its backend when it is imported.
    from monuseg.inference.forward import forward_of
    from monuseg.models.shared import registry, store

    model, card = store.load(MODELS, arguments.model)
    forward = forward_of(model, card.scaling)
    divisor = registry.architecture(card.model).divisor
    um_per_pixel = arguments.um_per_pixel or card.um_per_pixel
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in tqdm(arguments.images, desc="segment", disable=not sys.stderr.isatty()):
        scale = um_per_pixel / card.um_per_pixel
        labels = segment(
            NORMALISATIONS[card.stain_normalisation](decode_rgb(path.read_bytes(), name=str(path))),
            forward,
            params,
            settings,
            classes=card.classes,
            divisor=divisor,
            scale=scale,
        )
        with replacing(arguments.output / f"{path.stem}.nuclei.png") as temporary:
            write_labels(temporary, labels)
        with replacing(arguments.output / f"{path.stem}.nuclei.csv") as temporary:
            nuclei_table(labels, um_per_pixel).to_csv(
                temporary, index=False, lineterminator="\n", float_format="%.2f"
            )
        print(f"{path}: {labels.max()} nuclei")


def segment(
    image: RGB,
    forward: Forward,
    params: PredictParams,
    settings: NucleiSettings,
    *,
    classes: Sequence[str],
    divisor: int,
    scale: float,
) -> Labels:
    """The nuclei of one image.

    Args:
        image: (height, width, 3).
        forward: the model.
        params: windows and views.
        settings: how nuclei are told apart, at the model's resolution.
        classes: of the model's outputs.
        divisor: must divide height and width of the model's input.
        scale: the image's micrometres per pixel over the model's; the image is resampled to the
            model's resolution first, unless the two are nearly equal.

    Returns:
        (height, width) labels.
    """
    height, width = image.shape[:2]
    resized = image
    if abs(scale - 1) > SCALE_TOLERANCE:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    predictions = predict_augmented(forward, resized, params, divisor=divisor)
    labels = nuclei_from_predictions(predictions, classes, settings)
    if labels.shape == (height, width):
        return labels
    back = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(back, np.uint16)


def nuclei_table(labels: Labels, um_per_pixel: float) -> pd.DataFrame:
    """One row per nucleus: label, centre (y, x) in pixels from 0, area in pixels and um2."""
    measured = regionprops_table(labels, properties=("label", "centroid", "area"))
    table = pd.DataFrame(measured).set_axis(["label", "y", "x", "area"], axis="columns")
    return table.assign(area=table["area"].astype(int), area_um2=table["area"] * um_per_pixel**2)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("model", help="name of a trained and evaluated model, such as unet")
    command.add_argument("images", nargs="+", type=Path, metavar="image")
    command.add_argument("--output", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--um-per-pixel", type=float, help="of the images; by default that of the training images"
    )
