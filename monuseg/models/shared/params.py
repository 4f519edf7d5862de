"""What the blocks of all models have in common."""

from pathlib import Path
from typing import Any

from pydantic import Field

from monuseg.core.params import Block


class ModelParams(Block):
    """The keys of every model's block, which has the name of the model's folder.

    Attributes:
        learning_rate: the highest that AdamW's schedule reaches.
    """

    learning_rate: float = Field(gt=0, le=1)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Name the block: `monuseg.models.unet.params` defines block `unet`."""
        cls.key = cls.__module__.split(".")[-2]

    def require_crop(self, crop: int) -> None:
        """Refuse a training crop on which some of the model's weights would never be trained.

        Args:
            crop: its side in pixels, which the model's `DIVISOR` divides.

        Raises:
            PipelineError: the crop is too small for these parameters. Here none is.
        """

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's own files that training starts from, if the model takes any."""
        return ()

    @property
    def package(self) -> tuple[str, str] | None:
        """The package with the weights that training starts from, and their file in it, if any."""
        return None

    @property
    def scaling(self) -> str:
        """How pixels become inputs: a name in `monuseg.models.shared.scaling`."""
        return "symmetric"
