"""Commands work from any folder of a project, and with its own code only."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monuseg.core.command import run
from tests.repository import REPOSITORY

EXPORT = ["gone", "--format", "keras", "--output", "gone.keras"]


def started(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m ...` in a folder, with the code that the environment has installed."""
    inherited = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=inherited, capture_output=True, text=True
    )


def test_a_stage_works_from_a_folder_below(outlined: Path) -> None:
    done = started(outlined / "data/raw", "stages.masks")
    assert (done.returncode, done.stderr) == (0, "")
    assert (outlined / "data/masks/counts.csv").is_file()
    assert not (outlined / "data/raw/data").exists()


def test_a_tool_works_from_a_folder_below(project: Path) -> None:
    (project / "data/deep").mkdir(parents=True)
    done = started(project / "data/deep", "tools.preset", "default", "train.seed=7")
    assert done.stdout == "train.seed: 1 -> 7\n"
    assert "seed: 7" in (project / "params.yaml").read_text(encoding="utf-8")


def test_an_error_names_files_from_the_root(outlined: Path) -> None:
    (outlined / "data/raw/b.xml").write_text("<Annotations>")
    done = started(outlined / "data", "stages.masks")
    assert done.returncode == 1
    assert done.stderr.startswith("error: data/raw/b.xml: malformed XML")


def test_paths_among_arguments_count_from_where_the_command_started(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project / "data"
    below.mkdir()
    monkeypatch.chdir(below)
    seen: list[argparse.Namespace] = []
    given = argparse.Namespace(debug=False, one=Path("a"), more=[Path("../b"), "c"], row="d")
    run(seen.append, given)
    assert Path.cwd() == project
    (found,) = seen
    assert found.one == below / "a"
    assert [found.more[0].resolve(), found.more[1], found.row] == [project / "b", "c", "d"]


def test_outside_a_project_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(lambda _: None, argparse.Namespace(debug=False))
    assert Path.cwd() == tmp_path


def test_the_code_of_another_clone_is_refused(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for package in ("monuseg", "stages"):
        shutil.copytree(
            REPOSITORY / package, clone / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "params.yaml", clone)
    (clone / "data").mkdir()
    # In the root the clone's own code is found, below it the environment's.
    assert "data/raw/manifest.csv" in started(clone, "stages.masks").stderr
    done = started(clone / "data", "stages.masks")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{clone}: its commands run the code of another clone, {REPOSITORY}" in done.stderr


def test_slides_are_segmented_in_any_folder(tmp_path: Path, project: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(
        REPOSITORY / "monuseg", other / "monuseg", ignore=shutil.ignore_patterns("__pycache__")
    )
    (project / "below").mkdir()
    for folder in (project / "below", project):
        for command, words, status in (("segment", ["gone.svs"], 2), ("export", EXPORT, 1)):
            done = subprocess.run(
                [sys.executable, "-m", "monuseg", command, *words],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(other), "PYTHONSAFEPATH": "1"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == status
            assert ("the code of another clone" in done.stderr) == (command == "export")
        # Where it was called, and nowhere else.
        assert (folder / "nuclei/segment.csv").is_file()
        shutil.rmtree(folder / "nuclei")


@pytest.mark.parametrize("package", ["monuseg", "stages"])
def test_one_package_of_another_clone_is_refused(package: str, project: Path) -> None:
    other = project.parent / "other"
    shutil.copytree(
        REPOSITORY / package, other / package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (project / "data").mkdir()
    # In the root the project's own code comes first, unless Python is told to leave it out.
    for folder, safe in ((project / "data", ""), (project, "1")):
        done = subprocess.run(
            [sys.executable, "-m", "stages.masks"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(other), "PYTHONSAFEPATH": safe},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"{project}: its commands run the code of another clone, {other};" in done.stderr
