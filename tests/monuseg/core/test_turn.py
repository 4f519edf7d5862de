"""Tests of `monuseg.core.turn`."""

import errno
import fcntl
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from monuseg.core.turn import prefix, stage_of, turn_of
from tests.processes import SlowProject


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowProject]:
    made = SlowProject(tmp_path, MONUSEG_WORKERS="1")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("module", "arguments", "stage"),
    [
        ("stages.masks.__main__", {"debug": False}, "masks"),
        ("stages.train.__main__", {"debug": True, "model": "unet"}, "train@unet"),
        ("stages.evaluate.__main__", {"debug": False, "row": "../x"}, "evaluate@.._x"),
        ("tools.check", {"debug": False}, None),
        ("pytest.__main__", {"debug": False}, None),
    ],
)
def test_a_stage_is_named_as_dvc_does(
    monkeypatch: pytest.MonkeyPatch, module: str, arguments: dict[str, object], stage: str | None
) -> None:
    monkeypatch.setitem(
        sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name=module))
    )
    assert stage_of(Namespace(**arguments)) == stage


def test_each_process_of_a_training_has_a_turn_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    main = SimpleNamespace(__spec__=SimpleNamespace(name="stages.train.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    for index, stage in (("", "train@unet"), ("0", "train@unet"), ("1", "train@unet@1")):
        monkeypatch.setenv("MONUSEG_PROCESS_INDEX", index)
        assert stage_of(Namespace(model="unet")) == stage


def test_names_tell_the_stage_while_it_has_its_turn(project: Path) -> None:
    path = project / ".scratch/locks/train@unet.lock"
    assert prefix() == ".writing-"
    with turn_of("train@unet"):
        assert prefix() == ".writing-train@unet="
        with path.open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert prefix() == ".writing-"


def test_no_stage_and_no_project_need_no_lock(project: Path) -> None:
    with turn_of(None):
        assert not (project / ".scratch").exists()
    (project / "params.yaml").unlink()
    with turn_of("masks"):
        assert not (project / ".scratch").exists()


def test_a_file_system_without_locks_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(code: int, *arguments: object) -> None:
        raise OSError(code, "as the system says")

    monkeypatch.setattr(fcntl, "flock", partial(fail, errno.ENOLCK))
    with turn_of("masks"):
        assert prefix() == ".writing-masks="
    assert capsys.readouterr().err.endswith("run one dvc at a time\n")
    monkeypatch.setattr(fcntl, "flock", partial(fail, errno.EIO))
    with pytest.raises(OSError, match="as the system says"), turn_of("masks"):
        pass


def test_the_next_run_waits_and_says_so(slow: SlowProject) -> None:
    slow.mode("until allowed")
    first = slow.stage("one")
    slow.at_work()
    second = slow.stage("one")
    other = slow.stage("two")
    evaluate = slow.stage("one", module="evaluate")
    said = second.stderr.readline() if second.stderr else ""
    assert said == f"masks@one: waiting for process {first.pid} to end\n"
    first.kill()
    (slow.folder / "allowed").touch()
    for run in (second, other, evaluate):
        assert run.wait(30) == 0
        assert run.communicate()[1] == ""
    names = [f"data/masks/{row}{rest}" for row in ("one", "two") for rest in ("", "/a", "/b", "/c")]
    assert slow.written() == ["data/masks", *names]


def linked(project: SlowProject, root: str, target: Path) -> None:
    """Let a folder of the project be a link."""
    target.mkdir(exist_ok=True)
    (project.folder / root).symlink_to(target)


@pytest.fixture
def clones(tmp_path: Path) -> Iterator[list[SlowProject]]:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(SlowProject(tmp_path / name, MONUSEG_WORKERS="1"))
    yield made
    for project in made:
        project.close()


@pytest.mark.parametrize("shared", ["elsewhere", "the first one's"])
def test_clones_with_the_same_linked_data_take_turns(
    clones: list[SlowProject], shared: str, tmp_path: Path
) -> None:
    first, second = clones
    if shared == "elsewhere":
        for clone in clones:
            linked(clone, "data", tmp_path / "data")
    else:
        (first.folder / "data").mkdir()
        linked(second, "data", first.folder / "data")
    first.mode("until allowed")
    second.mode("until allowed")
    begun = first.stage()
    first.at_work()
    waits = second.stage()
    said = waits.stderr.readline() if waits.stderr else ""
    assert said == f"masks: waiting for process {begun.pid} to end\n"
    (first.folder / "allowed").touch()
    assert begun.wait(60) == 0  # what it had begun was not removed
    second.at_work()
    (second.folder / "allowed").touch()
    assert waits.wait(60) == 0
    for clone in clones:
        files = [(clone.folder / "data/masks" / name).read_text() for name in "abc"]
        assert files == ["a", "b", "c"]


def test_clones_with_linked_metrics_alone_take_turns(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    for root in ("metrics", "data"):
        (elsewhere / root).mkdir(parents=True)
    (project / "metrics").symlink_to(elsewhere / "metrics")
    with turn_of("masks"):
        for folder in (project, elsewhere):
            lock = folder / ".scratch/locks/masks.lock"
            with lock.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_locks_of_a_linked_disk_are_on_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "mnt/disk"
    disk.mkdir(parents=True)
    (project / "data").symlink_to(disk)
    # As for a user to whom the disk belongs, and not the folder that it is mounted in.
    monkeypatch.setattr(os, "access", lambda path, mode: path != disk.parent)
    with turn_of("masks"):
        lock = disk / ".scratch/locks/masks.lock"
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [path.name for path in disk.parent.iterdir()] == ["disk"]
