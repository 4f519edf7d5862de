"""Tests of `monuseg.core.turn`."""

import errno
import fcntl
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
