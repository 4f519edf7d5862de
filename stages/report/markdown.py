"""The report as Markdown (GitHub's, for its tables), without pictures."""

from stages.report.document import Block, Bullets, Cell, Document, Notice, Paragraph, Table


def render(document: Document) -> str:
    """The document; figures, galleries and legends are the page's alone."""
    parts = [f"# {document.title}", document.lead]
    for section in document.sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        parts += [f"## {section.title}", *blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return text
        case Notice(text):
            return f"> {text}"
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Table():
            return _table(block)
        case _:
            return ""


def _table(table: Table) -> str:
    rules = ["---:" if column.figures else "---" for column in table.columns]
    lines = [_line([column.title for column in table.columns]), _line(rules)]
    lines += [_line([_cell(cell) for cell in row.cells]) for row in table.rows]
    return "\n\n".join([f"**{table.caption}**", "\n".join(lines), *table.notes])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.strong else cell.text
    return f"{text} ({cell.interval})" if cell.interval else text
