"""Reading the scores of rows."""

import json
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.scoring.rows import Row, read_rows


def write(folder: Path, row: str, scores: object, detail: object | None = None) -> None:
    (folder / "detail").mkdir(exist_ok=True)
    (folder / f"{row}.json").write_text(json.dumps(scores))
    (folder / "detail" / f"{row}.json").write_text(json.dumps(detail or {}))


def test_rows_are_models_in_order_then_ensemble_then_baseline(tmp_path: Path) -> None:
    for row in ("otsu", "segnet", "unet", "ensemble"):
        write(tmp_path, row, {})
    rows = read_rows(["unet", "segnet"], tmp_path, tmp_path / "detail")
    assert [row.key for row in rows] == ["unet", "segnet", "ensemble", "otsu"]


def test_without_its_file_there_is_no_ensemble(tmp_path: Path) -> None:
    for row in ("otsu", "unet"):
        write(tmp_path, row, {})
    rows = read_rows(["unet"], tmp_path, tmp_path / "detail")
    assert [row.title for row in rows] == ["U-Net", "Otsu, no training"]


def test_detail_adds_numbers_and_never_splits(tmp_path: Path) -> None:
    detail = {
        "test": {"pixel_dice": 0.95, "dice": 0.1, "organs": {"colon": {"dice": 0.7}}, "ok": True},
        "settings": {"threshold": 0.5},
    }
    write(tmp_path, "unet", {"test": {"dice": 0.8, "loss": 1}}, detail)
    write(tmp_path, "otsu", {"test": {"dice": 0.7}})
    row = read_rows(["unet"], tmp_path, tmp_path / "detail")[0]
    assert row.scores == {"test": {"dice": 0.8, "loss": 1.0, "pixel_dice": 0.95}}


def test_calibration_is_that_of_scored_splits(tmp_path: Path) -> None:
    bins = [
        {
            "low": 0.9,
            "high": 1.0,
            "pixels": 5,
            "mean_probability": 0.95,
            "nucleus_fraction": 0.8,
        }
    ]
    split = {
        "calibration": {"expected_calibration_error": 0.15, "bins": bins},
    }
    write(tmp_path, "unet", {"test": {"dice": 0.8}}, {"test": split, "train": split})
    # A hard mask has no calibration.
    write(tmp_path, "otsu", {"test": {"dice": 0.7}}, {"test": {}})
    unet, otsu = read_rows(["unet"], tmp_path, tmp_path / "detail")
    assert list(unet.calibration) == ["test"]
    [found] = unet.calibration["test"]
    assert (found.high, found.pixels, found.nucleus_fraction) == (1.0, 5, 0.8)
    assert otsu.calibration == {}


@pytest.mark.parametrize(
    "calibration",
    [
        {},
        {"bins": [1]},
        {"bins": [dict.fromkeys(("low", "high", "pixels", "mean_probability"), 1)]},
        {"expected_calibration_error": 0.1, "bins": [{}]},
        {"expected_calibration_error": 0.1, "bins": [{"surplus": 1}]},
        [1],
    ],
)
def test_a_malformed_calibration_is_one_line(tmp_path: Path, calibration: object) -> None:
    write(tmp_path, "unet", {"test": {}}, {"test": {"calibration": calibration}})
    with pytest.raises(PipelineError) as caught:
        read_rows(["unet"], tmp_path, tmp_path / "detail")
    assert "detail/unet.json is not what stage evaluate writes (" in str(caught.value)
    assert str(caught.value).endswith("; delete both and run `dvc repro evaluate@unet`")
    assert "\n" not in str(caught.value)


def test_an_undefined_score_is_none() -> None:
    row = Row("unet", {"test": {"dice": 0.8}})
    assert row.value("test", "dice") == 0.8
    assert row.value("test", "aji") is None
    assert row.value("train", "dice") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not what stage evaluate writes .*JSONDecodeError.*line 1 column 2"),
        ("[1]", "not what stage evaluate writes"),
        ('{"test": 1}', "not what stage evaluate writes"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, "unet", {})
    (tmp_path / "unet.json").write_text(content)
    with pytest.raises(PipelineError, match=rf"unet\.json.*{message}.*dvc repro evaluate@unet"):
        read_rows(["unet"], tmp_path, tmp_path / "detail")
