"""Repeat the graph for several values of one parameter, and say how far the scores spread.

`python -m tools.repeat train.seed 1 2 3` gives the spread over seeds, `python -m tools.repeat
tile.validation.fold 0 1 2 3 4 --set tile.validation.method=fold` cross-validation. No stage of the
graph: it changes params.yaml, runs `dvc repro`, and puts params.yaml back. Afterwards metrics/ and
dvc.lock are those of the last value, until the next `dvc repro`, which trains anew: DVC's cache of
runs does not serve stages that write files kept in git, such as histories. Interrupted, the same
command goes on: the output has every run that ended. It does not see changed code: then name
another output. Beside the output, seeds.json, stands a table a row, seeds.unet.csv: of each image
the mean over runs, so that `python -m tools.compare` pairs two such commands image by image.
"""

import argparse
import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import write_text
from monuseg.core.params import read_params
from monuseg.core.paths import METRICS
from monuseg.formats.files import read_json, write_json
from monuseg.formats.paths import PER_IMAGE
from monuseg.formats.rows import ModelsParams
from tools import dvc
from tools.preset import apply, params_put_back, parsed
from tools.resumed import runs_before


def main(arguments: argparse.Namespace) -> None:
    """Write the scores after each run, and print mean, spread and extremes.

    Values that the output already holds, of the same parameters, are not run again.

    Raises:
        PipelineError: a parameter is unknown or a value invalid, and nothing ran; the output is of
            other parameters, and nothing ran; or a run failed, and the output holds those before.
            params.yaml is as it was.
    """
    rows = arguments.rows or ModelsParams.load().names
    setting = {"key": arguments.key, "set": arguments.set, "rows": rows, "params": read_params()}
    runs = runs_before(arguments.output, setting, dict)
    if not all(_is_whole(one, rows) for one in runs.values()):
        raise PipelineError(
            f"{arguments.output}: damaged, or of an earlier version, without single images; give "
            "another --output, or move it away"
        )
    changes = {
        value: parsed([*arguments.set, f"{arguments.key}={value}"]) for value in arguments.values
    }
    try:
        with params_put_back():
            # A mistake in the last value is reported before the first has trained.
            for change in changes.values():
                apply(change)
            for value, change in changes.items():
                if value in runs:
                    print(f"{arguments.key}={value}: stands in {arguments.output}")
                    continue
                apply(change)
                print(f"{arguments.key}={value}", flush=True)
                dvc.reproduce(*(f"evaluate@{row}" for row in rows))
                tables = {row: (PER_IMAGE / f"{row}.csv").read_text("utf-8") for row in rows}
                scores = {row: read_json(METRICS / f"{row}.json") for row in rows}
                runs[value] = {**scores, "per_image": tables}
                spreads = {row: spread([one[row] for one in runs.values()]) for row in rows}
                write_json(arguments.output, {**setting, "runs": runs, "spread": spreads})
    finally:
        for row in rows if runs else ():
            table = averaged([one["per_image"][row] for one in runs.values()])
            write_text(arguments.output.with_suffix(f".{row}.csv"), table)
    for row, scores in read_json(arguments.output)["spread"].items():
        for key, found in scores.items():
            deviation = "" if found["std"] is None else f" ± {found['std']:.3f}"
            extremes = f"{found['min']:.3f} to {found['max']:.3f}"
            print(f"{row}, {key}: {found['mean']:.3f}{deviation} ({extremes})")


def _is_whole(run: Any, rows: list[str]) -> bool:
    """Whether a run holds the scores of all rows, and those of their images."""
    tables = run.get("per_image") if isinstance(run, dict) else None
    return isinstance(tables, dict) and all(row in run and row in tables for row in rows)


def averaged(tables: list[str]) -> str:
    """The mean of each image over the runs that scored it.

    Args:
        tables: contents of metrics/per_image/ROW.csv.

    Returns:
        The same, a line an image; a score that no run defines stays empty.
    """
    # As text first: pandas takes an image called "NA" for an empty cell.
    lines = [line for table in tables for line in csv.DictReader(StringIO(table))]
    content = pd.DataFrame(lines).set_index(["id", "split", "organ"]).apply(pd.to_numeric)
    found = content.groupby(level=[*content.index.names]).mean()
    return str(found.to_csv(lineterminator="\n", float_format="%.10g"))


def spread(runs: list[Any]) -> dict[str, Any]:
    """Mean, standard deviation, lowest and highest of each score that all runs have.

    The ends of intervals over images are left out: they are not scores of a run. One run has no
    standard deviation: it is None.

    Args:
        runs: contents of metrics/ROW.json.

    Returns:
        By dotted key, as `test.dice`.
    """
    scores = pd.json_normalize(runs).dropna(axis="columns")
    scores = scores.loc[:, ~scores.columns.str.endswith(("_lo", "_hi"))]
    found = scores.agg(["mean", "std", "min", "max"]).round(6).astype(object)
    found = found.where(found.notna(), None)
    return {str(key): values.to_dict() for key, values in found.items()}


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("key", help="dotted, as train.seed")
    command.add_argument("values", nargs="+")
    command.add_argument("--set", nargs="*", default=[], metavar="key=value", help="in every run")
    command.add_argument("--rows", nargs="+", help="which to score; else all models")
    command.add_argument("--output", type=Path, required=True, help="JSON file to write")
    run(main, command.parse_args())
