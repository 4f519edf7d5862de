"""Check the whole of params.yaml before anything runs: `python -m stages.check`.

Each stage reads and validates its own blocks only; a misspelt block would be read by none, and a
mistake in the last stage's block would be told when all others have run.
"""

import argparse
from pathlib import Path
from typing import Any

from stages.backend import refuse_contradictions
from stages.command import parser, run
from stages.consistency import check_consistency
from stages.errors import PipelineError
from stages.graph import BASELINE_ROW, ENSEMBLE_ROW, PARAMS_FILES, blocks, model_names
from stages.params.block import Block, read_params, shown, validated
from stages.params.dataset import DatasetParams
from stages.params.excerpt import excerpt_of
from stages.params.model import is_model
from stages.params.predict import PredictParams
from stages.params.settings import Settings
from stages.params.train import TrainParams, load_model_params
from stages.paths import PARAMS


def main(arguments: argparse.Namespace) -> None:
    """Say nothing, or the first thing that is wrong, also with what the environment says."""
    check_params(PARAMS)
    Settings.from_environment()
    for kind in (TrainParams, PredictParams):
        refuse_contradictions(kind.load(PARAMS))


def check_params(file: Path) -> None:
    """Validate every block of a params file, those that no stage would read included.

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
    loaded: dict[type[Block], Any] = {block: block.load(file) for block in known.values()}
    for model in models:
        _check_listed(model, content, file, loaded[TrainParams])
    for name, block in content[TrainParams.key].items():
        if is_model(name) and name not in models and block is not None:
            load_model_params(name, excerpt_of(name).params, file)
    for source, block in content[DatasetParams.key].items():
        # The sources that are not in use, as if they were; one without archives is just not set up.
        if isinstance(block, dict) and block.get("archives") != []:
            where = f"{PARAMS}: {DatasetParams.key}"
            validated(DatasetParams, {"source": source, source: block}, where=where)
    check_consistency(loaded)


def _check_listed(model: str, content: dict[str, Any], file: Path, params: TrainParams) -> None:
    """Check a model that the graph trains, and its block."""
    if model in (ENSEMBLE_ROW, BASELINE_ROW) or model in TrainParams.model_fields:
        raise PipelineError(
            f"{PARAMS}: models: {model!r} already names another row or key; rename the model"
        )
    if not isinstance(content[TrainParams.key].get(model), dict):
        raise PipelineError(
            f"{PARAMS}: models: {model} has no block `{TrainParams.key}.{model}:`; add it"
        )
    excerpt = excerpt_of(model)
    if params.crop % excerpt.divisor:
        raise PipelineError(
            f"{PARAMS}: train.crop: {params.crop} is not divisible by {excerpt.divisor}, as "
            f"{model} needs; {_divisible(params.crop, excerpt.divisor)} is"
        )
    for path in load_model_params(model, excerpt.params, file).files:
        if not path.is_file():
            raise PipelineError(
                f"{PARAMS}: train.{model}: there is no file {path}; give the path of one"
            )


def _divisible(crop: int, divisor: int) -> int:
    return max(1, round(crop / divisor)) * divisor


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
