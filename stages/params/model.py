"""What the blocks `train.<name>` of all models have in common, and which names are models'."""

from pathlib import Path

from pydantic import Field

from stages.params.block import Model

MODEL_FILES = Path(__file__).resolve().parents[1] / "models"


class ModelParams(Model):
    """The keys that every model's block `train.<name>` has.

    Attributes:
        learning_rate: AdamW's, at its highest.
    """

    learning_rate: float = Field(gt=0)

    @property
    def scaling(self) -> str:
        """How pixels become inputs (see `stages.models.scaling`); a model may have it depend."""
        return "symmetric"


def is_model(name: object) -> bool:
    """Whether `name` is a model's: there is a file stages/models/<name>.py."""
    return isinstance(name, str) and name.isidentifier() and (MODEL_FILES / f"{name}.py").is_file()
