"""Stage `ensemble`: the mean of all models' probabilities, data/predictions/ensemble/."""

import argparse
from functools import partial

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import SplitRecord, read_records
from monuseg.formats.paths import PREDICTIONS, SPLITS
from monuseg.formats.predictions import read_output, write_output
from monuseg.formats.rows import ENSEMBLE, ModelsParams
from stages.ensemble.mean import write_mean


def main(arguments: argparse.Namespace) -> None:
    """Write the mean probabilities of each image of the protocol.

    Raises:
        PipelineError: the models do not predict the same classes, or as `write_mean`.
    """
    folders = [PREDICTIONS.absolute() / model for model in ModelsParams.load().names]
    classes = [read_output(folder).classes for folder in folders]
    for folder, found in zip(folders, classes, strict=True):
        if found != classes[0]:
            raise PipelineError(
                f"{folder} has classes {', '.join(found)}, {folders[0]} has "
                f"{', '.join(classes[0])}; train all models on the same target"
            )
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / ENSEMBLE) as folder:
        write_output(folder, list(classes[0]), probabilities=True)
        mean = partial(write_mean, folders=folders, classes=classes[0], to=folder)
        parallel_map(mean, records, title=ENSEMBLE)
    print(f"{ENSEMBLE}: mean of {len(folders)} models, {len(records)} images")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
