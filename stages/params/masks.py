"""Block `masks`: how a region's outline becomes pixels."""

from typing import ClassVar, Literal

from stages.params.block import Block

Rasterisation = Literal["official", "center"]


class MasksParams(Block):
    """Block `masks`.

    Attributes:
        rasterisation: see `stages.dataset.rasterise`.
    """

    key: ClassVar[str] = "masks"

    rasterisation: Rasterisation
