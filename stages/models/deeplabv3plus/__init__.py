"""DeepLabV3+.

Reference: Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable
Convolution for Semantic Image Segmentation", ECCV 2018, https://arxiv.org/abs/1802.02611. The
encoder's last stages are atrous instead of strided; a pyramid of atrous convolutions looks at
several scales; a small decoder adds detail at stride 4.
"""

from pathlib import Path
from typing import Literal, Self

import keras
from pydantic import Field, model_validator

from stages.models.deeplabv3plus import light, resnet50, xception
from stages.models.deeplabv3plus.head import Head
from stages.models.deeplabv3plus.pretrained import take_resnet50
from stages.params.model import ModelParams

DIVISOR = 16  # the largest output stride
NO_WEIGHTS = "none"
NOT_FILES = (NO_WEIGHTS, "imagenet")  # what `weights` may be besides a path


class Params(ModelParams):
    """Block `train.deeplabv3plus`.

    Attributes:
        encoder: `resnet50` (40.4 M parameters in all at the paper's filters), `xception` (41.3 M)
            or `light`.
        output_stride: input pixels per pixel of the encoder's last features.
        width: filters of the light encoder's first stage; the other encoders have their own.
        aspp_filters: of each branch of the atrous pyramid. The paper's: 256.
        low_level_filters: that the features at stride 4 are reduced to. The paper's: 48.
        decoder_filters: of the decoder's convolutions. The paper's: 256.
        weights: that training starts from: `none` (random), `imagenet`, or the path of a weights
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
        """That of the weights: ResNet-50's were trained on inputs as Caffe has them."""
        return super().scaling if self.weights == NO_WEIGHTS else "caffe"


def build(params: Params, classes: int) -> keras.Model:
    """DeepLabV3+ with logits out, uncompiled, with random weights.

    Args:
        params: the block `train.deeplabv3plus`.
        classes: number of output channels.

    Returns:
        A model from (batch, height, width, 3) to (batch, height, width, classes) logits in
        float32, for any height and width that `DIVISOR` divides. Every layer is named, because
        the names are stored with the weights.
    """
    # === Functional model ===
    image = keras.Input((None, None, 3), name="image")
    stride = params.output_stride
    if params.encoder == "resnet50":
        low, high = resnet50.encode(image, stride)
    elif params.encoder == "xception":
        low, high = xception.encode(image, stride)
    else:
        low, high = light.encode(image, stride, params.width)
    head = Head(
        output_stride=stride,
        aspp_filters=params.aspp_filters,
        low_level_filters=params.low_level_filters,
        decoder_filters=params.decoder_filters,
        separable=params.encoder == "xception",
    )
    return keras.Model(image, head(low, high, classes), name="deeplabv3plus")


def coarse_features(params: Params) -> dict[str, int]:
    """What the atrous pyramid ends with, by stride; for deep supervision."""
    return {"pyramid_projection_relu": params.output_stride}


def initialise(model: keras.Model, params: Params) -> None:
    """Give the encoder its pre-trained weights, if `params.weights` asks for them.

    Raises:
        PipelineError: they cannot be had, or are another network's.
    """
    if params.weights != NO_WEIGHTS:
        take_resnet50(model, params.weights)
