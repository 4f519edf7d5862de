"""Prepare the final run: all training images train, by what the validation images chose.

`python -m tools.finalise`, after a run with validation images, writes to params.yaml the threshold
and the settings of nuclei that were chosen for each row, lets no image be held out any more, and
keeps the last epoch, since nothing is left to choose one by. `dvc repro` then makes the final run.
No stage of the graph.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.formats.paths import PREDICTIONS
from monuseg.formats.rows import ModelsParams, row_names
from monuseg.nuclei.chosen import read_chosen
from tools.preset import apply


def main(arguments: argparse.Namespace) -> None:
    """Change params.yaml and print how.

    Raises:
        PipelineError: a row was not evaluated, or its settings were chosen on images that train.
    """
    rows = row_names(ModelsParams.load().names)
    changes = [
        ("evaluate.settings", {row: chosen(row, PREDICTIONS) for row in rows}),
        ("tile.validation.method", "none"),
        ("train.keep", "last"),
    ]
    for line in apply(changes):
        print(line)


def chosen(row: str, folder: Path) -> dict[str, Any]:
    """The settings that stage evaluate chose for a row.

    Args:
        row: its name.
        folder: of the predictions, with ROW.json of each row.

    Raises:
        PipelineError: it was not evaluated, or its settings were chosen on images that train.
    """
    settings, chosen_on = read_chosen(folder, row)
    if "train" in chosen_on.values():
        raise PipelineError(
            f"{folder / row}.json: chosen on images that train; hold some out "
            "(tile.validation.method), and run `dvc repro`"
        )
    return asdict(settings)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
