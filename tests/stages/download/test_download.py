"""Tests of stage `download`."""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from monuseg.core.errors import PipelineError
from stages.download import __main__ as download
from stages.download.params import DatasetParams

ROOT = Path(__file__).parents[3]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for archives fetched by hand, and the stage in an empty project of source `file`."""
    folder = tmp_path / "by hand"
    folder.mkdir()
    with zipfile.ZipFile(folder / "anything.bin", "w") as file:
        file.writestr("a.tif", b"pixels")
    sha256 = hashlib.sha256((folder / "anything.bin").read_bytes()).hexdigest()
    archives = [{"name": "train.zip", "sha256": sha256}]
    params = {"dataset": {"source": "file", "file": {"archives": archives}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONUSEG_ARCHIVES", str(folder))
    monkeypatch.setenv("MONUSEG_CACHE", str(tmp_path / "cache"))
    return folder


def test_stage_writes_the_archives_and_nothing_else(
    by_hand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = Path("data/archives/stale.zip")
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run")
    download.main(argparse.Namespace())
    assert [path.name for path in Path("data/archives").iterdir()] == ["train.zip"]
    written = Path("data/archives/train.zip").read_bytes()
    assert written == (by_hand / "anything.bin").read_bytes()
    assert capsys.readouterr().out == "data/archives/train.zip\n"


def test_a_failed_download_keeps_what_was_there(by_hand: Path) -> None:
    download.main(argparse.Namespace())
    (by_hand / "anything.bin").unlink()
    with pytest.raises(PipelineError, match=r"train\.zip"):
        download.main(argparse.Namespace())
    assert [path.name for path in Path("data").iterdir()] == ["archives"]
    assert [path.name for path in Path("data/archives").iterdir()] == ["train.zip"]


def test_the_command_ends_with_one_line_and_status_1(by_hand: Path, tmp_path: Path) -> None:
    (by_hand / "anything.bin").unlink()
    ended = subprocess.run(
        [sys.executable, "-m", "stages.download"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "MONUSEG_ARCHIVES": str(by_hand), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: train.zip: no file of sha256 ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("source", ["gdrive", "file"])
def test_each_source_of_the_committed_params_is_valid(source: str) -> None:
    content = {"dataset": {**PARAMS["dataset"], "source": source}}
    params = DatasetParams.model_validate(DatasetParams.select(content))
    block = params.gdrive or params.file
    assert block is not None
    assert [archive.name for archive in block.archives] == [
        "MoNuSeg 2018 Training Data.zip",
        "MoNuSegTestData.zip",
    ]


def test_the_preset_of_the_original_archive_is_valid_on_top_of_the_committed_params() -> None:
    preset = yaml.safe_load((ROOT / "tools/presets/original.yaml").read_text(encoding="utf-8"))
    assert preset["train"] == {"stain_normalisation": "none"}
    assert set(preset) == {"dataset", "train"}
    gdrive = {**PARAMS["dataset"]["gdrive"], **preset["dataset"]["gdrive"]}
    params = DatasetParams.model_validate({**preset["dataset"], "gdrive": gdrive})
    assert params.gdrive is not None
    (archive,) = params.gdrive.archives
    assert (archive.id, archive.sha256) == ("1LEn2IXZkxLPRUd2ydbL_ZvXR5Yw5PE64", None)


def test_code_of_later_stages_is_not_imported_so_editing_it_downloads_nothing_again() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import sys, stages.download.__main__; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in listed if name.startswith("stages.")}
    assert "stages.download.sources.collect" in ours
    assert {name.split(".")[1] for name in ours} == {"download"}
    assert "keras" not in listed
