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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"is not a CSV .*delete it and run `dvc repro evaluate@unet`"),
        ("id,split\n", "has no column 'dice'"),
        (HEADER, r"has no test image; add it to evaluate\.splits"),
        (HEADER + "a,test,lung,much,1,1,1,1,1\n", "not a number .*much.* run `dvc repro eval"),
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
