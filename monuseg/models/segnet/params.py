"""Block `segnet` of params.yaml; without Keras."""

from pydantic import Field

from monuseg.models.shared.params import ModelParams

# VGG16's convolutions of each level.
CONVOLUTIONS = [2, 2, 3, 3, 3]
DIVISOR = 2 ** len(CONVOLUTIONS)


class Params(ModelParams):
    """Block `segnet`.

    Attributes:
        width: filters of the first level. The paper's: 64, which is 29.4 M parameters.
        levels: of VGG16's five, how many, from the finest. What the decoder learns of an image
            comes through the coarsest alone, 2**levels pixels apart: with few filters and little
            time, fewer levels see nuclei better.
    """

    width: int = Field(ge=1, le=256)
    levels: int = Field(ge=1, le=len(CONVOLUTIONS))
