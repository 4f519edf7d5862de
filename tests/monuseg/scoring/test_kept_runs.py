"""Kept results of real runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from monuseg.scoring.kept_runs import kept_scores, read_references
from monuseg.scoring.rows import Row


def content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "real",
        "description": "Real.",
        "dataset": {
            "source": "file",
            "protocol": "challenge",
            "archives": [{"name": "a.zip", "sha256": "0" * 64}],
        },
        "params": {"models": ["unet"]},
        "backend": "jax",
        "device": "gpu",
        "rows": {"unet": {"test": {"dice": 0.8}}},
        **changes,
    }


def test_runs_are_read_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content(name=name)))
    (tmp_path / "README.md").write_text("Not a run.")
    runs = read_references(tmp_path)
    assert [run.name for run in runs] == ["a", "b"]
    assert runs[0].table_rows() == [Row("unet", {"test": {"dice": 0.8}})]


def test_a_run_whose_params_configure_the_bootstrap_has_its_intervals(tmp_path: Path) -> None:
    params = [{"evaluate": {"bootstrap": 2000}}, {"intervals": {"seed": 1}}, {"evaluate": {}}, {}]
    for name, given in zip("abcd", params, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content(name=name, params=given)))
    assert [run.resampled for run in read_references(tmp_path)] == [True, True, False, False]


def test_without_a_folder_there_is_no_run(tmp_path: Path) -> None:
    assert read_references(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"real\.json is no valid JSON"),
        (json.dumps(content(name="other")), r"real\.json: its name in the file is 'other'"),
        (json.dumps(content(extra=1)), r"real\.json\.extra: unknown key"),
        (json.dumps(content(rows={})), r"real\.json\.rows: "),
        (json.dumps(content(rows={"unet": {"test": {"dice": "good"}}})), r"unet\.test\.dice: "),
        (json.dumps(content(rows={"unet": {"test": {"dice": float("nan")}}})), r"test\.dice: "),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "real.json").write_text(text)
    with pytest.raises(PipelineError, match=message):
        read_references(tmp_path)


def test_only_known_scores_are_kept() -> None:
    row = Row("unet", {"test": {"dice": 0.8, "dice_lo": 0.7, "images": 14.0, "sq": 0.7}})
    assert kept_scores(row) == {"test": {"dice": 0.8, "dice_lo": 0.7, "sq": 0.7}}
