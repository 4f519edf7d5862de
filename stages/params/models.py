"""Key `models`: which models the graph trains."""

from typing import Any, ClassVar

from pydantic import Field

from stages.params.block import Block


class ModelsParams(Block):
    """Key `models`, a list and not a mapping.

    Attributes:
        names: of the models, in the order of the tables.
    """

    key: ClassVar[str] = "models"

    names: list[str] = Field(min_length=1)

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The list, under the name that the block gives it."""
        return {"names": content[cls.key]}
