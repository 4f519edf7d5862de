"""Tests of `stages.params.train` and `stages.params.model`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field

from stages.errors import PipelineError
from stages.params import model
from stages.params.model import ModelParams, is_model
from stages.params.train import TrainParams, load_model_params

SetParams = Callable[[dict[str, object]], None]


class Params(ModelParams):
    """As a model's module defines it."""

    width: int = Field(ge=1)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models in place of stages/models."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.py").write_text("class Params(ModelParams):\n    width: int\n")
    (folder / "__init__.py").touch()
    (folder / "large").mkdir()
    (folder / "large/__init__.py").write_text("class Params(ModelParams):\n    width: int\n")
    (folder / "large/part.py").write_text("class Params:\n    width: int\n")
    (folder / "empty").mkdir()  # as a removed model leaves behind, with a __pycache__
    (folder / "shared.py").write_text("def convolution() -> None: ...\n")
    monkeypatch.setattr(model, "MODEL_FILES", folder)
    return folder


def test_a_model_is_a_module_that_defines_params(models: Path) -> None:
    (models.parent / "x.py").write_text("class Params: ...\n")
    (models / "a-b.py").write_text("class Params: ...\n")
    assert is_model("tiny")
    assert is_model("large")
    for name in (
        "large/part",
        "large.part",
        "part",
        "empty",
        "x",
        "../x",
        "a-b",
        "tiny.py",
        "",
        None,
        3,
        "shared",
        "__init__",
        "./tiny",
    ):
        assert not is_model(name), name


def test_the_committed_models_are_models() -> None:
    assert all(map(is_model, ("unet", "segnet", "deeplabv3plus")))
    # What stands beside the models and is none.
    assert not is_model("registry")
    assert not is_model("store")
    assert not is_model("scaling")
    assert not is_model("convolution")


@pytest.mark.usefixtures("project")
def test_models_blocks_are_no_part_of_the_block_train() -> None:
    params = TrainParams.load()
    assert params.augmentation.scale == (0.8, 1.25)
    assert "unet" not in params.model_dump()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"augmentation.elastic": -1.0}, "augmentation.elastic: must be greater than or equal to"),
        ({"augmentation.elastic_scale": 0}, "augmentation.elastic_scale: must be greater than"),
        (
            {"augmentation.elastic": 10.5, "augmentation.elastic_scale": 20},
            "augmentation: `elastic` must be at most half of `elastic_scale`; lower it",
        ),
        ({"sampling": None}, "sampling: must be a mapping of keys"),
        ({"sampling.organs": "same"}, "sampling.organs: must be 'area' or 'equal'"),
        ({"sampling.nuclei": 1.1}, "sampling.nuclei: must be less than or equal to 1"),
        ({"sampling.tiles": 1}, "sampling.tiles: unknown key"),
    ],
)
def test_a_mistake_in_how_crops_are_made_is_named(
    values: dict[str, object], said: str, set_params: SetParams
) -> None:
    set_params({f"train.{key}": value for key, value in values.items()})
    with pytest.raises(PipelineError) as caught:
        TrainParams.load()
    assert str(caught.value).startswith(f"params.yaml: train.{said}")


@pytest.mark.usefixtures("models")
def test_a_block_of_no_model_is_an_unknown_key(set_params: SetParams) -> None:
    set_params({"train.tiny": {"width": "anything"}})
    with pytest.raises(PipelineError, match=r"params\.yaml: train\.unet: unknown key"):
        TrainParams.load()


@pytest.mark.parametrize("name", ["registry", "store", "unett"])
def test_a_block_named_as_another_module_is_an_unknown_key(
    name: str, set_params: SetParams
) -> None:
    set_params({f"train.{name}": {"width": 8}})
    with pytest.raises(PipelineError, match=rf"params\.yaml: train\.{name}: unknown key"):
        TrainParams.load()


def test_dvc_tracks_each_key_and_the_items_own_block() -> None:
    keys = TrainParams.dvc_keys()
    assert keys == [f"train.{name}" for name in TrainParams.model_fields] + ["train.${item.model}"]
    assert {"train.seed", "train.backend", "train.augmentation", "train.threads"} <= set(keys)
    # The whole block would make a model stale with another's.
    assert "train" not in keys


@pytest.mark.usefixtures("project")
def test_a_models_own_block_is_read() -> None:
    assert load_model_params("unet", Params) == Params(width=8, learning_rate=0.003)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"width": 0, "learning_rate": 0.1}, "train.unet.width: must be greater"),
        ({"width": 8, "learning_rate": 0}, "train.unet.learning_rate: must be greater"),
        ({"width": 8}, "train.unet.learning_rate: missing; add it"),
        ({"width": 8, "learning_rate": 1, "depth": 2}, "train.unet.depth: unknown key; remove it"),
        (None, "train.unet: must be a mapping of keys, found None"),
    ],
)
def test_a_mistake_in_it_is_named(block: object, said: str, set_params: SetParams) -> None:
    set_params({"train.unet": block})
    with pytest.raises(PipelineError) as caught:
        load_model_params("unet", Params)
    assert str(caught.value).startswith(f"params.yaml: {said}")


@pytest.mark.usefixtures("project")
def test_a_model_without_a_block_is_named() -> None:
    with pytest.raises(PipelineError, match=r"the block `train\.no_such:` is missing"):
        load_model_params("no_such", Params)
