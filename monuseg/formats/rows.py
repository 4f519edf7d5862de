"""The rows of every table: the models, their mean, and the baseline."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from monuseg.core.params import Block

# Rows besides the models: their mean, and the baseline that every model must beat.
ENSEMBLE = "ensemble"
BASELINE = "otsu"


class ModelsParams(Block):
    """Key `models`, a list and not a mapping: which models the graph trains.

    Attributes:
        names: of the models, in the order of the tables.
    """

    key: ClassVar[str] = "models"

    names: list[str] = Field(min_length=1)

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The list, under the name that the block gives it."""
        return {"names": content[cls.key]}


def row_names(models: Sequence[str]) -> list[str]:
    """The rows that are predicted and scored: the models, their mean, and the baseline."""
    return [*models, ENSEMBLE, BASELINE]
