"""The highest AJI and PQ that post-processing allows: true maps as predictions, and coarser ones.

`python -m tools.ceiling` makes, of the true label maps of the training and validation images, the
maps that a perfect network with outputs nucleus, boundary and distance would predict, spoils them
as networks do (logits at a stride, enlarged; blur), and scores the nuclei that come out. What is
lost with the maps untouched no network can gain.
"""

import argparse
import sys
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels
from monuseg.formats.manifest import TEST, SplitRecord, read_records
from monuseg.formats.paths import MASKS, SPLITS
from monuseg.formats.predictions import BOUNDARY, DISTANCE, NUCLEUS
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions, separations
from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import aji, panoptic
from stages.train.params import TrainParams
from stages.train.targets import maps_of, target_of

QUIET = not sys.stderr.isatty()
OUTPUTS = (NUCLEUS, BOUNDARY, DISTANCE)
STRIDES = (1, 2, 4)
SIGMAS = (2.0, 3.0)
HALF = 0.5
MIN_AREA = 30

# How maps are spoilt: by a stride, and by the sigma of a Gaussian, in pixels.
Spoilt = tuple[int, float]
SPOILT: list[Spoilt] = [(stride, 0.0) for stride in STRIDES] + [(1, sigma) for sigma in SIGMAS]


def main(arguments: argparse.Namespace) -> None:
    """Print a line a way of spoiling and a pair of columns a separation.

    Raises:
        PipelineError: there is no image whose nuclei are told apart, or its label map is missing.
    """
    images = [
        record.id
        for record in read_records(SPLITS, SplitRecord)
        if record.split != TEST and record.tells_nuclei_apart
    ]
    if not images:
        raise PipelineError(
            f"{SPLITS}: no training or validation image tells nuclei apart; see tile.validation"
        )
    width = TrainParams.load().boundary_width
    scored = [ceilings(one, boundary_width=width) for one in tqdm(images, disable=QUIET)]
    table = pd.DataFrame([row for rows in scored for row in rows]).dropna()
    if table.empty:
        raise PipelineError(f"{MASKS}: no nucleus in the training and validation images")
    means = table.pivot_table(
        ["AJI", "PQ"], index="maps", columns="separation", aggfunc="mean", sort=False
    )
    print(f"mean of {table['id'].nunique()} training and validation images:")
    print(means.to_string(float_format="%.3f"))


def ceilings(image: str, *, boundary_width: int) -> list[dict[str, str | float | None]]:
    """The scores of one image by way of spoiling and separation.

    Args:
        image: its id.
        boundary_width: of the band along the edges of nuclei, in pixels.
    """
    truth = read_labels(MASKS / f"{image}.png")
    perfect = target_of(truth, maps_of(truth, OUTPUTS, boundary_width))
    rows: list[dict[str, str | float | None]] = []
    for (stride, sigma), separation in product(SPOILT, separations(OUTPUTS)):
        settings = NucleiSettings(HALF, 0.0, 5, MIN_AREA, separation, HALF)
        made = nuclei_from_predictions(spoilt(perfect, stride, sigma), OUTPUTS, settings)
        found, quality = scores(truth, made)
        name = f"blur of {sigma:g} px" if sigma else f"stride {stride}"
        rows.append(
            {"id": image, "maps": name, "separation": separation, "AJI": found, "PQ": quality}
        )
    return rows


def spoilt(maps: npt.NDArray[np.float32], stride: int, sigma: float) -> npt.NDArray[np.float32]:
    """Maps as a network has them that predicts a pixel every `stride` and is blurred.

    Args:
        maps: (height, width, outputs) from 0 to 1.
        stride: 1 changes nothing.
        sigma: of the Gaussian, in pixels; 0 changes nothing.
    """
    height, width = maps.shape[:2]
    if stride > 1:
        coarse = cv2.resize(
            maps, (-(-width // stride), -(-height // stride)), interpolation=cv2.INTER_AREA
        )
        maps = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if sigma:
        maps = cv2.GaussianBlur(maps, (0, 0), sigma)
    return np.asarray(maps, np.float32)


def scores(truth: Labels, made: Labels) -> tuple[float | None, float | None]:
    """AJI and PQ; None without nuclei in either."""
    table = contingency(truth, made)
    return aji(table), panoptic(table).pq


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
