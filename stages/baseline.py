"""Stage `baseline`: nuclei by colour deconvolution and Otsu's threshold, data/predictions/otsu/."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from stages.command import parser, run
from stages.dataset.images import read_rgb
from stages.dataset.manifest import SplitRecord, read_records
from stages.files import replacing_folder
from stages.inference.otsu import nucleus_mask
from stages.inference.predictions import NUCLEUS, write_output, write_probabilities
from stages.parallel import parallel_map
from stages.params.baseline import BaselineParams
from stages.paths import PREDICTIONS, RAW, SPLITS

ROW = "otsu"


def main(arguments: argparse.Namespace) -> None:
    """Write a hard mask for each image of the protocol."""
    params = BaselineParams.load()
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / ROW) as folder:
        write_output(folder, [NUCLEUS], probabilities=False)
        parallel_map(partial(_segment, folder=folder, params=params), records, title=ROW)
    print(f"{ROW}: {len(records)} images")


def _segment(record: SplitRecord, *, folder: Path, params: BaselineParams) -> None:
    image = read_rgb(RAW / f"{record.id}.tif")
    mask = nucleus_mask(image, sigma=params.sigma, min_area=params.min_area)
    write_probabilities(folder, record.id, mask[..., np.newaxis].astype(np.float16))


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
