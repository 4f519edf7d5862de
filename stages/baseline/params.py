"""Block `baseline`: colour deconvolution and Otsu's threshold."""

from typing import ClassVar

from pydantic import Field

from monuseg.core.params import Block


class BaselineParams(Block):
    """Block `baseline`.

    Attributes:
        sigma: of the Gaussian on the haematoxylin image, in pixels.
        min_area: objects of fewer pixels are dropped.
    """

    key: ClassVar[str] = "baseline"

    sigma: float = Field(ge=0, le=100)
    min_area: int = Field(ge=0)
