"""Stage `ensemble`: the mean of all models' probabilities, data/predictions/ensemble/."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from stages.command import parser, run
from stages.dataset.manifest import SplitRecord, read_records
from stages.errors import PipelineError
from stages.files import replacing_folder
from stages.inference.predictions import (
    read_output,
    read_probabilities,
    write_output,
    write_probabilities,
)
from stages.parallel import parallel_map
from stages.params.models import ModelsParams
from stages.paths import PREDICTIONS, SPLITS

ROW = "ensemble"


def main(arguments: argparse.Namespace) -> None:
    """Write the mean probabilities of each image of the protocol.

    Raises:
        PipelineError: the models do not predict the same classes.
    """
    folders = [PREDICTIONS / model for model in ModelsParams.load().names]
    classes = [read_output(folder).classes for folder in folders]
    for folder, found in zip(folders, classes, strict=True):
        if found != classes[0]:
            raise PipelineError(
                f"{folder} has classes {', '.join(found)}, {folders[0]} has "
                f"{', '.join(classes[0])}; train all models on the same target"
            )
    records = read_records(SPLITS, SplitRecord)
    with replacing_folder(PREDICTIONS / ROW) as folder:
        write_output(folder, list(classes[0]), probabilities=True)
        parallel_map(partial(_average, folders=folders, to=folder), records, title=ROW)
    print(f"{ROW}: mean of {len(folders)} models, {len(records)} images")


def _average(record: SplitRecord, *, folders: list[Path], to: Path) -> None:
    # In float32: a sum of float16 would lose bits.
    members = [np.asarray(read_probabilities(folder, record.id), np.float32) for folder in folders]
    write_probabilities(to, record.id, np.mean(members, axis=0, dtype=np.float32))


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
