"""Reading the table of a row's images."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.scoring.per_image import read_images, read_scores, values
from monuseg.scoring.rows import Row

HEADER = "id,split,organ,dice,iou,aji,pq,dq,sq\n"


def test_a_split_by_id_in_order_and_what_is_undefined_is_none(tmp_path: Path) -> None:
    path = tmp_path / "unet.csv"
    path.write_text(
        HEADER
        + "010,test,lung,0.5,0.4,,,,\n"
        + "09,test,lung,0.75,0.5,0.25,1,1,1\n"
        + "1,train,lung,0.1,0.1,0.1,0.1,0.1,0.1\n"
    )
    scores = read_scores(path, "test")
    assert list(scores.index) == ["010", "09"]
    assert values(scores, "dice") == [0.5, 0.75]
    assert values(scores, "aji") == [None, 0.25]
    assert values(scores, "pq") == [None, 1.0]


def test_an_id_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    ids = ["NA", "null", "nan", "None", "007", "1e5", "1.0", "True", "-"]
    path = tmp_path / "unet.csv"
    path.write_text(HEADER + "".join(f"{name},test,NA,0.5,0.4,,,,\n" for name in ids))
    scores = read_scores(path, "test")
    assert list(scores.index) == sorted(ids)
    assert values(scores, "dice") == [0.5] * len(ids)
    assert values(scores, "aji") == [None] * len(ids)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no column 'id'"),
        (HEADER + '"a', r"is not a CSV .*delete it and run `dvc repro evaluate@unet`"),
        ("id,split\n", "has no column 'dice'"),
        (HEADER, r"has no test image; add it to evaluate\.splits"),
        (HEADER + "a,test,lung,much,1,1,1,1,1\n", "not a score .*much.* run `dvc repro eval"),
        *(
            (HEADER + f"a,test,lung,1,1,{score},1,1,1\n", f"not a score .*{score}")
            for score in ("NA", "nan", "inf", "-0.1", "1.1")
        ),
        (HEADER + "a,test,lung,1,1\n", "not a score .*missing"),
        (HEADER + "a,test,lung,1,1,1,1,1,1\n" * 2, "has a twice; delete it and run `dvc repro"),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "unet.csv"
    path.write_text(content)
    with pytest.raises(PipelineError, match=said) as caught:
        read_scores(path, "test")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


UNET, OTSU = (Row(key, {"test": {"dice": 0.5}}) for key in ("unet", "otsu"))


def write(folder: Path, row: str, ids: str) -> None:
    lines = [f"{name},test,lung,0.5,0.5,0.5,0.5,0.5,0.5\n" for name in ids]
    (folder / f"{row}.csv").write_text(HEADER + "".join(lines))


def test_the_images_of_the_rows_that_are_scored_on_the_split(tmp_path: Path) -> None:
    write(tmp_path, "unet", "ab")
    write(tmp_path, "otsu", "ba")
    rows = [UNET, Row("segnet", {"train": {"dice": 0.5}}), OTSU]
    found = read_images(rows, tmp_path, "test")
    assert {row: list(scores.index) for row, scores in found.items()} == {
        "unet": ["a", "b"],
        "otsu": ["a", "b"],
    }


def test_rows_of_other_images_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "unet", "abcd")
    write(tmp_path, "otsu", "abc")
    with pytest.raises(
        PipelineError,
        match=r"otsu\.csv and .*unet\.csv have other test images; run `dvc repro evaluate@unet ",
    ):
        read_images([UNET, OTSU], tmp_path, "test")


def test_a_missing_table_of_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"unet\.csv is missing; run `dvc repro evaluate@unet`"):
        read_images([UNET], tmp_path, "test")
