"""Block `report`: what the page shows."""

from typing import Any, ClassVar

from pydantic import Field

from stages.params.block import Block


class ReportParams(Block):
    """Block `report`, and the list of models, which is a key of its own at the top.

    Attributes:
        models: the rows that are models, in the order of the tables.
        overlays: how many test images are shown with prediction and truth.
    """

    key: ClassVar[str] = "report"

    models: list[str] = Field(min_length=1)
    overlays: int = Field(ge=0)

    @classmethod
    def dvc_keys(cls) -> list[str]:
        """Also the list of models: it decides which rows there are."""
        return ["models", cls.key]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The block, with the list of models put in."""
        block = content[cls.key]
        if not isinstance(block, dict) or "models" not in content:
            return block
        return {**block, "models": content["models"]}
