"""Score a network on images as other scanners and stainings would make them, from our own.

`python -m tools.shifts segnet [--split validation]` changes each image of the split in stain,
light, focus, compression or resolution, finds its nuclei as `monuseg segment` does, and scores them
against the truth. Another laboratory changes several of these at once.
"""

import argparse
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from skimage.color import hed_from_rgb, rgb_from_hed
from tqdm import tqdm

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, Labels, read_labels, read_rgb
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord, read_records
from monuseg.formats.paths import MASKS, RAW, SPLITS
from monuseg.formats.scale import scale_of
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import aji, panoptic
from monuseg.segment.models import Network, find, load, predict_params
from monuseg.segment.options import VIEWS
from tools.score import name_or_path, probabilities

AS_IT_IS, HALF_SIZE = "as it is", "at half the resolution, JPEG 80"
QUIET = not sys.stderr.isatty()


def main(arguments: argparse.Namespace) -> None:
    """Print a line a change: means over the images, and what the worst one loses in Dice.

    Raises:
        PipelineError: as `find`, `load` and the readers; or the split has no image whose nuclei are
            told apart.
    """
    records = [
        one
        for one in read_records(SPLITS, SplitRecord)
        if one.split == arguments.split and one.tells_nuclei_apart
    ]
    if not records:
        raise PipelineError(f"{SPLITS}: no {arguments.split} image tells nuclei apart")
    named = find(str(arguments.model))
    flips, rotations = VIEWS[4]  # of `monuseg segment` on images of this size
    views = {"flips": flips, "rotations": rotations}
    network = load(named, predict_params("auto").model_copy(update=views))
    rows = []
    for record in tqdm(records, desc="shifts", disable=QUIET):
        image, truth = read_rgb(RAW / f"{record.id}.tif"), read_labels(MASKS / f"{record.id}.png")
        for name, change in SHIFTS.items():
            changed = record
            if name == HALF_SIZE:
                changed = replace(record, um_per_pixel=2 * record.um_per_pixel)
            found = nuclei_of(network, named.settings, change(image), changed.um_per_pixel)
            rows.append({"image": record.id, "change": name, **scores(truth, found)})
    table = pd.DataFrame(rows)
    plain = table[table["change"] == AS_IT_IS].set_index("image")["Dice"]
    table["most lost"] = table["image"].map(plain) - table["Dice"]
    shown = table.groupby("change", sort=False).agg(
        {"Dice": "mean", "AJI": "mean", "PQ": "mean", "most lost": "max"}
    )
    print(f"{named.name}, {len(records)} {arguments.split} images:")
    print(shown.to_string(float_format="%.3f"))


def nuclei_of(
    network: Network, settings: NucleiSettings, image: RGB, um_per_pixel: float
) -> Labels:
    """The nuclei of an image, (height, width) 1..n."""
    scale = scale_of(um_per_pixel, network.um_per_pixel)
    found = probabilities(network, image, scale)
    return nuclei_from_predictions(found, network.classes, settings, scale)


def scores(truth: Labels, found: Labels) -> dict[str, float | None]:
    """Dice of the mask, AJI and PQ, in the found nuclei's pixels, as if annotated at their size."""
    if found.shape != truth.shape:
        size = found.shape[1], found.shape[0]
        truth = np.asarray(cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST), truth.dtype)
    table = contingency(truth, found)
    both = np.count_nonzero((truth > 0) & (found > 0))
    total = np.count_nonzero(truth) + np.count_nonzero(found)
    return {
        "Dice": 2 * both / total if total else None,
        "AJI": aji(table),
        "PQ": panoptic(table).pq,
    }


# === Changes: (height, width, 3) to the same, or to half the size ===


def stained(image: RGB, haematoxylin: float, eosin: float) -> RGB:
    """With other amounts of the stains, by Ruifrok & Johnston's colours."""
    density = -np.log((image.astype(np.float64) + 1) / 256)
    # What neither explains stays as it is; `rgb2hed` would set negative amounts to 0.
    density = density @ hed_from_rgb * (haematoxylin, eosin, 1) @ rgb_from_hed
    return np.asarray(np.rint(np.clip(256 * np.exp(-density) - 1, 0, 255)), np.uint8)


def lit(image: RGB, *light: float) -> RGB:
    """With less red, green or blue light."""
    return np.asarray(np.rint(image * np.array(light)), np.uint8)


def out_of_focus(image: RGB, sigma: float) -> RGB:
    """Blurred by a Gaussian; sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def compressed(image: RGB, quality: int) -> RGB:
    """As JPEG gives it back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    return np.array(Image.open(file))


def coarse(image: RGB, quality: int) -> RGB:
    """Averaged to half the size, as a scan of 40x at 20x, and compressed."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return compressed(np.asarray(small, np.uint8), quality)


SHIFTS: dict[str, Callable[[RGB], RGB]] = {
    AS_IT_IS: lambda image: image,
    HALF_SIZE: partial(coarse, quality=80),
    "haematoxylin x 0.6": partial(stained, haematoxylin=0.6, eosin=1.0),
    "haematoxylin x 1.5": partial(stained, haematoxylin=1.5, eosin=1.0),
    "eosin x 1.5": partial(stained, haematoxylin=1.0, eosin=1.5),
    "light x 0.8": lambda image: lit(image, 0.8, 0.8, 0.8),
    "yellow light": lambda image: lit(image, 1.0, 0.97, 0.85),
    "out of focus, sigma 2": partial(out_of_focus, sigma=2.0),
    "JPEG 30": partial(compressed, quality=30),
}


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", type=name_or_path, help="as `monuseg segment --model` takes it")
    command.add_argument("--split", choices=[TRAIN, VALIDATION, TEST], default=VALIDATION)
    run(main, command.parse_args())
