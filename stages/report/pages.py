"""The report as Markdown, and that Markdown with charts and pictures as one HTML file."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from stages.report.differences import listed, signed
from stages.report.overlays import COLOURS
from stages.report.rows import Row
from stages.report.tables import SCORE_TITLES, escaped, interval, number

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
for one in (escaped, interval, listed, number, signed):
    TEMPLATES.filters[one.__name__] = one
TEMPLATES.globals["titles"] = SCORE_TITLES


def markdown(**content: Any) -> str:
    """The report of what `stages.report.content` returns, in GitHub's Markdown."""
    return TEMPLATES.get_template("report.md.j2").render(content)


def html(
    report: str,
    *,
    figures: Mapping[str, Any],
    pictures: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
) -> str:
    """The report as a page that needs no other file.

    Args:
        report: Markdown, whose sections begin with `## Title`; HTML in it is shown as text.
        figures: of `stages.report.charts`.
        pictures: of `stages.report.overlays`.
        rows: whose layers the pictures have; those of the first are shown at first.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    lead, *parts = report.split("\n## ")
    sections = []
    for part in parts:
        title, _, body = part.partition("\n")
        anchor = title.lower().replace(" ", "-")
        sections.append({"title": title, "anchor": anchor, "body": parser.render(body)})
    page = TEMPLATES.get_template("report.html.j2")
    return page.render(
        lead=parser.render(lead),
        sections=sections,
        figures=figures,
        pictures=pictures,
        rows=rows,
        colours=COLOURS,
        vega=vega(),
    )


@cache
def vega() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which draws the charts."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed"))
