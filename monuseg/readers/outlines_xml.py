"""Regions in XML, read as a stream: what the formats of several programs have in common."""

import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from monuseg.core.errors import PipelineError
from monuseg.readers import regions as limits
from monuseg.readers.regions import COORDINATE_LIMIT, SHOWN_MAX, Region, require_at_most, shown

DEPTH_MAX = 50  # levels of elements; the challenge's files have 6
# Before version 2.6, expat begins anew with an unfinished attribute whenever it is given more of
# it, which takes time as the square of the attribute's length over that of a block.
BLOCK = 1 << 20
SILENCE_MAX = 24  # blocks without an element

DECLARATION = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


class Target(Protocol):
    """What `feed` tells of each element."""

    elements: int

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, tag: str) -> None:
        """An element ends."""


class EnoughError(Exception):
    """What a target raises that needs no more of the file."""


def feed(content: bytes, target: Target, *, name: str) -> None:
    """Tell a target of each element of an XML file. Entities are not resolved but refused.

    Args:
        content: the file's bytes.
        target: is told, until it raises `EnoughError`.
        name: what an error calls the file.

    Raises:
        PipelineError: the XML is malformed, in another encoding than it says, or hostile.
    """
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    elements, silent = 0, 0
    try:
        for start in range(0, len(content), BLOCK):
            parser.feed(content[start : start + BLOCK])
            silent = silent + 1 if target.elements == elements else 0
            elements = target.elements
            if silent > SILENCE_MAX:
                raise PipelineError(
                    f"{name}: an element, text or attribute of more than {SILENCE_MAX} MiB, which "
                    "no annotation needs; remove it"
                )
        parser.close()
    except EnoughError:
        return
    except ParseError as error:
        raise PipelineError(f"{name}{_malformed(content, error)}") from error
    except DefusedXmlException as error:
        raise PipelineError(
            f"{name}: declares a document type or entities, which no annotation needs; remove them"
        ) from error
    except (LookupError, ValueError) as error:
        raise PipelineError(
            f"{name}: unreadable text encoding ({error}); save it as UTF-8"
        ) from error


def _malformed(content: bytes, error: ParseError) -> str:
    """What is wrong with XML that could not be parsed: often not its elements but its encoding."""
    found = DECLARATION.match(content.lstrip(b"\xef\xbb\xbf \t\r\n")[:200])
    declared = found[1].decode("ascii") if found else None
    if "encoding specified in XML declaration is incorrect" in str(error):
        return f": declares the encoding {declared} but is in another; save it as UTF-8"
    line = None
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        try:
            content.decode(declared or "utf-8")
        except UnicodeDecodeError as wrong:
            # A character that the file's end cuts off is damage, not another encoding.
            if wrong.end < len(content):
                line = content.count(b"\n", 0, wrong.start) + 1
                byte = content[wrong.start]
        except LookupError:
            pass
    if line is None or line > error.position[0]:
        return f": malformed XML ({error}); fetch or export the file again"
    if declared:
        said = f"the byte 0x{byte:02x} is none of the declared encoding {declared}"
    else:
        said = (
            f"the byte 0x{byte:02x} is not UTF-8, and no other encoding is declared "
            "(Latin-1 or Windows-1252?)"
        )
    return (
        f": line {line}: {said}; save the file as UTF-8, or declare its encoding, as in "
        """<?xml version="1.0" encoding="windows-1252"?>"""
    )


class RegionsTarget(ABC):
    """Collects the regions of a file; a class of each format fills in what differs."""

    program: ClassVar[str]
    root: ClassVar[str]
    region: ClassVar[str]  # its element
    vertices: ClassVar[tuple[str, ...]]  # elements of a vertex; each format writes one of them
    shapes: ClassVar[dict[str, str]]  # by the region's Type

    def __init__(self, name: str) -> None:
        self.elements = 0
        self.regions: list[Region] = []
        self.layer = self.number = 0
        self.name = name
        self.open: list[str] = []  # tags, the root first
        self.attributes: dict[str, str] = {}  # of the region that is read
        self._coordinates = array("d")  # x and y in turn
        self._order: list[str] = []

    @abstractmethod
    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """An element other than a region or vertex begins."""

    @abstractmethod
    def made(self, outline: limits.Outline) -> Region:
        """The region of `attributes`."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self.elements += 1
        if not self.open and tag != self.root:
            raise PipelineError(
                f"{self.name}: the root element is <{tag[:SHOWN_MAX]}>, not <{self.root}>; "
                f"export the annotation from {self.program} again"
            )
        if tag == self.region:
            self.number += 1
            if tag in self.open:
                raise PipelineError(
                    f"{self._place}: is nested in another region; "
                    f"export the annotation from {self.program} again"
                )
            self.attributes, self._coordinates, self._order = attributes, array("d"), []
        elif tag in self.vertices:
            self._coordinates.extend(self._vertex(attributes))
            self._order.append(attributes.get("Order", ""))
        else:
            self.begin(tag, attributes)
        self.open.append(tag)
        self._require_at_most(len(self.open), DEPTH_MAX, "levels of elements")

    def end(self, tag: str) -> None:
        """An element ends."""
        self.open.pop()
        if tag == self.region:
            outline = np.array(self._coordinates, np.float64).reshape(-1, 2)
            if self._order and all(number.isdecimal() for number in self._order):
                outline = outline[np.argsort([int(n[:18]) for n in self._order], kind="stable")]
            self.regions.append(self.made(outline))
            self._require_at_most(len(self.regions), limits.REGIONS_MAX, "regions")

    def shape(self) -> str:
        """How the region's vertices are meant; one without a type is a polygon."""
        kind = self.attributes.get("Type", "").strip()
        return self.shapes.get(kind, f"of unknown type {shown(kind)}" if kind else limits.POLYGON)

    @property
    def _place(self) -> str:
        return f"{self.name}: layer {self.layer}, region {self.number}"

    def _vertex(self, attributes: dict[str, str]) -> tuple[float, float]:
        if self.region not in self.open:
            raise PipelineError(
                f"{self.name}: a vertex outside every <{self.region}>; "
                f"export the annotation from {self.program} again"
            )
        try:
            x, y = _number(attributes["X"]), _number(attributes["Y"])
        except (KeyError, ValueError):
            x = y = float("nan")
        # Written so that NaN fails too.
        if not (abs(x) <= COORDINATE_LIMIT and abs(y) <= COORDINATE_LIMIT):
            found = [attributes.get("X"), attributes.get("Y")]
            remedy = "correct or remove that region"
            if any(DECIMAL_COMMA.fullmatch(text or "") for text in found):
                remedy = (
                    "a decimal comma: export with the number format of English, or replace the "
                    "commas in X and Y by points"
                )
            said = f"a vertex has X={shown(found[0])} Y={shown(found[1])}"
            raise PipelineError(f"{self._place}: {said}; {remedy}")
        return x, y

    def _require_at_most(self, number: int, limit: int, what: str) -> None:
        if number > limit:  # before the place is written, which takes time
            require_at_most(number, limit, what, place=self._place, program=self.program)


def read(content: bytes, kind: Callable[[str], RegionsTarget], *, name: str) -> list[Region]:
    """All regions of a file, in its order.

    Args:
        content: the file's bytes.
        kind: the class of its format.
        name: what an error calls the file.

    Raises:
        PipelineError: as `feed`; or it has another root, a vertex without finite numbers or outside
            all regions, or more regions or levels than any annotation has.
    """
    target = kind(name)
    feed(content, target, name=name)
    return target.regions


def _number(text: str) -> float:
    if "_" in text:  # Python would skip it
        raise ValueError(text)
    return float(text)
