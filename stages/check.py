"""Check the whole of params.yaml before anything runs: `python -m stages.check`.

Each stage reads and validates its own blocks only; a misspelt block would be read by none.
"""

import argparse
from pathlib import Path

from stages.command import parser, run
from stages.errors import PipelineError
from stages.graph import PARAMS_FILES, blocks, model_names
from stages.params.block import read_params, validated
from stages.params.dataset import DatasetParams
from stages.params.train import TrainParams
from stages.paths import PARAMS


def main(arguments: argparse.Namespace) -> None:
    """Say nothing, or the first thing that is wrong."""
    check_params(PARAMS)


def check_params(file: Path) -> None:
    """Validate every block of a params file, those that no stage would read included.

    Raises:
        PipelineError: a block is unknown or missing, or anything in one is wrong.
    """
    content = read_params(file)
    known = {block.key: block for block in blocks(PARAMS_FILES.glob("*.py"))}
    for key in content:
        if key not in known:
            raise PipelineError(
                f"{PARAMS}: unknown block {key!r}; the blocks are {', '.join(sorted(known))}"
            )
    models = model_names(file)
    for block in known.values():
        block.load(file)
    for model in models:
        # What is in it is the model's to say, whose module imports Keras; its stage reads it first.
        if not isinstance(content[TrainParams.key].get(model), dict):
            raise PipelineError(
                f"{PARAMS}: models: {model} has no block `{TrainParams.key}.{model}:`; add it"
            )
    for source, block in content[DatasetParams.key].items():
        # The sources that are not in use, as if they were; one without archives is just not set up.
        if isinstance(block, dict) and block.get("archives") != []:
            where = f"{PARAMS}: {DatasetParams.key}"
            validated(DatasetParams, {"source": source, source: block}, where=where)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
