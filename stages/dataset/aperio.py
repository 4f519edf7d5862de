"""Outlines of nuclei from Aperio ImageScope's XML, read as a stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from stages.errors import PipelineError

# Far beyond any slide; a larger coordinate is a damaged number, and tracing it would fill memory.
COORDINATE_LIMIT = 100_000.0


@dataclass(frozen=True)
class Region:
    """One outlined nucleus.

    Attributes:
        layer: the `Annotation` element it stands in, counted from 1 in the file's order.
        number: its place within the layer, counted from 1.
        outline: (n, 2) float64 vertices (x, y); may have fewer than 3, or lie outside the image.
    """

    layer: int
    number: int
    outline: npt.NDArray[np.float64]


def read_regions(path: Path) -> list[Region]:
    """All regions of all annotation layers, in the file's order.

    The elements are `Annotations/Annotation/Regions/Region/Vertices/Vertex[@X,@Y]`. Entities are
    not resolved: a file that declares any is refused.

    Raises:
        PipelineError: malformed XML, no `Annotations` root, or a vertex without finite numbers.
    """
    regions: list[Region] = []
    vertices: list[tuple[float, float]] = []
    layer = number = 0
    root = None
    try:
        with path.open("rb") as file:
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                if root is None:
                    root = element
                    if root.tag != "Annotations":
                        raise PipelineError(
                            f"{path}: the root element is <{root.tag}>, not <Annotations>; "
                            "export the annotation from Aperio ImageScope again"
                        )
                elif event == "start" and element.tag == "Annotation":
                    layer, number = layer + 1, 0
                elif event == "start" and element.tag == "Region":
                    number, vertices = number + 1, []
                elif event == "end" and element.tag == "Vertex":
                    vertices.append(_vertex(element.attrib, path, layer, number))
                    element.clear()
                elif event == "end" and element.tag == "Region":
                    outline = np.array(vertices, np.float64).reshape(-1, 2)
                    regions.append(Region(layer, number, outline))
                    # What was read is let go, or a file of a million vertices fills memory.
                    element.clear()
    except ParseError as error:
        raise PipelineError(f"{path}: malformed XML ({error}); fetch the file again") from error
    except DefusedXmlException as error:
        raise PipelineError(
            f"{path}: declares a document type or entities, which no annotation needs; remove them"
        ) from error
    except (LookupError, ValueError) as error:
        raise PipelineError(f"{path}: unreadable text encoding ({error}); use UTF-8") from error
    return regions


def _vertex(attributes: dict[str, str], path: Path, layer: int, number: int) -> tuple[float, float]:
    try:
        x, y = float(attributes["X"]), float(attributes["Y"])
    except (KeyError, ValueError):
        x = y = float("nan")
    # Written so that NaN fails it too.
    if not (abs(x) <= COORDINATE_LIMIT and abs(y) <= COORDINATE_LIMIT):
        raise PipelineError(
            f"{path}: layer {layer}, region {number}: a vertex has X={attributes.get('X')!r} "
            f"Y={attributes.get('Y')!r}; correct or remove that region"
        )
    return x, y
