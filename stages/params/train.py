"""Block `train`: everything about training that is not the model's own."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from stages.errors import PipelineError
from stages.params.block import Model, read_params, validated
from stages.params.model import ModelParams, is_model
from stages.params.runtime import RuntimeParams
from stages.paths import PARAMS


class AugmentationParams(Model):
    """Block `train.augmentation`; see `stages.training.augmentation`."""

    rotate: float = Field(ge=0, le=180)
    scale: tuple[float, float]
    flip: bool
    stain: float = Field(ge=0, lt=1)
    stain_shift: float = Field(ge=0, lt=1)
    brightness: float = Field(ge=0, lt=1)
    blur: float = Field(ge=0, le=10)
    blur_probability: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError("`scale` is [lowest, highest], both above 0")
        return self


class TrainParams(RuntimeParams):
    """Block `train` without the models' own blocks."""

    key: ClassVar[str] = "train"

    seed: int = Field(ge=0)
    epochs: int = Field(ge=1)
    steps_per_epoch: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    crop: int = Field(ge=16)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    dice_weight: float = Field(ge=0)
    clip_norm: float = Field(gt=0)
    keep: Literal["best", "last"]
    augmentation: AugmentationParams

    @classmethod
    def dvc_keys(cls) -> list[str]:
        """The keys one by one, so that another model's block makes nothing stale."""
        return [f"train.{name}" for name in cls.model_fields] + ["train.${item.model}"]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The block without the blocks of models, which `load_model_params` reads."""
        block = content[cls.key]
        if not isinstance(block, dict):
            return block
        return {key: value for key, value in block.items() if not is_model(key)}


OwnParams = TypeVar("OwnParams", bound=ModelParams)


def load_model_params(name: str, kind: type[OwnParams], file: Path = PARAMS) -> OwnParams:
    """Read and validate the block `train.<name>` of one model.

    Raises:
        PipelineError: the block is missing, or a key in it is missing, unknown or out of range.
    """
    block = read_params(file).get(TrainParams.key)
    if not isinstance(block, dict) or name not in block:
        raise PipelineError(f"{file}: the block `train.{name}:` is missing; add it")
    made: OwnParams = validated(kind, block[name], where=f"{file}: train.{name}")
    return made
