"""The report as Markdown, and that Markdown with figures and pictures as one HTML file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from stages.report.differences import listed
from stages.report.tables import escaped, number

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters.update(escaped=escaped, number=number, listed=listed)


def markdown(**content: Any) -> str:
    """The report of what `stages.report.content` returns, in GitHub's Markdown."""
    return TEMPLATES.get_template("report.md.j2").render(content)


def html(report: str, **drawings: Any) -> str:
    """The report as a page that needs no other file.

    Args:
        report: Markdown, whose sections begin with `## Title`; HTML in it is shown as text.
        drawings: `scores`, `reliability` (or None) and `training`, an `<svg>` each; `galleries`
            and their `colours`, from `stages.report.overlays`.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    lead, *parts = report.split("\n## ")
    sections = []
    for part in parts:
        title, _, body = part.partition("\n")
        anchor = title.lower().replace(" ", "-")
        sections.append({"title": title, "anchor": anchor, "body": parser.render(body)})
    page = TEMPLATES.get_template("report.html.j2")
    return page.render(lead=parser.render(lead), sections=sections, **drawings)
