"""Stage `baseline`: nuclei by colour deconvolution and Otsu's threshold, data/predictions/otsu/."""

import argparse
from functools import partial

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import SplitRecord, read_records
from monuseg.formats.paths import PREDICTIONS, RAW, SPLITS
from monuseg.formats.predictions import NUCLEUS, write_output
from monuseg.formats.rows import BASELINE
from stages.baseline.otsu import write_mask
from stages.baseline.params import BaselineParams


def main(arguments: argparse.Namespace) -> None:
    """Write a hard mask for each image of the protocol."""
    params = BaselineParams.load()
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / BASELINE) as folder:
        write_output(folder, [NUCLEUS], probabilities=False)
        parallel_map(
            partial(write_mask, raw=RAW.absolute(), folder=folder, params=params),
            records,
            title=BASELINE,
        )
    print(f"{BASELINE}: {len(records)} images")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
