"""What the blocks of all models have in common."""

from pathlib import Path
from typing import Any

from pydantic import Field

from monuseg.core.params import Block

NO_WEIGHTS = "none"  # an encoder that starts from random weights


def require_weights(weights: str, encoder_learning_rate: float) -> None:
    """Refuse a learning rate of its own for an encoder that starts from random weights.

    Args:
        weights: what it starts from; `NO_WEIGHTS` if nothing.
        encoder_learning_rate: as a share of the model's.

    Raises:
        ValueError: as validators of pydantic's raise.
    """
    if weights == NO_WEIGHTS and encoder_learning_rate != 1:
        raise ValueError(
            "`encoder_learning_rate` is for pre-trained weights; set it to 1.0 with `weights` "
            "none, or set `weights`"
        )


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
