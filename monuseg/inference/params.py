"""Block `predict`: applying a trained model to whole images."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from monuseg.models.shared.runtime import RuntimeParams


class PredictParams(RuntimeParams):
    """Block `predict`.

    Attributes:
        window: side of a window in pixels; an image that fits in one goes through at once.
        overlap: pixels that neighbouring windows share; at most half a window.
        batch_size: windows that go through the model together.
        flips: average over the image and its flips along each axis and both.
        rotations: average over the quarter turns of all these too, eight views in total.
        scales: average over copies of the image of these sizes, relative to its own.
    """

    key: ClassVar[str] = "predict"

    window: int = Field(ge=32, le=8192)
    overlap: int = Field(ge=0)
    batch_size: int = Field(ge=1, le=4096)
    flips: bool
    rotations: bool
    scales: list[Annotated[float, Field(ge=0.25, le=4)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _overlapping(self) -> Self:
        if self.rotations and not self.flips:
            raise ValueError("`rotations` need `flips: true`, since they include them")
        if 2 * self.overlap > self.window:
            raise ValueError("`overlap` must be at most half of `window`; lower it")
        return self
