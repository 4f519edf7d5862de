"""Say whether one row is better than another on the same images.

`python -m tools.compare unet segnet` compares rows of this work tree;
`python -m tools.compare unet ../other/metrics/per_image/unet.csv` with that of another.
"""

import argparse
from pathlib import Path

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION
from monuseg.formats.paths import PER_IMAGE
from monuseg.scoring.paired import Difference, cautions, difference, odds
from monuseg.scoring.per_image import SCORES, read_scores, values


def main(arguments: argparse.Namespace) -> None:
    """Print a line a score, how often such lines are chance, and which are of few images.

    Raises:
        PipelineError: a table is missing, has no such split, or the two are not of the same images.
    """
    first, second = (
        read_scores(path_of(name), arguments.split) for name in (arguments.first, arguments.second)
    )
    if list(first.index) != list(second.index):
        raise PipelineError(
            f"{arguments.first} and {arguments.second} have other {arguments.split} images; "
            "compare rows of one protocol"
        )
    print(f"{arguments.first} less {arguments.second}, {len(first)} {arguments.split} images:")
    found = {name: difference(values(first, name), values(second, name)) for name in SCORES}
    for name, one in found.items():
        print(f"{name:>5}  " + ("too few images" if one is None else said(one)))
    if comparisons := sum(one is not None for one in found.values()):
        print(odds(comparisons))
    for caution in cautions(found.items()):
        print(caution)


def row_or_table(text: str) -> str | Path:
    """A row of this work tree by its name, or a table by its path."""
    return Path(text) if text.endswith(".csv") else text


def path_of(row: str | Path) -> Path:
    """The table of a row."""
    return row if isinstance(row, Path) else PER_IMAGE / f"{row}.csv"


def said(found: Difference) -> str:
    """A difference in words."""
    verdict = "holds" if found.holds else "may be chance"
    left_out = f", {found.left_out} defined in one alone left out" if found.left_out else ""
    return (
        f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}), higher on {found.wins} of "
        f"{found.images}{left_out}: {verdict}"
    )


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument(
        "first", type=row_or_table, help="a row, or a table metrics/per_image/ROW.csv"
    )
    command.add_argument("second", type=row_or_table, help="another")
    command.add_argument("--split", choices=[TRAIN, VALIDATION, TEST], default=TEST)
    run(main, command.parse_args())
