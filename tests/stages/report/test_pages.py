"""What the report says of the data, as Markdown and as HTML."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from jinja2 import UndefinedError

from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.calibration import ReliabilityBin
from monuseg.scoring.paired import Difference, Pair
from monuseg.scoring.rows import Row
from stages.report import pages
from stages.report.tables import escaped
from stages.report.writing import calibrated_splits, content, headline_split

HOSTILE = "<script>alert('x')</script> | **a** `b` [c](https://d.example) & \\ \n# e_f"
OTSU = Row("otsu", {"test": {"dice": 0.7, "aji": 0.5, "pq": 0.4}})


def report(
    rows: Sequence[Row],
    pairs: Sequence[Pair] = (),
    model: str = "unet",
    images: Mapping[str, pd.DataFrame] | None = None,
) -> str:
    record = SplitRecord("SYN-colon-0001", "odd|organ", "test", 0.25, 0.25, "aperio-xml")
    history = {"epoch": [1.0], "objective": [0.5], "validation_loss": [0.5]}
    return pages.markdown(
        content(
            rows,
            [record],
            pairs=pairs,
            references=[],
            images=images or {},
            fates=None,
            histories={model: pd.DataFrame({**history, "validation_dice": [0.5]})},
        )
    )


def page(text: str, **changes: Any) -> str:
    given: dict[str, Any] = {"figures": {}, "pictures": [], "rows": [Row("unet", {})]}
    html = pages.html(text, **{**given, **changes})
    # Without Vega's JavaScript, which has anything in it.
    return html.replace(pages.vega(), "")


def pair(*lows: float | None, images: int = 8) -> Pair:
    """U-Net against Otsu in Dice, AJI and PQ: lower ends of intervals, None where there is none."""
    found = {
        name: None if low is None else Difference(images, 0.1, low, 0.2, 6)
        for name, low in zip(("dice", "aji", "pq"), lows, strict=True)
    }
    return Pair(Row("unet", {}), OTSU, found)


def cells(line: str) -> list[str]:
    """The cells of a row of GitHub's tables, where a backslash makes a bar part of the text."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\) \| ", line[2:-2])


def test_text_from_data_shows_as_it_is() -> None:
    html = page(f"Lead.\n\n## One\n\n{escaped(HOSTILE)}\n")
    assert (
        "<p>&lt;script&gt;alert('x')&lt;/script&gt; | **a** `b` [c](https://d.example) &amp; "
        "\\ # e_f</p>"
    ) in html


def test_html_in_markdown_is_shown_and_only_safe_links_are_links() -> None:
    html = page(
        "Lead.\n\n## One\n\n<script>1</script> [a](javascript:alert) [b](https://c.example)"
    )
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert "<p><script" not in html
    assert 'href="javascript' not in html
    assert '<a href="https://c.example">b</a>' in html


def test_pictures_are_escaped_attributes() -> None:
    layer = {"src": "data:image/png;base64,AA==", "alt": '<a "b">', "width": 6, "height": 4}
    one = {"id": "<x>", "organ": "<o>", "title": "best", "scores": {"dice": 0.5}}
    html = page("Lead.\n\n## Images\n", pictures=[{**one, "small": [layer], "full": [layer]}])
    assert html.count('alt="&lt;a &#34;b&#34;&gt;" width="6" height="4">') == 2
    assert "Best: &lt;o&gt;, <code>&lt;x&gt;</code>" in html
    assert '<a href="#full-0">&lt;x&gt;</a>' in html
    assert "best</strong>, &lt;o&gt;, Dice 0.500" in html
    assert '<span style="background:#D55E00"></span>missed' in html
    # Without layers at full size there is nothing to lead to.
    html = page("Lead.\n\n## Images\n", pictures=[{**one, "small": [layer], "full": []}])
    assert "full-0" not in html


def test_every_chart_stands_in_its_section_and_cannot_end_its_script() -> None:
    figures = {"Calibration": ([{"title": "</script><b>"}], {"U-Net": "#0072B2"})}
    html = page(report([Row("unet", {}), OTSU]), figures=figures)
    start = html.index('<section id="calibration">')
    place = html.index(
        '<div class="chart"><script type="application/json">{"title": "\\u003c/script'
    )
    assert start < place < html.index("</section>", start)
    assert html.count('class="chart"') == 1
    assert '<span style="background:#0072B2"></span>U-Net' in html


def test_what_a_template_names_must_be_given() -> None:
    with pytest.raises(UndefinedError):
        pages.markdown({"split": "test"})


def test_every_markdown_table_is_well_formed() -> None:
    calibration = {"test": [ReliabilityBin(0.0, 0.1, 1, 0.0, 0.0)]}
    row = Row("strange|name", {"test": {"dice": 0.5}}, calibration)
    images = pd.DataFrame({"dice": [0.5], "aji": [0.4], "pq": [0.3]}, ["SYN-colon-0001"])
    found = dict.fromkeys(("dice", "aji", "pq"), Difference(6, 0.1, 0.05, 0.2, 6))
    rows = [row, Row("otsu", {})]
    text = report(rows, [Pair(*rows, found)], "strange|name", {"strange|name": images})
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    # Summary, differences, epochs, three scores by organ, further scores, calibration, the
    # original's three, the comparison, settings.
    assert len(blocks) == 13
    for block in blocks:
        head, rule, *lines = block.splitlines()
        assert lines
        assert set(cells(rule)) <= {"---", "---:"}
        assert {len(cells(line)) for line in lines} == {len(cells(head))} == {len(cells(rule))}
    # Tables and headings stand apart from the text around them.
    assert not re.search(r"[^\n|]\n\||\|\n[^\n|]|[^\n]\n#|\n#.*\n[^\n]|\n\n\n", text)
    assert page(text).count("<table>") == len(blocks)


def test_the_first_sentence_names_the_best_model_and_what_it_gains() -> None:
    rows = [
        Row("unet", {"test": {"dice": 0.8, "dice_lo": 0.7, "dice_hi": 0.9}}),
        Row("segnet", {"test": {"dice": 0.6}}),
        OTSU,
    ]
    text = " ".join(report(rows, [pair(0.01, -0.1, None)._replace(first=rows[0])]).split())
    assert (
        "**U-Net has the highest Dice of this run's models, 0.800** (0.700–0.900) on 1 image of "
        "synthetic slides (test). Compared with Otsu's threshold, which needs no training: "
        "Dice +0.1000 (holds), AJI +0.1000 (may be chance), PQ of too few images. >"
    ) in text
    assert "best model" not in report([Row("unet", {"test": {"aji": 0.5}}), OTSU])


def test_the_comparison_says_what_chance_does() -> None:
    unet = Row("unet", {"test": {"dice": 0.8}})
    text = " ".join(report([unet, OTSU], [pair(0.01, -0.1, None)]).split())
    assert (
        "Where there is no difference, an interval of 95 % still leaves out 0 by chance once"
        in text
    )
    assert "0.1 of the 2 intervals here would be expected to." in text
    assert "| U-Net | Otsu | **+0.1000 holds** *(" in text
    assert "| +0.1000 may be chance *(" in text
    assert "| too few images |" in text
    assert "hint" not in text
    assert "**left out**" not in text


def test_few_images_are_a_warning_about_the_scores_that_have_them() -> None:
    unet = Row("unet", {"test": {"dice": 0.8}})
    text = report([unet, OTSU], [pair(0.01, 0.01, 0.01, images=4)])
    assert "> **Take “holds” as a hint only.** Dice, AJI, PQ: 4 images are few" in text
    mixed = pair(0.01, 0.01, 0.01)
    few = Pair(mixed.first, mixed.second, {**mixed.found, "aji": Difference(3, 0.1, 0.05, 0.2, 3)})
    text = report([unet, OTSU], [few])
    assert "> **Take “holds” as a hint only.** AJI: 3 images are few" in text
    assert text.count("hint only") == 1


def test_that_images_are_left_out_is_explained() -> None:
    unet = Row("unet", {"test": {"dice": 0.8}})
    one = Difference(8, 0.1, 0.01, 0.2, 6, left_out=1)
    text = report([unet, OTSU], [Pair(unet, OTSU, {"dice": one, "aji": None, "pq": None})])
    assert "the image is **left out** here" in text


def test_of_one_image_there_is_no_interval_and_no_warning() -> None:
    unet = Row("unet", {"test": {"dice": 0.8}})
    text = report([unet, OTSU], [pair(None, None, None)])
    assert "### Differences, test, 1 image\n" in text
    assert "by chance once" not in text
    assert "hint" not in text


def test_the_report_is_about_test_if_scored_else_validation_else_training() -> None:
    assert headline_split([OTSU]) == "test"
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "validation": {"dice": 1.0}})]) == (
        "validation"
    )
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "test": {}})]) == "train"


def test_calibration_is_of_training_images_only_where_no_others_are_scored() -> None:
    bins = [ReliabilityBin(0.0, 0.1, 1, 0.0, 0.0)]
    every = dict.fromkeys(("train", "validation", "test"), bins)
    scores = {"dice": 0.5}
    assert calibrated_splits([Row("unet", {"train": scores}, every)]) == ["train"]
    both = {"train": scores, "validation": scores, "test": scores}
    assert calibrated_splits([Row("unet", both, every)]) == ["validation", "test"]
    assert calibrated_splits([OTSU]) == []
