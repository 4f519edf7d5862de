"""What the blocks of all models have in common."""

from pathlib import Path
from typing import Any

from pydantic import Field

from monuseg.core.params import Block


class ModelParams(Block):
    """The keys that every model's block has; the block is named as the model's folder is.

    Attributes:
        learning_rate: AdamW's, at its highest.
    """

    learning_rate: float = Field(gt=0, le=1)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Name the block: `monuseg.models.unet.params` defines block `unet`."""
        cls.key = cls.__module__.split(".")[-2]

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the user's own that training starts from; a model may have some."""
        return ()

    @property
    def scaling(self) -> str:
        """How pixels become inputs, a name in `monuseg.models.shared.scaling`."""
        return "symmetric"
