"""Block `extract`: limits of unpacking, and what the archives leave open."""

from typing import ClassVar

from pydantic import Field, field_validator

from monuseg.core.errors import PipelineError
from monuseg.core.params import Block
from monuseg.readers.resolution import require_plausible


class ExtractParams(Block):
    """Block `extract`.

    Attributes:
        max_bytes: an archive whose images and annotations unpack to more is refused.
        annotations: a pattern as of a shell, with `*` and `?`, for the paths of the annotations
            that count where an image has several; None: such images are refused.
        um_per_pixel: micrometres per pixel of every image; None: as images and annotations state.
    """

    key: ClassVar[str] = "extract"

    max_bytes: int = Field(gt=0)
    annotations: str | None = Field(min_length=1)
    um_per_pixel: float | None

    @field_validator("um_per_pixel")
    @classmethod
    def _is_plausible(cls, value: float | None) -> float | None:
        if value is not None:
            try:
                require_plausible(value, name="micrometres per pixel")
            except PipelineError as error:
                raise ValueError(str(error)) from error
        return value
