"""Block `train`: everything about training that does not belong to a model."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from monuseg.core.params import LARGEST_SEED, Model
from monuseg.models.shared.runtime import RuntimeParams

# Enlarging by more than this leaves no nucleus in a crop whole.
Scale = Annotated[float, Field(gt=0, le=10)]

Output = Literal["nucleus", "boundary", "distance"]


class AugmentationParams(Model):
    """Block `train.augmentation`; see `stages.train.augmentation`."""

    rotate: float = Field(ge=0, le=180)
    # YAML has no tuples, so a list is accepted as one.
    scale: Annotated[tuple[Scale, Scale], Field(strict=False)]
    flip: bool
    elastic: float = Field(ge=0, le=100)
    elastic_scale: float = Field(ge=1, le=1000)
    stain: float = Field(ge=0, lt=1)
    stain_shift: float = Field(ge=0, lt=1)
    stain_targets: float = Field(ge=0, le=1)
    brightness: float = Field(ge=0, lt=1)
    white_balance: float = Field(ge=0, lt=1)
    blur: float = Field(ge=0, le=10)
    blur_probability: float = Field(ge=0, le=1)
    resolution: float = Field(ge=1, le=8)
    resolution_probability: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.scale
        if low > high:
            raise ValueError("`scale` is [lowest, highest]; swap the two")
        return self

    @model_validator(mode="after")
    def _unfolded(self) -> Self:
        # At half, the distance between neighbouring pixels changes by a share with a standard
        # deviation of 0.5 / sqrt(2) = 0.35; beyond that, tissue often folds over itself.
        if self.elastic > self.elastic_scale / 2:
            raise ValueError("`elastic` must be at most half of `elastic_scale`; lower it")
        return self


class SamplingParams(Model):
    """Block `train.sampling`; see `stages.train.sampling`."""

    organs: Literal["area", "equal"]
    nuclei: float = Field(ge=0, le=1)


class TrainParams(RuntimeParams):
    """Block `train`."""

    key: ClassVar[str] = "train"

    backend: Literal["tensorflow", "jax", "torch"]
    devices: Annotated[int, Field(ge=1, le=4096)] | Literal["all"]
    seed: int = Field(ge=0, le=LARGEST_SEED)
    epochs: int = Field(ge=1, le=1_000_000)
    steps_per_epoch: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(ge=1, le=4096)
    crop: int = Field(ge=16, le=4096)
    outputs: list[Output] = Field(min_length=1)
    output_weights: dict[Output, Annotated[float, Field(gt=0, le=1000)]]
    boundary_width: int = Field(ge=1, le=64)
    stain_normalisation: Literal["none", "macenko"]
    ema_momentum: float = Field(ge=0, lt=1)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1)
    dice_weight: float = Field(ge=0, le=1000)
    deep_supervision: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0, le=1_000_000)
    keep: Literal["best", "last"]
    sampling: SamplingParams
    augmentation: AugmentationParams

    @model_validator(mode="after")
    def _devices(self) -> Self:
        # On TensorFlow, Keras clips the gradients of each replica alone, and the objective's Dice,
        # which is a batch's, would be each replica's: another training, not the same one faster.
        if self.devices != 1 and self.backend != "jax":
            raise ValueError("`devices` other than 1 needs `backend: jax`; change one of the two")
        return self

    @model_validator(mode="after")
    def _outputs(self) -> Self:
        if self.outputs[0] != "nucleus" or len(set(self.outputs)) < len(self.outputs):
            raise ValueError("`outputs` begins with nucleus and names nothing twice")
        if set(self.output_weights) - set(self.outputs):
            raise ValueError("`output_weights` names what `outputs` does not; remove it there")
        return self
