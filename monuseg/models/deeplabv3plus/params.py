"""Block `deeplabv3plus` of params.yaml; without Keras."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from monuseg.models.shared.params import ModelParams

DIVISOR = 16  # the largest output stride
NO_WEIGHTS = "none"
NOT_FILES = (NO_WEIGHTS, "imagenet")  # what `weights` may be besides a path


class Params(ModelParams):
    """Block `deeplabv3plus`.

    Attributes:
        encoder: `resnet50` (40.4 M parameters in all at the paper's filters), `xception` (41.3 M)
            or `light`.
        output_stride: input pixels per pixel of the encoder's last features.
        width: filters of the light encoder's first stage; the other encoders have their own.
        aspp_filters: of each branch of the atrous pyramid. The paper has 256.
        low_level_filters: channels that the features at stride 4 are reduced to. The paper has 48.
        decoder_filters: of the decoder's convolutions. The paper has 256.
        weights: what training starts from: `none` (random), `imagenet`, or the path of a weights
            file of `keras.applications.ResNet50(include_top=False)`; prediction needs none.
    """

    encoder: Literal["light", "resnet50", "xception"]
    output_stride: Literal[8, 16]
    width: int = Field(ge=1, le=256)
    aspp_filters: int = Field(ge=1, le=1024)
    low_level_filters: int = Field(ge=1, le=1024)
    decoder_filters: int = Field(ge=1, le=1024)
    weights: str = Field(min_length=1)

    @model_validator(mode="after")
    def _weights_of_the_encoder(self) -> Self:
        if self.weights != NO_WEIGHTS and self.encoder != "resnet50":
            raise ValueError(
                f"`weights` are for encoder resnet50; set them to none for {self.encoder}"
            )
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights that training starts from, if they are a file."""
        return () if self.weights in NOT_FILES else (Path(self.weights),)

    @property
    def scaling(self) -> str:
        """What the weights expect: ResNet-50's were trained on inputs scaled as in Caffe."""
        return super().scaling if self.weights == NO_WEIGHTS else "caffe"
