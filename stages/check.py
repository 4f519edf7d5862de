"""Check the whole of params.yaml before anything runs: `python -m stages.check`.

Each stage reads and validates its own blocks only; a misspelt block would be read by none, and a
mistake in the last stage's block would be told when all others have run.
"""

import argparse
import math
from pathlib import Path
from typing import Any

from stages.backend import refuse_contradictions
from stages.command import parser, run
from stages.consistency import check_consistency
from stages.errors import PipelineError
from stages.graph import BASELINE_ROW, ENSEMBLE_ROW, PARAMS_FILES, blocks, model_names, row_names
from stages.params.block import Block, read_params, shown, validated
from stages.params.dataset import DatasetParams
from stages.params.evaluate import EvaluateParams
from stages.params.excerpt import excerpt_of
from stages.params.model import is_model
from stages.params.predict import PredictParams
from stages.params.settings import Settings
from stages.params.train import TrainParams, model_params_of
from stages.paths import PARAMS


def main(arguments: argparse.Namespace) -> None:
    """Say nothing, or the first thing that is wrong, also with what the environment says."""
    loaded = check_params(PARAMS)
    Settings.from_environment()
    for kind in (TrainParams, PredictParams):
        refuse_contradictions(loaded[kind])


def check_params(file: Path) -> dict[type[Block], Any]:
    """Validate every block of a params file, those that no stage would read included.

    Returns:
        Each block by its class.

    Raises:
        PipelineError: a block is unknown or missing, anything in one is wrong, or two of them
            contradict each other.
    """
    content = read_params(file)
    known = {block.key: block for block in blocks(PARAMS_FILES.glob("*.py"))}
    for key in content:
        if key not in known:
            raise PipelineError(
                f"{PARAMS}: unknown block {shown(key)}; the blocks are {', '.join(sorted(known))}"
            )
    models = model_names(file)
    for model in models:
        if model in (ENSEMBLE_ROW, BASELINE_ROW) or model in TrainParams.model_fields:
            raise PipelineError(
                f"{PARAMS}: models: {model!r} already names another row or key; rename the model"
            )
    loaded: dict[type[Block], Any] = {block: block.of(content, file) for block in known.values()}
    _check_models(content, models, loaded[TrainParams].crop, file)
    for source, block in content[DatasetParams.key].items():
        # The sources that are not in use, as if they were; one without archives is just not set up.
        if isinstance(block, dict) and block.get("archives") != []:
            where = f"{PARAMS}: {DatasetParams.key}"
            validated(DatasetParams, {"source": source, source: block}, where=where)
    rows = row_names(models)
    for row in loaded[EvaluateParams].settings:
        if row not in rows:
            raise PipelineError(
                f"{PARAMS}: evaluate.settings: no row is called {shown(row)}; the rows are "
                f"{', '.join(rows)}"
            )
    check_consistency(loaded)
    return loaded


def _check_models(content: dict[str, Any], models: list[str], crop: int, file: Path) -> None:
    """Check the block of each model, and that the crop suits those that the graph trains."""
    own = content[TrainParams.key]
    for model in models:
        if not isinstance(own.get(model), dict):
            raise PipelineError(
                f"{PARAMS}: models: {model} has no block `{TrainParams.key}.{model}:`; add it"
            )
    divisors = {}
    for model in filter(is_model, own):
        if own[model] is None:
            continue  # not listed, so not set up
        excerpt = excerpt_of(model)
        params = model_params_of(content, model, excerpt.params, file)
        if model not in models:
            continue
        divisors[model] = excerpt.divisor
        for path in params.files:
            if not path.is_file():
                raise PipelineError(
                    f"{PARAMS}: train.{model}: there is no file {path}; give the path of one"
                )
    divisor = math.lcm(*divisors.values())
    if crop % divisor:
        unsuited = [model for model, own_divisor in divisors.items() if crop % own_divisor]
        raise PipelineError(
            f"{PARAMS}: train.crop: {crop} is not divisible as {' and '.join(unsuited)} need; "
            f"{max(1, round(crop / divisor)) * divisor} is"
        )


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
