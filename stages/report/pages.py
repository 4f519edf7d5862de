"""The report as Markdown, and that Markdown with charts and pictures as one HTML file."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from monuseg.scoring.rows import Row
from stages.report import tables
from stages.report.overlays import COLOURS

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
for one in (tables.escaped, tables.interval, tables.number, tables.signed):
    TEMPLATES.filters[one.__name__] = one
TEMPLATES.globals["tables"] = tables


def markdown(content: Mapping[str, Any]) -> str:
    """The report of what `stages.report.writing.content` returns, in GitHub's Markdown."""
    return TEMPLATES.get_template("report.md.j2").render(content)


def html(
    report: str, figures: Mapping[str, Any], pictures: tables.Entries, rows: Sequence[Row]
) -> str:
    """The report as a page that needs no other file.

    Args:
        report: Markdown, whose sections begin with `## Title`; HTML in it is shown as text.
        figures: of `stages.report.charts`.
        pictures: of `stages.report.overlays`.
        rows: whose layers the pictures have; those of the first are shown at first.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    lead, *others = report.split("\n## ")
    parts = [part.partition("\n") for part in others]
    sections = {title: parser.render(body) for title, _, body in parts}
    page = {"lead": parser.render(lead), "sections": sections, "figures": figures}
    page |= {"pictures": pictures, "rows": rows, "colours": COLOURS, "vega": vega()}
    return TEMPLATES.get_template("report.html.j2").render(page)


@cache
def vega() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which draws the charts."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed"))
