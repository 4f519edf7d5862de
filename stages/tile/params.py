"""Block `tile`: the windows, and what each image is used for."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from monuseg.core.params import LARGEST_SEED, Block, Model
from monuseg.formats.scale import PLAUSIBLE

Protocol = Literal["archive", "challenge", "kumar"]


class ValidationParams(Model):
    """Block `tile.validation`: which training images are held out to make choices on.

    All images of a patient are held out, or none.

    Attributes:
        method: "fraction" draws that share of the patients, rounded and at least one, stratified by
            organ; "named" takes `images`; "organs" all patients with an image of `organs`, to see
            how a model does on tissue it has not learned from; "fold" takes fold `fold` of `folds`;
            "none" holds nothing out (a final run of fixed epochs).
        seed: of "fraction" and "fold".
    """

    method: Literal["fraction", "named", "organs", "fold", "none"]
    fraction: float = Field(gt=0, lt=1)
    images: list[str]
    organs: list[str]
    fold: int = Field(ge=0)
    folds: int = Field(ge=2)
    seed: int = Field(ge=0, le=LARGEST_SEED)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "named" and not self.images:
            raise ValueError("method `named` needs at least one id in `images`")
        if self.method == "organs" and not self.organs:
            raise ValueError("method `organs` needs at least one organ in `organs`")
        if len(set(self.images)) < len(self.images):
            raise ValueError("an id is listed twice in `images`; remove one")
        if len(set(self.organs)) < len(self.organs):
            raise ValueError("an organ is listed twice in `organs`; remove one")
        if self.fold >= self.folds:
            raise ValueError("`fold` counts from 0 and must be below `folds`; lower it")
        return self


class TileParams(Block):
    """Block `tile`.

    Attributes:
        size: side of a tile in pixels.
        stride: distance between neighbouring tiles in pixels; at most `size`.
        um_per_pixel: of the tiles: images that differ by more than
            `monuseg.formats.scale.TOLERANCE` are rescaled to it. None: all images must agree, and
            none is rescaled.
        protocol: see `monuseg.formats.protocol`.
        validation: see `ValidationParams`.
    """

    key: ClassVar[str] = "tile"

    size: int = Field(ge=16, le=4096)
    stride: int = Field(ge=1)
    um_per_pixel: float | None = Field(ge=PLAUSIBLE[0], le=PLAUSIBLE[1])
    protocol: Protocol
    validation: ValidationParams

    @model_validator(mode="after")
    def _covering(self) -> Self:
        if self.stride > self.size:
            raise ValueError("a stride above the size leaves pixels in no tile; lower `stride`")
        return self
