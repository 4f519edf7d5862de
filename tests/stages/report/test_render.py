"""The same document as Markdown and as HTML."""

import re

from monuseg.scoring.paired import Difference
from stages.report import markdown, page
from stages.report.calibration import Calibration, ReliabilityBin
from stages.report.differences import Comparison, Pair
from stages.report.document import (
    Block,
    Bullets,
    Cell,
    Column,
    Document,
    Figure,
    Notice,
    Paragraph,
    Section,
    Table,
    TableRow,
    escaped,
)
from stages.report.history import History
from stages.report.rows import Row
from stages.report.sections import Results, report

HOSTILE = "<script>alert('x')</script> | **a** `b` [c](https://d.example) & \\ \n# e_f"


def document(*blocks: Block) -> Document:
    return Document("T", "Lead.", (Section("one", "One", blocks),))


def cells(line: str) -> list[str]:
    """The cells of a row of GitHub's tables, where a backslash makes a bar part of the text."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\) \| ", line[2:-2])


def table_of(text: str) -> Table:
    columns = (Column("Name", figures=False), Column("Dice"))
    row = TableRow((Cell(text), Cell("0.8", "0.7–0.9", strong=True)), "baseline", True)
    return Table("Scores", columns, (row,), ("A note.",))


def test_text_from_data_shows_as_it_is_in_html() -> None:
    html = page.inline(escaped(HOSTILE))
    assert html == (
        "&lt;script&gt;alert('x')&lt;/script&gt; | **a** `b` [c](https://d.example) &amp; \\ # e_f"
    )


def test_text_from_data_leaves_a_markdown_table_whole() -> None:
    text = markdown.render(document(table_of(escaped(HOSTILE))))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(cells(line)) for line in rows] == [2, 2, 2]
    assert cells(rows[1]) == ["---", "---:"]
    assert cells(rows[2])[1] == "**0.8** (0.7–0.9)"
    assert "<script" not in text.replace("\\<", "")


def test_inline_markup_becomes_elements() -> None:
    assert page.inline("**a `b`** [c & d](https://e.example/?f=1&g=2) \\*h\\*") == (
        "<strong>a <code>b</code></strong> "
        '<a href="https://e.example/?f=1&amp;g=2">c &amp; d</a> *h*'
    )


def test_only_https_is_linked() -> None:
    assert "<a" not in page.inline("[c](javascript:alert)")


def test_html_table_sets_figures_right_and_marks_rows() -> None:
    html = page.render(document(table_of("unet")))
    assert '<th scope="col">Name</th><th scope="col" class="figures">Dice</th>' in html
    assert (
        '<tr class="baseline group"><td>unet</td><td class="figures"><strong>0.8</strong> '
        '<span class="interval">0.7–0.9</span></td></tr>'
    ) in html
    assert "<caption>Scores</caption>" in html


def test_markdown_leaves_pictures_to_the_page() -> None:
    drawn = document(Paragraph("Text."), Figure("<svg></svg>", "Caption"), Notice("Mind."))
    assert markdown.render(drawn) == "# T\n\nLead.\n\n## One\n\nText.\n\n> Mind.\n"
    assert "<svg></svg><figcaption>Caption</figcaption>" in page.render(drawn)


def test_lists() -> None:
    listed = document(Bullets(("a", "b < c")))
    assert "- a\n- b < c" in markdown.render(listed)
    assert "<ul><li>a</li><li>b &lt; c</li></ul>" in page.render(listed)


def test_every_markdown_table_of_the_report_is_well_formed() -> None:
    curves = dict.fromkeys(("objective", "validation_loss", "validation_dice"), (0.5,))
    organs = {"test": {"odd|organ": {"dice": 0.5, "images": 1.0}}}
    bins = [ReliabilityBin(low=0, high=0.1, pixels=1, mean_probability=0, nucleus_fraction=0)]
    calibration = {"test": Calibration(expected_calibration_error=0.1, bins=bins)}
    rows = [Row("strange|name", {"test": {"dice": 0.5}}, organs, calibration), Row("otsu", {})]
    found = dict.fromkeys(("dice", "aji", "pq"), Difference(6, 0.1, 0.05, 0.2, 6))
    made = report(
        Results(
            rows=rows,
            histories=[History("strange|name", (1,), dict(curves))],
            references=[],
            records=[],
            galleries=[],
            comparison=Comparison("test", 6, [Pair(rows[0], rows[1], found)], 100, 1),
        )
    )
    text = markdown.render(made)
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    # Summary (two), differences, Dice by organ, calibration, the original's three, the comparison,
    # the epochs.
    assert len(blocks) == 10
    for block in blocks:
        head, rule, *rows = block.splitlines()
        assert rows
        assert set(cells(rule)) <= {"---", "---:"}
        assert {len(cells(line)) for line in rows} == {len(cells(head))} == {len(cells(rule))}
