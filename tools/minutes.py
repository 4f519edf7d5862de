"""What minutes of training buy: Dice, AJI and PQ of networks of several sizes and lengths.

`python -m tools.minutes unet.width=8 unet.width=16 segnet.width=16 --epochs 1 2 4 --output
widths.json` trains a model for each setting and length, from nothing, takes the time, and scores
the validation images, best with `--set 'evaluate.splits=[validation]'`. widths.svg, beside the
output, draws every score against the minutes. Like `tools.repeat` it changes params.yaml, puts it
back, and goes on where an interrupted call ended, so call it in a clone of its own. Only times
taken on a machine that does nothing else compare.
"""

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.core.params import read_params
from monuseg.core.paths import METRICS
from monuseg.core.settings import Settings
from monuseg.formats.files import read_json, write_json
from monuseg.formats.manifest import VALIDATION
from monuseg.formats.rows import ModelsParams
from stages.report.charts import PALETTE
from tools import dvc
from tools.preset import apply, params_put_back, parsed
from tools.resumed import runs_before

SCORES = {"dice": "Dice", "aji": "AJI", "pq": "PQ"}
KEYS = ("setting", "epochs", "minutes")  # of a run, besides
# Of the points; the next one where the colours are used up.
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")


def main(arguments: argparse.Namespace) -> None:
    """Train, score and draw; runs that the output already holds are not made again.

    Raises:
        PipelineError: a setting is of no model that the graph trains, or unknown, and nothing ran;
            the output is of other parameters, and nothing ran; or a run failed, and the output
            holds those before. params.yaml is as it was.
    """
    models = {setting: model_of(setting) for setting in arguments.settings}
    common = {"set": arguments.set, "params": read_params()}
    runs = runs_before(arguments.output, common, list)
    if not all(isinstance(one, dict) and one.keys() >= {*KEYS, *SCORES} for one in runs):
        raise PipelineError(f"{arguments.output}: damaged; give another --output, or move it away")
    wanted = list(product(arguments.settings, arguments.epochs))
    changes = {
        (setting, epochs): parsed([*arguments.set, setting, f"train.epochs={epochs}"])
        for setting, epochs in wanted
    }
    # A mistake in the last one is reported before the first has trained.
    for change in changes.values():
        with params_put_back():
            apply(change)
    for setting, epochs in wanted:
        if any((one["setting"], one["epochs"]) == (setting, epochs) for one in runs):
            print(f"{setting}, {epochs} epochs: stands in {arguments.output}")
            continue
        with params_put_back():  # of one setting nothing is left in the next
            apply(changes[setting, epochs])
            print(f"{setting}, {epochs} epochs", flush=True)
            runs.append({"setting": setting, "epochs": epochs, **trained(models[setting])})
            write_json(arguments.output, {**common, "runs": runs})
            draw(runs, arguments.output.with_suffix(".svg"))
    draw(runs, arguments.output.with_suffix(".svg"))  # again: it may have been removed
    table = pd.DataFrame(runs).round({"minutes": 1, **dict.fromkeys(SCORES, 3)})
    print(table.to_string(index=False))


def model_of(setting: str) -> str:
    """The model that a setting, `key=value`, is of.

    Raises:
        PipelineError: it is of none that the graph trains.
    """
    model = setting.partition(".")[0]
    models = ModelsParams.load().names
    if model not in models:
        raise PipelineError(
            f"{setting} is of no model of params.yaml; begin it with {' or '.join(models)}, as "
            f"{models[0]}.learning_rate=0.001"
        )
    return model


def trained(model: str) -> dict[str, float | None]:
    """Train a model from nothing, and score it.

    Returns:
        Minutes of the stage `train`, start included, and `SCORES` of the validation images, None
        where one is undefined.

    Raises:
        PipelineError: a stage failed, or there are no validation images.
    """
    dvc.reproduce("tile")
    scratch = Settings.from_environment().scratch
    scratch.mkdir(parents=True, exist_ok=True)
    # Neither what was trained before counts nor what an interrupted training left.
    with tempfile.TemporaryDirectory(prefix="minutes-", dir=scratch) as empty:
        environment = {"MONUSEG_SCRATCH": str(Path(empty).absolute())}
        began = time.monotonic()
        dvc.reproduce("--force", "--single-item", f"train@{model}", environment=environment)
        minutes = (time.monotonic() - began) / 60
    dvc.reproduce(f"evaluate@{model}")
    scores = read_json(METRICS / f"{model}.json").get(VALIDATION)
    if not scores:
        raise PipelineError(
            "no validation image was scored; hold some out by tile.validation in params.yaml, and "
            "name validation in evaluate.splits"
        )
    return {"minutes": minutes, **{name: scores.get(name) for name in SCORES}}


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw the scores against the minutes, a line a setting."""
    frame = pd.DataFrame(runs).melt(list(KEYS), list(SCORES), "score", "value")
    names = list(dict.fromkeys(run["setting"] for run in runs))
    x = alt.X("minutes:Q", title="minutes of training", scale=alt.Scale(type="log", nice=False))
    # With one run, or equal ones, a label of one digit would be wrong.
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False))
    colour = alt.Color(
        "setting:N",
        sort=names,
        title=None,
        scale=alt.Scale(domain=names, range=list(PALETTE)),
        legend=alt.Legend(orient="bottom", columns=4),
    )
    shapes = [SHAPES[index // len(PALETTE) % len(SHAPES)] for index in range(len(names))]
    shape = alt.Shape(
        "setting:N", sort=names, title=None, scale=alt.Scale(domain=names, range=shapes)
    )
    panels = []
    for name, title in SCORES.items():
        base = alt.Chart(frame[frame["score"] == name], title=title, width=250, height=230)
        base = base.encode(x=x, y=y, color=colour)
        panels.append(base.mark_line() + base.mark_point(filled=True, size=40).encode(shape=shape))
    with replacing(path) as temporary:
        alt.hconcat(*panels).configure(background="white").save(str(temporary))


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("settings", nargs="+", metavar="model.key=value")
    command.add_argument("--epochs", nargs="+", type=int, required=True, help="lengths to train")
    command.add_argument("--set", nargs="*", default=[], metavar="key=value", help="in every run")
    command.add_argument("--output", type=Path, required=True, help="JSON file to write")
    run(main, command.parse_args())
