"""Tests of `stages.params.excerpt`."""

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.errors import PipelineError
from stages.params.excerpt import excerpt_of

MODEL = '''"""A model."""

from typing import Annotated

import no_such_package_of_layers as layers
from no_such_package_of_layers import Layer
from pydantic import Field

from stages.params.model import ModelParams

LEVELS, SPARE = 3, layers.SPARE_LEVELS if False else 2
MOST = 2 * _doubled(LEVELS)
DIVISOR = 2**LEVELS
SHARED = layers.Shared()

def _doubled(number):
    return 2 * number

Width = Annotated[int, Field(ge=1, le=_doubled(LEVELS))]


class Params(ModelParams):
    """Block `train.mine`."""

    width: Width


class Pooling(Layer):
    """Cannot be loaded."""


def build(params, classes):
    return layers.Model(SHARED)
'''


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("stages.params.model.MODEL_FILES", tmp_path)
    return tmp_path


def test_params_and_divisor_are_taken_out_with_what_they_need(models: Path) -> None:
    source = MODEL.replace("layers.SPARE_LEVELS if False else 2", "2")
    (models / "mine.py").write_text(source)
    excerpt = excerpt_of("mine")
    assert excerpt.divisor == 8
    assert excerpt.params(width=6, learning_rate=0.1).learning_rate == 0.1
    with pytest.raises(ValidationError, match="less than or equal to 6"):
        excerpt.params(width=7, learning_rate=0.1)
    assert "stages.models.mine" not in sys.modules
    assert not list(models.glob("**/*.pyc"))


def test_what_they_need_is_imported_whatever_it_is(models: Path) -> None:
    (models / "mine.py").write_text(MODEL)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_layers"):
        excerpt_of("mine")


def test_a_model_without_divisor_is_named(models: Path) -> None:
    (models / "mine").mkdir()
    (models / "mine/__init__.py").write_text(
        "from stages.params.model import ModelParams\n\n\nclass Params(ModelParams):\n    pass\n"
    )
    with pytest.raises(PipelineError, match=r"mine/__init__\.py: no DIVISOR; define"):
        excerpt_of("mine")


@pytest.mark.parametrize("name", ["unet", "segnet", "deeplabv3plus"])
def test_the_committed_models_have_what_they_are_made_of(name: str) -> None:
    assert excerpt_of(name).divisor in (16, 32)
    assert "learning_rate" in excerpt_of(name).params.model_fields
