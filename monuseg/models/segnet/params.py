"""Block `segnet` of params.yaml; without Keras."""

from pydantic import Field

from monuseg.models.shared.params import ModelParams

# Convolutions in each level of VGG16.
CONVOLUTIONS = [2, 2, 3, 3, 3]
DIVISOR = 2 ** len(CONVOLUTIONS)


class Params(ModelParams):
    """Block `segnet`.

    Attributes:
        width: filters of the first level. The paper has 64, which gives 29.4 M parameters.
        levels: how many of VGG16's five, from the finest. The decoder sees an image only through
            the coarsest level, whose features are 2**levels pixels apart: with few filters and
            little training, fewer levels see nuclei better.
    """

    width: int = Field(ge=1, le=256)
    levels: int = Field(ge=1, le=len(CONVOLUTIONS))
