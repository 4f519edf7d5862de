"""Block `masks`: which regions are nuclei, and how an outline becomes pixels."""

from typing import ClassVar, Literal

from monuseg.core.params import Block

Rasterisation = Literal["official", "center"]


class MasksParams(Block):
    """Block `masks`.

    Attributes:
        rasterisation: of Aperio's XML; see `stages.masks.rasterise`.
        layers: names of the annotation layers that count (in QuPath classifications, in ASAP
            groups); none: all layers do, named or not.
    """

    key: ClassVar[str] = "masks"

    rasterisation: Rasterisation
    layers: list[str]
