"""What the blocks `train.<name>` of all models have in common, and which names are models'."""

import re
from pathlib import Path

from pydantic import Field

from stages.params.block import Model

MODEL_FILES = Path(__file__).resolve().parents[1] / "models"
# What models have, and other modules beside them (the registry, shared layers) have not.
DEFINES_PARAMS = re.compile(r"^class Params\b", re.MULTILINE)


class ModelParams(Model):
    """The keys that every model's block `train.<name>` has.

    Attributes:
        learning_rate: AdamW's, at its highest.
    """

    learning_rate: float = Field(gt=0, le=1)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the user's own that training starts from; a model may have some."""
        return ()

    @property
    def scaling(self) -> str:
        """How pixels become inputs (see `stages.models.scaling`); a model may have it depend."""
        return "symmetric"


def is_model(name: object) -> bool:
    """Whether `name` is a model's: a file of its own in stages/models defines `Params`.

    The file is <name>.py or, where a model has several, <name>/__init__.py. It is looked into and
    not imported, since that would import Keras.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return False
    file = file_of(name)
    return file.is_file() and bool(DEFINES_PARAMS.search(file.read_text(encoding="utf-8")))


def file_of(name: str) -> Path:
    """The file that a module of stages/models is imported from, which need not exist."""
    package = MODEL_FILES / name / "__init__.py"
    return package if package.is_file() else MODEL_FILES / f"{name}.py"
