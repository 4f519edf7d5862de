"""Indica Labs HALO's `.annotations`: Aperio's elements, with vertices `V` and types as words."""

from typing import ClassVar

from monuseg.readers.aperio import AperioTarget
from monuseg.readers.regions import ELLIPSE, POLYGON, RECTANGLE


class HaloTarget(AperioTarget):
    """Rectangles and ellipses have two opposite corners."""

    program = "HALO"
    shapes: ClassVar = {
        "Polygon": POLYGON,
        "Rectangle": RECTANGLE,
        "Ellipse": ELLIPSE,
        "Ruler": "ruler",
        "Pin": "pin",
    }
