"""Signals, killed processes and orphans, with real processes and the real project."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from monuseg.core import supervision
from monuseg.core.files import replacing, replacing_folder
from monuseg.core.supervision import Dvc, Interrupted
from tests.processes import SlowProject, left, none_left, wait_until

WHOLE = ["data/masks", "data/masks/a", "data/masks/b", "data/masks/c"]
SHELL_THAT_STAYS = '#!/bin/sh\n/bin/sh "$@"\nexit $?\n'

SIGINT, SIGTERM, SIGHUP, SIGKILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SlowProject]:
    """A project whose stage works with two workers."""
    made = SlowProject(tmp_path, MONUSEG_WORKERS="2")
    yield made
    made.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
def test_a_signal_ends_a_stage_in_order(
    project: SlowProject, number: signal.Signals, workers: str
) -> None:
    project.environment["MONUSEG_WORKERS"] = workers
    stage = project.stage()
    project.at_work()
    os.killpg(stage.pid, number)
    _, stderr = stage.communicate(timeout=30)
    assert stage.returncode == 128 + number
    assert stderr == f"error: interrupted by {number.name}; run it again to go on\n"
    none_left(project.environment)
    assert project.written() == []


def test_a_signal_to_the_stage_alone_ends_its_workers(project: SlowProject) -> None:
    stage = project.stage()
    project.at_work()
    assert len(left(project.environment)) > 3
    stage.terminate()
    assert stage.communicate(timeout=30)[1].count("\n") == 1
    none_left(project.environment)


def test_an_error_that_a_library_makes_of_it_is_an_interruption_still(
    project: SlowProject,
) -> None:
    project.environment["MONUSEG_WORKERS"] = "1"
    project.mode("swallow")
    stage = project.stage()
    project.at_work()
    stage.terminate()
    assert stage.communicate(timeout=30)[1].startswith("error: interrupted by SIGTERM")
    assert stage.returncode == 128 + SIGTERM


def test_a_second_signal_ends_at_once(project: SlowProject) -> None:
    project.environment["MONUSEG_WORKERS"] = "1"
    project.mode("stubborn")
    stage = project.stage()
    project.at_work()
    stage.send_signal(SIGINT)
    stage.send_signal(SIGINT)  # the same keystroke, as when a parent passes it on
    wait_until((project.folder / "ending").exists)
    with pytest.raises(subprocess.TimeoutExpired):
        stage.wait(supervision.SAME_SIGNAL + 0.2)
    stage.send_signal(SIGINT)
    assert stage.wait(5) == 128 + SIGINT


def test_code_that_lets_no_handler_run_is_ended_after_a_while(project: SlowProject) -> None:
    project.environment["MONUSEG_WORKERS"] = "1"
    project.mode("busy")
    stage = project.stage()
    project.at_work()
    stage.terminate()
    assert stage.wait(10) == 128 + SIGTERM
    assert any(".writing-masks=" in path for path in project.written())


def test_a_signal_within_a_short_step_waits_for_its_end(project: SlowProject) -> None:
    code = """
import signal
from monuseg.core.supervision import Interrupted, supervised, uninterrupted
try:
    with supervised():
        with uninterrupted():
            pass
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            print("to its end")
        print("too far")
except Interrupted as end:
    print(end, end.status)
"""
    stdout, _ = project.start(sys.executable, "-c", code).communicate(timeout=30)
    assert stdout == "to its end\ninterrupted by SIGTERM 143\n"


def test_an_ignored_signal_stays_ignored(project: SlowProject) -> None:
    project.mode("until allowed")
    stage = project.start(sys.executable, "-m", "stages.masks", ignored=[SIGHUP])
    project.at_work()
    os.killpg(stage.pid, SIGHUP)
    (project.folder / "allowed").touch()
    assert stage.wait(30) == 0
    assert project.written() == WHOLE


def test_ctrl_c_within_an_import_prints_no_traceback(project: SlowProject) -> None:
    project.mode("import")
    stage = project.stage()
    project.at_work()
    stage.send_signal(SIGINT)
    assert stage.communicate(timeout=30) == ("", "")
    assert stage.returncode == -SIGINT


def test_workers_end_with_a_killed_stage_and_its_next_run_clears_up(project: SlowProject) -> None:
    stage = project.stage()
    project.at_work()
    stage.kill()
    stage.wait()
    none_left(project.environment)
    assert any(".writing-masks=" in path for path in project.written())
    # Of another stage, which may be at work on it.
    (project.folder / "data" / ".writing-masks@unet=x").mkdir()
    (project.folder / "data" / ".writing-tile=x").mkdir()
    project.mode("quick")
    assert project.stage().wait(30) == 0
    assert project.written() == ["data/.writing-masks@unet=x", "data/.writing-tile=x", *WHOLE]


def test_a_killed_worker_is_told_in_one_line(project: SlowProject) -> None:
    stage = project.stage()
    project.at_work()
    workers = [each for each in left(project.environment) if "--process-name" in each.cmdline()]
    assert len(workers) == 2
    workers[0].kill()
    _, stderr = stage.communicate(timeout=30)
    assert stage.returncode == 1
    assert stderr.startswith("error: draw: a worker process was killed")
    assert stderr.count("\n") == 1
    none_left(project.environment)


@pytest.mark.parametrize(
    ("number", "stays"),
    [(SIGTERM, False), (SIGKILL, True)],
    ids=["the shell became the stage", "a shell in between"],
)
def test_a_stage_ends_with_its_dvc(
    project: SlowProject, number: signal.Signals, stays: bool
) -> None:
    if stays:
        shell = project.folder / "shell"
        shell.write_text(SHELL_THAT_STAYS)
        shell.chmod(0o755)
        project.environment["SHELL"] = str(shell)
    else:
        project.environment["SHELL"] = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
    repro = project.dvc()
    project.at_work()
    repro.send_signal(number)
    repro.wait()
    # The next run at once, beside the orphan if it is still there.
    project.mode("quick")
    again = project.dvc()
    assert again.wait(60) == 0, again.communicate()
    none_left(project.environment)
    assert project.written() == WHOLE
    assert "data/masks" in (project.folder / "dvc.lock").read_text()


def test_an_orphan_is_gone_within_a_second_or_so(project: SlowProject) -> None:
    repro = project.dvc()
    project.at_work()
    repro.kill()
    none_left(project.environment, seconds=3)
    assert project.written() == []
    assert not (project.folder / "dvc.lock").exists()


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_to_all_of_dvc_leaves_nothing(
    project: SlowProject, number: signal.Signals
) -> None:
    repro = project.dvc()
    project.at_work()
    os.killpg(repro.pid, number)
    assert repro.communicate(timeout=30)[1].count("Traceback") == 0
    assert repro.returncode != 0
    none_left(project.environment)
    assert project.written() == []


def test_an_out_of_a_killed_stage_is_not_trusted(project: SlowProject) -> None:
    project.mode("after")
    repro = project.dvc()
    wait_until((project.folder / "data/masks/c").exists)
    os.killpg(repro.pid, SIGKILL)
    repro.wait()
    none_left(project.environment)
    assert project.written() == WHOLE
    project.mode("quick")
    assert project.dvc().wait(60) == 0
    assert (project.folder / "began").exists(), "the stage did not run again"
    assert project.written() == WHOLE


def test_dvc_alone_ignores_ctrl_c_while_a_stage_runs(project: SlowProject) -> None:
    project.mode("until allowed")
    repro = project.dvc()
    project.at_work()
    repro.send_signal(SIGINT)
    (project.folder / "allowed").touch()
    assert repro.wait(30) == 0
    none_left(project.environment)
    assert project.written() == WHOLE


def test_a_stage_whose_dvc_ended_before_it_began_does_nothing(project: SlowProject) -> None:
    project.environment["DVC_STAGE"] = "masks"
    project.start("/bin/sh", "-c", f"{sys.executable} -m stages.masks & exit").wait()
    wait_until(lambda: left(project.environment) == [])
    assert project.written() == []


def test_nothing_takes_its_place_when_dvc_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    dvc = Dvc()
    monkeypatch.setattr(supervision, "_dvc", dvc)
    monkeypatch.setattr(dvc, "_process", psutil.Process())
    with replacing(tmp_path / "c") as temporary:
        temporary.write_text("new")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        gone = psutil.Process(ended.pid)
    for change in ({"_process": None}, {"_process": gone}, {"_parent": os.getpid()}):
        with monkeypatch.context() as changed:
            for name, value in change.items():
                changed.setattr(dvc, name, value)
            with pytest.raises(Interrupted, match="dvc"), replacing(tmp_path / "a") as temporary:
                temporary.write_text("new")
            with pytest.raises(Interrupted, match="dvc"), replacing_folder(tmp_path / "b") as made:
                (made / "x").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c"]
    assert (tmp_path / "a").read_text() == "old"
