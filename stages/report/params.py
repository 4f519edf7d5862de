"""Block `report`: what the page shows."""

from typing import ClassVar

from pydantic import Field

from monuseg.core.params import Block


class ReportParams(Block):
    """Block `report`.

    Attributes:
        overlays: how many test images are shown with prediction and truth.
    """

    key: ClassVar[str] = "report"

    overlays: int = Field(ge=0, le=1000)
