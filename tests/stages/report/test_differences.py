"""Every two rows, image by image."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from stages.report.differences import compare, read_images
from stages.report.rows import Row
from stages.report.tables import Pair, differences_table, signed

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


def compared(rows: list[Row], folder: Path, split: str = "test") -> list[Pair]:
    return compare(rows, read_images(rows, folder, split))


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    rows = [
        write(tmp_path, "unet", (0.0,) * 8),
        write(tmp_path, "segnet", (0.01,) * 8),
        write(tmp_path, "otsu", (0.1, -0.1) * 4),
    ]
    return compared(rows, tmp_path)


def test_every_pair_is_compared_in_the_order_of_the_rows(pairs: list[Pair]) -> None:
    every = [("unet", "segnet"), ("unet", "otsu"), ("segnet", "otsu")]
    assert [(pair.first.key, pair.second.key) for pair in pairs] == every


def test_images_that_one_row_alone_defines_are_left_out(tmp_path: Path) -> None:
    unet, otsu = write(tmp_path, "unet", (0.01,) * 8), write(tmp_path, "otsu", (0.0,) * 8)
    # On a slide without nuclei, U-Net predicts one and Otsu none: 0 against undefined.
    for row, score in (("unet", "0,0,0,0"), ("otsu", ",,,")):
        with (tmp_path / f"{row}.csv").open("a") as file:
            file.write(f"z,test,lung,{score},,\n")
    pairs = compared([unet, otsu], tmp_path)
    dice = pairs[0].found["dice"]
    assert dice is not None
    assert (dice.images, dice.left_out) == (8, 1)
    assert differences_table(pairs)["Dice"][0].endswith("; higher on 8 of 8; 1 left out)*")


def test_table_has_the_difference_its_interval_and_the_verdict(pairs: list[Pair]) -> None:
    table = differences_table(pairs)
    assert list(table.columns) == ["Method", "Minus", "Dice", "AJI", "PQ"]
    method, minus, dice, aji, pq = table.iloc[0]
    assert (method, minus) == ("U-Net", "SegNet")
    assert dice == "**−0.0100 holds** *(−0.0100 to −0.0100; higher on 0 of 8)*"
    assert aji == "too few images"
    assert pq.startswith("0.0000 may be chance *(")
    method, minus, dice, *_ = table.iloc[2]
    assert (method, minus) == ("SegNet", "Otsu")
    assert dice.startswith("+0.0100 may be chance *(")
    assert dice.endswith("; higher on 4 of 8)*")


def test_rows_that_are_not_scored_on_the_images_are_not_compared(tmp_path: Path) -> None:
    rows = [
        write(tmp_path, "unet", (0.0,) * 4, "validation"),
        write(tmp_path, "segnet", (0.1,) * 4, "validation"),
        Row("otsu", {"train": {"dice": 0.5}}),
    ]
    [pair] = compared(rows, tmp_path, "validation")
    assert [pair.first.key, pair.second.key] == ["unet", "segnet"]


def test_of_one_image_there_is_no_interval(tmp_path: Path) -> None:
    rows = [write(tmp_path, "unet", (0.0,)), write(tmp_path, "otsu", (0.1,))]
    [pair] = compared(rows, tmp_path)
    assert set(pair.found.values()) == {None}


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
