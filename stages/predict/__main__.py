"""Stage `predict@MODEL`: apply a trained model to whole images, data/predictions/MODEL/."""

import argparse

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.formats.manifest import SplitRecord, read_records
from monuseg.formats.paths import PREDICTIONS, SPLITS
from stages.predict.images import predict


def main(arguments: argparse.Namespace) -> None:
    """Write the probabilities of each image of data/splits.csv.

    Raises:
        PipelineError: as `predict`; or the table is missing.
    """
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / arguments.model) as folder:
        predict(arguments.model, records, folder)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="name of a trained model, such as unet")
    run(main, command.parse_args())
