"""Say whether one row is better than another on the same images; no stage of the graph.

`python -m stages.compare unet segnet` compares rows of this work tree;
`python -m stages.compare unet ../other/metrics/per_image/unet.csv` with that of another.
"""

import argparse
from pathlib import Path

import pandas as pd

from stages.command import parser, run
from stages.dataset.manifest import TEST, TRAIN, VALIDATION
from stages.errors import PipelineError
from stages.params.evaluate import EvaluateParams
from stages.paths import PER_IMAGE
from stages.scoring.paired import Difference, difference

SCORES = ("dice", "iou", "aji", "pq", "dq", "sq")


def main(arguments: argparse.Namespace) -> None:
    """Print a line a score.

    Raises:
        PipelineError: a table is missing, has no such split, or the two are not of the same images.
    """
    first, second = (table(name, arguments.split) for name in (arguments.first, arguments.second))
    if list(first.index) != list(second.index):
        raise PipelineError(
            f"{arguments.first} and {arguments.second} have other {arguments.split} images; "
            "compare rows of one protocol"
        )
    params = EvaluateParams.load()
    print(f"{arguments.first} less {arguments.second}, {len(first)} {arguments.split} images:")
    for name in SCORES:
        found = difference(
            values(first, name), values(second, name), resamples=params.bootstrap, seed=params.seed
        )
        print(f"{name:>5}  " + ("too few images" if found is None else said(found)))


def table(name: str, split: str) -> pd.DataFrame:
    """The scores of a row's images, by id.

    Args:
        name: of a row, or the path of its table.
        split: of the images.
    """
    path = Path(name) if name.endswith(".csv") else PER_IMAGE / f"{name}.csv"
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{path.stem}`")
    content = pd.read_csv(path)
    missing = [column for column in ("id", "split", *SCORES) if column not in content.columns]
    if missing:
        raise PipelineError(f"{path} has no column {missing[0]!r}; name a table of stage evaluate")
    found = content[content["split"] == split].set_index("id").sort_index()
    if found.empty:
        raise PipelineError(f"{path} has no {split} image; add it to evaluate.splits")
    return found


def values(scores: pd.DataFrame, name: str) -> list[float | None]:
    """A score of each image, None where it is undefined."""
    return [None if pd.isna(value) else float(value) for value in scores[name]]


def said(found: Difference) -> str:
    """A difference in words."""
    verdict = "holds" if found.holds else "may be chance"
    return (
        f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}), higher on {found.wins} of "
        f"{found.images}: {verdict}"
    )


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("first", help="a row, or a table metrics/per_image/ROW.csv")
    command.add_argument("second", help="another")
    command.add_argument("--split", choices=[TRAIN, VALIDATION, TEST], default=TEST)
    run(main, command.parse_args())
