"""Outlines of nuclei from Aperio ImageScope's XML, read as a stream."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from monuseg.core.errors import PipelineError

# Far beyond any slide; a larger coordinate is a damaged number, and tracing it would fill memory.
COORDINATE_LIMIT = 100_000.0
# Bounds on memory. The challenge's largest file has 4 MB, 1,900 regions and 6 levels.
BYTES_MAX = 1 << 28
REGIONS_MAX = 1_000_000
DEPTH_MAX = 50
SHOWN_MAX = 40  # characters of a wrong number or name that an error shows


@dataclass(frozen=True)
class Region:
    """One outlined nucleus.

    Attributes:
        layer: the number of its `Annotation` element, counted from 1 in the file's order.
        number: its place within the layer, counted from 1.
        outline: (n, 2) float64 vertices (x, y); may have fewer than 3, or lie outside the image.
    """

    layer: int
    number: int
    outline: npt.NDArray[np.float64]


def read_regions(path: Path) -> list[Region]:
    """Read all regions of all annotation layers, in the file's order.

    The elements are `Annotations/Annotation/Regions/Region/Vertices/Vertex[@X,@Y]`. Entities are
    not resolved: a file that declares any is refused.

    Raises:
        PipelineError: malformed XML, no `Annotations` root, a vertex without finite numbers, or
            more bytes, regions or levels than any annotation has.
    """
    if path.stat().st_size > BYTES_MAX:
        raise PipelineError(
            f"{path}: more than {BYTES_MAX} bytes, which no annotation of one image has; "
            "export it from Aperio ImageScope again"
        )
    reader = _Reader(path)
    try:
        with path.open("rb") as file:
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                if event == "start":
                    reader.start(element)
                else:
                    reader.end(element)
    except ParseError as error:
        raise PipelineError(f"{path}: malformed XML ({error}); fetch the file again") from error
    except DefusedXmlException as error:
        raise PipelineError(
            f"{path}: declares a document type or entities, which no annotation needs; remove them"
        ) from error
    except (LookupError, ValueError) as error:
        raise PipelineError(f"{path}: unreadable text encoding ({error}); use UTF-8") from error
    return reader.regions


class _Reader:
    """The regions read so far; elements are freed once they have been read."""

    def __init__(self, path: Path) -> None:
        self.regions: list[Region] = []
        self._path = path
        self._open: list[Any] = []  # elements, the root first
        self._layer = self._number = 0
        self._vertices = array("d")  # x and y in turn

    def start(self, element: Any) -> None:
        if not self._open and element.tag != "Annotations":
            raise PipelineError(
                f"{self._path}: the root element is <{element.tag[:SHOWN_MAX]}>, not "
                "<Annotations>; export the annotation from Aperio ImageScope again"
            )
        self._open.append(element)
        if len(self._open) > DEPTH_MAX:
            raise self._too_many(f"{DEPTH_MAX} levels of elements")
        if element.tag == "Annotation":
            self._layer, self._number = self._layer + 1, 0
        elif element.tag == "Region":
            self._number, self._vertices = self._number + 1, array("d")
            if any(one.tag == "Region" for one in self._open[:-1]):
                raise PipelineError(
                    f"{self._path}: layer {self._layer}, region {self._number}: is nested in "
                    "another region; export the annotation from Aperio ImageScope again"
                )
        elif element.tag == "Vertex":
            self._vertices.extend(self._vertex(element.attrib))

    def end(self, element: Any) -> None:
        self._open.pop()
        if element.tag == "Region":
            outline = np.array(self._vertices, np.float64).reshape(-1, 2)
            self.regions.append(Region(self._layer, self._number, outline))
            if len(self.regions) > REGIONS_MAX:
                raise self._too_many(f"{REGIONS_MAX} regions")
        if self._open:
            # Otherwise a file of a million vertices would stay in memory as a tree.
            del self._open[-1][:]

    def _vertex(self, attributes: dict[str, str]) -> tuple[float, float]:
        try:
            x, y = _number(attributes["X"]), _number(attributes["Y"])
        except (KeyError, ValueError):
            x = y = float("nan")
        # Written so that NaN fails too.
        if not (abs(x) <= COORDINATE_LIMIT and abs(y) <= COORDINATE_LIMIT):
            raise PipelineError(
                f"{self._path}: layer {self._layer}, region {self._number}: a vertex has "
                f"X={_shown(attributes.get('X'))} Y={_shown(attributes.get('Y'))}; "
                "correct or remove that region"
            )
        return x, y

    def _too_many(self, found: str) -> PipelineError:
        return PipelineError(
            f"{self._path}: layer {self._layer}, region {self._number}: more than {found}, which "
            "no annotation of one image has; export it from Aperio ImageScope again"
        )


def _number(text: str) -> float:
    if "_" in text:  # Python would skip it
        raise ValueError(text)
    return float(text)


def _shown(text: str | None) -> str:
    return repr(text if text is None else text[:SHOWN_MAX])
