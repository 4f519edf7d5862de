"""Comparing rows of metrics/per_image."""

import argparse
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.paths import PER_IMAGE
from tools import compare

HEADER = "id,split,organ,dice,iou,aji,pq,dq,sq\n"


def write(path: Path, lead: float, ids: str = "abcdefgh", outlined: str = "abcdefg") -> None:
    """Images of which some alone have outlines: nuclei are not told apart on the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [HEADER, "v,validation,lung,0.9,0.8,0.7,0.6,0.5,0.4\n"]
    for number, name in enumerate(ids):
        value = 0.5 + 0.05 * number + lead
        nuclei = f"{value - 0.1},{value - 0.2},{value},{value}" if name in outlined else ",,,"
        lines.append(f"{name},test,lung,{value},{value - 0.1},{nuclei}\n")
    path.write_text("".join(lines))


def run(first: str, second: str | Path, split: str = "test") -> None:
    compare.main(argparse.Namespace(first=first, second=second, split=split))


def test_a_lead_on_every_image_holds(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(PER_IMAGE / "unet.csv", 0.02)
    write(PER_IMAGE / "segnet.csv", 0.0)
    run("unet", "segnet")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "unet less segnet, 8 test images:"
    assert lines[1].split() == [
        "dice",
        "+0.0200",
        "(+0.0200",
        "to",
        "+0.0200),",
        "higher",
        "on",
        "8",
        "of",
        "8:",
        "holds",
    ]
    assert lines[3].split() == [
        "aji",
        "+0.0200",
        "(+0.0200",
        "to",
        "+0.0200),",
        "higher",
        "on",
        "7",
        "of",
        "7:",
        "holds",
    ]


def test_a_table_of_elsewhere_and_no_difference(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(PER_IMAGE / "unet.csv", 0.0)
    write(Path("../other.csv"), 0.0)
    run("unet", Path("../other.csv"))
    assert "dice  +0.0000 (+0.0000 to +0.0000), higher on 0 of 8: may be chance" in (
        capsys.readouterr().out
    )


def test_it_says_how_often_such_lines_are_chance(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for outlined, count in (("abcdefg", "0.3 of the 6"), ("a", "0.1 of the 2")):
        write(PER_IMAGE / "unet.csv", 0.02, outlined=outlined)
        write(PER_IMAGE / "segnet.csv", 0.0, outlined=outlined)
        run("unet", "segnet")
        said = capsys.readouterr().out.splitlines()
        assert "by chance once in 20" in said[7]
        assert f" {count} intervals" in said[7]
        assert len(said) == 8
    assert said[3].split() == ["aji", "too", "few", "images"]


def test_few_images_are_told_score_by_score(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(PER_IMAGE / "unet.csv", 0.02, "abcdefghi", outlined="abc")
    write(PER_IMAGE / "segnet.csv", 0.0, "abcdefghi", outlined="abc")
    run("unet", "segnet")
    said = capsys.readouterr().out.splitlines()
    assert said[8:] == [
        "aji, pq, dq, sq: 3 images are few. An interval of 95 % then rests on differences that are "
        "normally distributed, which so few do not show; by chance alone, all 3 have the same sign "
        "in one case of 4."
    ]


def test_images_that_one_row_alone_defines_are_counted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(PER_IMAGE / "unet.csv", 0.02, outlined="abcdefg")
    write(PER_IMAGE / "segnet.csv", 0.0, outlined="abcdefh")
    run("unet", "segnet")
    said = capsys.readouterr().out.splitlines()
    assert said[1].endswith("higher on 8 of 8: holds")
    assert said[3].endswith("higher on 6 of 6, 2 defined in one alone left out: holds")


def test_an_image_called_na_is_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in ("unet", "segnet"):
        write(PER_IMAGE / f"{row}.csv", 0.0)
        path = PER_IMAGE / f"{row}.csv"
        path.write_text(path.read_text().replace("\na,", "\nNA,").replace("\nb,", "\nnull,"))
    run("unet", "segnet")
    assert "higher on 0 of 8: may be chance" in capsys.readouterr().out


def test_other_images_are_not_compared(project: Path) -> None:
    write(PER_IMAGE / "unet.csv", 0.0)
    write(PER_IMAGE / "segnet.csv", 0.0, ids="abcdefgx")
    with pytest.raises(PipelineError, match="have other test images"):
        run("unet", "segnet")


def test_what_is_missing_is_told_with_what_makes_it(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"unet\.csv is missing; run `dvc repro evaluate@unet`"):
        run("unet", "segnet")
    write(PER_IMAGE / "unet.csv", 0.0)
    with pytest.raises(PipelineError, match=r"has no train image; add it to evaluate\.splits"):
        run("unet", "unet", split="train")
    (PER_IMAGE / "otsu.csv").write_text("id,split\n")
    with pytest.raises(PipelineError, match=r"otsu\.csv has no column 'dice'"):
        run("otsu", "unet")
