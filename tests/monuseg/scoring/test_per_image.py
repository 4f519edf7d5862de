"""Reading the table of a row's images."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.scoring.per_image import read_scores, values

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
