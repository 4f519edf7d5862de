"""ASAP's XML: `ASAP_Annotations/Annotations/Annotation/Coordinates/Coordinate[@Order,@X,@Y]`.

The format has no holes. People draw them as annotations of a group of their own, which they leave
out when they make masks; such a group is known here by its name.
"""

from typing import ClassVar

from monuseg.readers.outlines_xml import RegionsTarget
from monuseg.readers.regions import POLYGON, RECTANGLE, Outline, Region, layer_name

NO_GROUP = "None"
EXCLUDED = frozenset({"exclude", "excluded", "exclusion", "exclusions", "hole", "holes"})


class AsapTarget(RegionsTarget):
    """The group that an annotation is part of is its layer."""

    program = "ASAP"
    root = "ASAP_Annotations"
    region = "Annotation"
    vertices = ("Coordinate",)
    # ASAP's own masks take a spline as the polygon through its points.
    shapes: ClassVar = {
        "Polygon": POLYGON,
        "Spline": POLYGON,
        "Rectangle": RECTANGLE,
        "Dot": "dot",
        "PointSet": "set of points",
        "Measurement": "measurement",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.layer = 1

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """Nothing: each annotation states its own group."""

    def made(self, outline: Outline) -> Region:
        """The region of `attributes`."""
        group = layer_name(self.attributes.get("PartOfGroup", ""))
        return Region(
            self.layer,
            self.number,
            outline,
            "" if group == NO_GROUP else group,
            self.shape(),
            negative=group.casefold() in EXCLUDED,
        )
