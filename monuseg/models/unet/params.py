"""Block `unet` of params.yaml; without Keras."""

from pydantic import Field

from monuseg.models.shared.params import ModelParams

LEVELS = 4  # poolings; each level has twice the filters of the one above
DIVISOR = 2**LEVELS


class Params(ModelParams):
    """Block `unet`.

    Attributes:
        width: filters of the first level. The paper has 64, which gives 31.0 M parameters.
    """

    width: int = Field(ge=1, le=256)
