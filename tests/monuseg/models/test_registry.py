"""Tests of `monuseg.models.shared.registry` and of the blocks that models have."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.models.shared import registry
from monuseg.models.shared.registry import architecture, is_model

SetParams = Callable[[dict[str, object]], None]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of monuseg/models."""
    for file in ("tiny/params.py", "shared/params.py", "empty/network.py", "params.py"):
        path = tmp_path / "models" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(registry, "MODELS", tmp_path / "models")
    return tmp_path / "models"


def test_a_model_is_a_folder_with_params_of_its_own(models: Path) -> None:
    (models.parent / "x").mkdir()
    (models.parent / "x/params.py").touch()
    assert is_model("tiny")
    for name in ("shared", "empty", "x", "../x", "a-b", "tiny/", "tiny.params", "", None, 3, "."):
        assert not is_model(name), name


def test_the_committed_models_are_models() -> None:
    assert all(map(is_model, ("unet", "segnet", "deeplabv3plus")))


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(PipelineError, match=r"there is no monuseg/models/unett/params\.py"):
        architecture("unett")


@pytest.mark.parametrize("missing", ["Params", "DIVISOR"])
def test_what_params_lack_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = architecture("unet").params.__module__
    monkeypatch.delattr(sys.modules[module], missing)
    with pytest.raises(PipelineError, match=f"unet/params.py defines no {missing}; add it"):
        architecture("unet")


def test_the_block_is_named_as_the_folder() -> None:
    assert architecture("segnet").params.key == "segnet"


@pytest.mark.usefixtures("project")
def test_a_models_own_block_is_read() -> None:
    params = architecture("unet").params
    assert params.load() == params(width=8, learning_rate=0.006)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"width": 0, "learning_rate": 0.1}, "unet.width: must be greater"),
        ({"width": 8, "learning_rate": 0}, "unet.learning_rate: must be greater"),
        ({"width": 8}, "unet.learning_rate: missing; add it"),
        ({"width": 8, "learning_rate": 1, "depth": 2}, "unet.depth: unknown key; remove it"),
        (None, "unet: must be a mapping of keys, found None"),
    ],
)
def test_a_mistake_in_it_is_named(block: object, said: str, set_params: SetParams) -> None:
    set_params({"unet": block})
    with pytest.raises(PipelineError) as caught:
        architecture("unet").params.load()
    assert str(caught.value).startswith(f"params.yaml: {said}")


def test_a_model_without_a_block_is_named(project: Path) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("\nunet:", "\nother:"))
    with pytest.raises(PipelineError, match=r"the block `unet:` is missing"):
        architecture("unet").params.load()
