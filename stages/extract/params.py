"""Block `extract`: limits of unpacking."""

from typing import ClassVar

from pydantic import Field

from monuseg.core.params import Block


class ExtractParams(Block):
    """Block `extract`.

    Attributes:
        max_bytes: an archive whose images and annotations unpack to more is refused.
    """

    key: ClassVar[str] = "extract"

    max_bytes: int = Field(gt=0)
