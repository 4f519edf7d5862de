"""The report as one HTML file that needs no other."""

import html
import re

from stages.report.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Figure,
    Gallery,
    Legend,
    Notice,
    Paragraph,
    Picture,
    Section,
    Table,
    TableRow,
)
from stages.report.style import CSS

INLINE = re.compile(
    r"\\(?P<meant>[!-/:-@\[-`{-~])"
    r"|`(?P<code>[^`]+)`"
    r"|\*\*(?P<strong>.+?)\*\*"
    r"|\[(?P<label>[^\]]+)\]\((?P<url>https://[^)\s]+)\)"
)


def render(document: Document) -> str:
    """The page: styles, drawings and pictures inside it, no script."""
    title = _plain(document.title)
    entries = "".join(
        f'<li><a href="#{section.anchor}">{inline(section.title)}</a></li>'
        for section in document.sections
    )
    body = "\n".join(_section(section) for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{inline(document.lead)}</p>
<nav aria-label="Sections"><ol>{entries}</ol></nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def inline(text: str) -> str:
    """Inline Markdown (see `stages.report.document`) as HTML."""
    parts, end = [], 0
    for match in INLINE.finditer(text):
        parts += [_plain(text[end : match.start()]), _token(match)]
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    """Text between tags; quotes matter in attributes alone."""
    return html.escape(text, quote=False)


def _token(match: re.Match[str]) -> str:
    if meant := match["meant"]:
        return _plain(meant)
    if code := match["code"]:
        return f"<code>{_plain(code)}</code>"
    if strong := match["strong"]:
        return f"<strong>{inline(strong)}</strong>"
    return f'<a href="{html.escape(match["url"])}">{inline(match["label"])}</a>'


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return (
        f'<section id="{section.anchor}">\n<h2>{inline(section.title)}</h2>\n{blocks}\n</section>'
    )


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{inline(text)}</p>"
        case Notice(text):
            return f'<p class="notice" role="note">{inline(text)}</p>'
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>"
        case Table():
            return _table(block)
        case Figure(svg, caption):
            return f"<figure>{svg}<figcaption>{inline(caption)}</figcaption></figure>"
        case Gallery():
            return _gallery(block)
        case Legend(entries):
            return f'<ul class="legend">{"".join(_legend_entry(*entry) for entry in entries)}</ul>'


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_figures(column.figures)}>{inline(column.title)}</th>'
        for column in table.columns
    )
    figures = [column.figures for column in table.columns]
    rows = "\n".join(_row(row, figures) for row in table.rows)
    notes = "".join(f'<p class="remark">{inline(note)}</p>' for note in table.notes)
    return (
        f'<div class="wide"><table>\n<caption>{inline(table.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>{notes}"
    )


def _row(row: TableRow, figures: list[bool]) -> str:
    names = [name for name in (row.style, "group" if row.starts_group else "") if name]
    attribute = f' class="{" ".join(names)}"' if names else ""
    cells = zip(row.cells, figures, strict=True)
    return f"<tr{attribute}>{''.join(_cell(cell, right) for cell, right in cells)}</tr>"


def _cell(cell: Cell, right: bool) -> str:
    text = inline(cell.text)
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if cell.interval:
        text += f' <span class="interval">{_plain(cell.interval)}</span>'
    return f"<td{_figures(right)}>{text}</td>"


def _figures(right: bool) -> str:
    return ' class="figures"' if right else ""


def _gallery(gallery: Gallery) -> str:
    columns = "".join(
        f'<div class="column"><p>{inline(caption)}</p>{"".join(map(_picture, pictures))}</div>'
        for caption, pictures in gallery.columns
    )
    return (
        f'<div class="gallery"><h3>{inline(gallery.title)}</h3>'
        f'<div class="columns">{columns}</div></div>'
    )


def _picture(picture: Picture) -> str:
    sharp = ' class="sharp"' if picture.pixelated else ""
    return (
        f'<img{sharp} src="{picture.uri}" alt="{html.escape(picture.alt)}" '
        f'width="{picture.width}" height="{picture.height}">'
    )


def _legend_entry(colour: str, text: str) -> str:
    return f'<li><span class="swatch" style="background:{colour}"></span>{inline(text)}</li>'
