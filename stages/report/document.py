"""The report as a tree that both Markdown and HTML are written from.

Every text is a small part of Markdown: **strong**, `code`, [label](https://...), and a backslash
before a punctuation mark that is meant. Text that comes from data goes through `escaped`.
"""

import re
from dataclasses import dataclass

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def escaped(text: str) -> str:
    """Text from data as inline Markdown that shows it as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: inline Markdown.
        interval: shown smaller after it.
        strong: the best of its column.
    """

    text: str
    interval: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, and whether it holds figures (set right-aligned)."""

    title: str
    figures: bool = True


@dataclass(frozen=True)
class TableRow:
    """A table's row.

    Attributes:
        cells: one a column.
        style: "", or how the page sets it: "baseline", "ours" or "muted".
        starts_group: whether a rule stands above it.
    """

    cells: tuple[Cell, ...]
    style: str = ""
    starts_group: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption above and notes below."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A warning that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A drawing for the page alone.

    Attributes:
        svg: an `<svg>` element, trusted.
        caption: inline Markdown.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Picture:
    """An image for the page alone.

    Attributes:
        uri: a `data:` URI.
        alt: plain text for who cannot see it.
        width: pixels.
        height: pixels.
        pixelated: whether its pixels must stay sharp when enlarged.
    """

    uri: str
    alt: str
    width: int
    height: int
    pixelated: bool = False


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, in columns.

    Attributes:
        title: inline Markdown.
        columns: caption and the pictures under it.
    """

    title: str
    columns: tuple[tuple[str, tuple[Picture, ...]], ...]


@dataclass(frozen=True)
class Legend:
    """What colours mean: a CSS colour and a text each."""

    entries: tuple[tuple[str, str], ...]


Block = Paragraph | Notice | Bullets | Table | Figure | Gallery | Legend


@dataclass(frozen=True)
class Section:
    """A part of the report; `anchor` is its id in the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
