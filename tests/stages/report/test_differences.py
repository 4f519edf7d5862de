"""Every two rows, image by image."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from stages.report.differences import (
    Comparison,
    compare,
    differences,
    differences_table,
    listed,
    signed,
    statements,
)
from stages.report.document import Bullets, Notice, Paragraph, Section
from stages.report.rows import Row

IDS = "abcdefgh"
# Far more between images than between rows.
DICE = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def write(folder: Path, row: str, lead: tuple[float, ...], split: str = "test") -> Row:
    """A table whose AJI is defined on one image alone, and whose PQ is the same in every row."""
    lines = ["id,split,organ,dice,iou,aji,pq,dq,sq"]
    for name, dice, more in zip(IDS, DICE, lead, strict=False):
        aji = "0.5" if name == "a" else ""
        lines.append(f"{name},{split},lung,{dice + more},0.5,{aji},0.5,0.5,0.5")
    (folder / f"{row}.csv").write_text("\n".join(lines) + "\n")
    return Row(row, {split: {"dice": 0.6}})


def compared(rows: list[Row], folder: Path, split: str = "test") -> Comparison:
    return compare(rows, folder, split, resamples=500, seed=1)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    rows = [
        write(tmp_path, "unet", (0.0,) * 8),
        write(tmp_path, "segnet", (0.01,) * 8),
        write(tmp_path, "otsu", (0.1, -0.1) * 4),
    ]
    return compared(rows, tmp_path)


def test_every_pair_is_compared_and_only_what_holds_is_said_to(comparison: Comparison) -> None:
    pairs = [(pair.first.key, pair.second.key) for pair in comparison.pairs]
    assert pairs == [("unet", "segnet"), ("unet", "otsu"), ("segnet", "otsu")]
    assert statements(comparison) == [
        "**Dice holds**: SegNet above U-Net.",
        "**Dice may be chance**: U-Net and Otsu; SegNet and Otsu.",
        "**AJI holds**: no difference.",
        "**AJI of too few images**: U-Net and SegNet; U-Net and Otsu; SegNet and Otsu.",
        "**PQ holds**: no difference.",
        "**PQ may be chance**: U-Net and SegNet; U-Net and Otsu; SegNet and Otsu.",
    ]
    unet, segnet, otsu = Row("unet", {}), Row("segnet", {}), Row("otsu", {})
    assert comparison.holds(unet, segnet, "dice")
    assert comparison.holds(segnet, unet, "dice")
    assert not comparison.holds(unet, otsu, "dice")
    assert not comparison.holds(unet, segnet, "aji")


def test_table_has_the_difference_its_interval_and_the_verdict(comparison: Comparison) -> None:
    table = differences_table(comparison)
    assert table.caption == "Differences, test, 8 images"
    assert [column.title for column in table.columns] == ["Method", "less", "Dice", "AJI", "PQ"]
    first = table.rows[0].cells
    assert [cell.text for cell in first] == [
        *("U-Net", "SegNet", "−0.0100 holds", "too few images", "0.0000 may be chance")
    ]
    assert first[2].interval == "−0.0100 to −0.0100; higher on 0 of 8"
    assert [cell.strong for cell in first] == [False, False, True, False, False]
    last = table.rows[2].cells
    assert [cell.text for cell in last[:2]] == ["SegNet", "Otsu"]
    assert last[2].text == "+0.0100 may be chance"
    assert last[2].interval.endswith("; higher on 4 of 8")
    assert [row.starts_group for row in table.rows] == [True, False, True]


def texts(section: Section, kind: type[Paragraph] | type[Notice]) -> str:
    return "\n".join(block.text for block in section.blocks if isinstance(block, kind))


def test_section_says_images_draws_and_what_chance_does(comparison: Comparison) -> None:
    section = differences(comparison)
    assert Bullets(tuple(statements(comparison))) in section.blocks
    said = texts(section, Paragraph)
    assert "500 resamples of 8 images, seed 1." in said
    # Three of Dice and three of PQ.
    assert "Of these 6 intervals, 0.3 or more would" in said
    assert texts(section, Notice) == ""


def test_few_images_and_rows_that_were_not_scored_are_told(tmp_path: Path) -> None:
    rows = [
        write(tmp_path, "unet", (0.0,) * 4, "validation"),
        write(tmp_path, "segnet", (0.1,) * 4, "validation"),
        Row("otsu", {"train": {"dice": 0.5}}),
    ]
    section = differences(compared(rows, tmp_path, "validation"))
    notices = texts(section, Notice)
    assert "The test images are not scored in this run: these are its validation" in notices
    assert "**Take “holds” as a hint.** 4 images are too few" in notices
    assert "Not scored on these images, so not compared: Otsu, no training." in texts(
        section, Paragraph
    )


def test_of_training_images_alone_nothing_is_said() -> None:
    section = differences(None)
    assert len(section.blocks) == 1
    assert "Training images alone" in texts(section, Notice)


def test_of_one_image_there_is_no_interval(tmp_path: Path) -> None:
    rows = [write(tmp_path, "unet", (0.0,)), write(tmp_path, "otsu", (0.1,))]
    comparison = compared(rows, tmp_path)
    assert comparison.found == []
    assert differences_table(comparison).caption == "Differences, test, 1 image"
    assert texts(differences(comparison), Notice) == ""


def test_rows_of_other_images_are_refused(tmp_path: Path) -> None:
    rows = [write(tmp_path, "unet", (0.0,) * 8), write(tmp_path, "otsu", (0.0,) * 7)]
    with pytest.raises(
        PipelineError,
        match=r"otsu\.csv and .*unet\.csv have other test images; run `dvc repro evaluate@unet ",
    ):
        compared(rows, tmp_path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"unet\.csv is missing; run `dvc repro evaluate@unet`"):
        compared([Row("unet", {"test": {"dice": 0.5}})], tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "+0.0123"), (-0.5, "−0.5000"), (-0.00001, "0.0000"), (0, "0.0000")],
)
def test_a_difference_has_a_sign_unless_it_is_none(value: float, text: str) -> None:
    assert signed(value) == text


def test_a_list_reads_as_a_sentence() -> None:
    assert [listed(["A"]), listed(["A", "B"]), listed(["A", "B", "C"])] == [
        *("A", "A and B", "A, B and C")
    ]
