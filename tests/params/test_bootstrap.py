"""Of block `evaluate` what comparisons read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.errors import PipelineError
from stages.params.block import read_params
from stages.params.bootstrap import BootstrapParams
from stages.params.evaluate import EvaluateParams

SetParams = Callable[[dict[str, object]], None]


def test_the_two_keys_are_those_of_the_whole_block(set_params: SetParams) -> None:
    set_params({"evaluate.bootstrap": 321, "evaluate.seed": 7})
    part, whole = BootstrapParams.load(), EvaluateParams.load()
    assert (part.bootstrap, part.seed) == (whole.bootstrap, whole.seed) == (321, 7)
    assert BootstrapParams.dvc_keys() == ["evaluate.bootstrap", "evaluate.seed"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("evaluate.bootstrap", 0), ("evaluate.seed", -1), ("evaluate.seed", 2**32), ("evaluate", 3)],
)
def test_what_the_whole_block_refuses_the_part_refuses_alike(
    set_params: SetParams, key: str, value: object
) -> None:
    set_params({key: value})
    said = []
    for block in (BootstrapParams, EvaluateParams):
        with pytest.raises(PipelineError) as caught:
            block.load()
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_no_value_of_its_own(project: Path) -> None:
    content = read_params()
    del content["evaluate"]["seed"]
    with pytest.raises(PipelineError, match=r"evaluate\.seed: missing; add it"):
        BootstrapParams.of(content)
