"""Aperio ImageScope's XML: `Annotations/Annotation/Regions/Region/Vertices/Vertex[@X,@Y]`."""

import math
from typing import ClassVar

from monuseg.core.errors import PipelineError
from monuseg.readers.outlines_xml import EnoughError, RegionsTarget, feed
from monuseg.readers.regions import ELLIPSE, POLYGON, RECTANGLE, Outline, Region, layer_name

RESOLUTION_ATTRIBUTE = "MicronsPerPixel"
# The attribute that ImageScope gives each layer; the layer's name is another's name or this value.
DESCRIPTION = "Description"


class AperioTarget(RegionsTarget):
    """An `Annotation` is a layer.

    Its name is its own `Name`, or that of its first attribute, where MoNuSAC has it.
    """

    program = "Aperio ImageScope"
    root = "Annotations"
    region = "Region"
    vertices = ("Vertex", "V")
    shapes: ClassVar = {
        "0": POLYGON,
        "1": RECTANGLE,
        "2": ELLIPSE,
        "3": "arrow",
        "4": "ruler",
        "5": "text",
    }
    layer_name = ""

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """A layer begins, or states its name."""
        if tag == "Annotation":
            self.layer, self.number = self.layer + 1, 0
            self.layer_name = layer_name(attributes.get("Name", ""))
        elif tag == "Attribute" and not self.layer_name and self.region not in self.open:
            name = attributes.get("Name", "")
            stated = attributes.get("Value", "") if name == DESCRIPTION else name
            self.layer_name = layer_name(stated)

    def made(self, outline: Outline) -> Region:
        """The region of `attributes`."""
        return Region(
            self.layer,
            self.number,
            outline,
            self.layer_name,
            self.shape(),
            negative=self.attributes.get("NegativeROA", "").strip().lower() in ("1", "true"),
        )


def stated_resolution(content: bytes) -> float | None:
    """Micrometres per pixel that the root element states, or `None`.

    An XML that cannot be parsed counts as stating none: whoever reads its outlines says what is
    wrong with it.
    """
    root = _Root()
    try:
        feed(content, root, name="")
        stated = float(root.attributes.get(RESOLUTION_ATTRIBUTE, "").replace(",", "."))
    except (PipelineError, ValueError):
        return None
    return stated if math.isfinite(stated) and stated > 0 else None


class _Root:
    """Reads the root element's attributes only."""

    def __init__(self) -> None:
        self.elements = 0
        self.attributes: dict[str, str] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        raise EnoughError(tag)

    def end(self, tag: str) -> None:
        """No element ends before the first has begun."""
