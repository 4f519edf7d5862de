"""Block `masks`: how a region's outline becomes pixels."""

from typing import ClassVar, Literal

from monuseg.core.params import Block

Rasterisation = Literal["official", "center"]


class MasksParams(Block):
    """Block `masks`.

    Attributes:
        rasterisation: see `stages.masks.rasterise`.
    """

    key: ClassVar[str] = "masks"

    rasterisation: Rasterisation
