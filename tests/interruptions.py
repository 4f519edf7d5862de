"""Interrupting `dvc repro` on purpose, at a chosen moment of a chosen stage."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from monuseg.core.files import sha256_of
from tests.processes import MARK, none_left, take_signals
from tests.repository import RUNNING, Project

# What is sent to whom; a terminal's Ctrl-C goes to all processes.
KINDS = ("KILL dvc", "KILL stage", "TERM dvc", "TERM stage", "Ctrl-C")

DVC_PATIENCE = 3600.0  # seconds; the machine may have other work


@dataclass(frozen=True)
class Interruption:
    """What is to happen, and when.

    Attributes:
        stage: in which.
        part: of the stage's duration that has passed, 0 to 1.
        kind: one of KINDS.
    """

    stage: str
    part: float
    kind: str


def drawn(stages: Sequence[str], count: int, seed: int) -> list[Interruption]:
    """Interruptions in the order of the graph: stage and moment uniform, kinds equally often."""
    generator = random.Random(seed)  # noqa: S311
    kinds = [KINDS[place % len(KINDS)] for place in range(count)]
    generator.shuffle(kinds)
    made = [Interruption(generator.choice(stages), generator.random(), kind) for kind in kinds]
    return sorted(made, key=lambda each: stages.index(each.stage))


class Repro:
    """A running `dvc repro`, in a group of processes of its own, as a terminal starts it.

    Attributes:
        started: when each stage began, in seconds of the monotonic clock.
        ended: when the output ended.
    """

    def __init__(self, project: Project, *options: str) -> None:
        self.started: dict[str, float] = {}
        self.ended = 0.0
        self._environment = project.environment | {MARK: str(project.folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *options],
            cwd=project.folder,
            env=self._environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=take_signals,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)
            if line.startswith(RUNNING):
                self.started[line.split("'")[1]] = time.monotonic()
        self.ended = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether dvc has not ended."""
        return self._process.poll() is None

    def reap(self) -> None:
        """Wait for the end of dvc alone, as the shell that started it does.

        While it is a zombie, DVC takes it for running: "is busy, it is being blocked by".
        """
        self._process.wait(DVC_PATIENCE)

    def wait(self) -> int:
        """Wait for the end of dvc and of all that it started; the exit status."""
        status = self._process.wait(DVC_PATIENCE)
        none_left(self._environment)
        self.close()
        return status

    def close(self) -> None:
        """Take what is left of the output, which ends with the last process that writes to it."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)  # a test has failed
        self._process.wait(DVC_PATIENCE)
        self._reader.join(DVC_PATIENCE)
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def output(self) -> str:
        """All that has been printed."""
        return "".join(self._lines)

    def interrupt(self, kind: str) -> bool:
        """Send what `kind` says; False if dvc has ended."""
        if kind == "Ctrl-C":
            os.killpg(self._process.pid, signal.SIGINT)
            return True
        number = signal.SIGKILL if kind.startswith("KILL") else signal.SIGTERM
        if kind.endswith("dvc"):
            self._process.send_signal(number)
            return True
        while self.running:
            for process in psutil.Process(self._process.pid).children(recursive=True):
                try:
                    if process.cmdline()[1:2] == ["-m"]:
                        process.send_signal(number)
                        return True
                except psutil.Error:
                    continue
            time.sleep(0.01)
        return False


def reproduce(
    project: Project,
    planned: Sequence[Interruption],
    due: Callable[[Repro, Interruption], bool],
    *options: str,
) -> list[tuple[str, str]]:
    """`dvc repro` again and again until it ends by itself, with interruptions in between.

    Args:
        project: to run.
        planned: in the order of the graph.
        due: whether an interruption is to happen now, asked for again and again.
        options: of `dvc repro`.

    Returns:
        What did happen: stage and kind of each. The stage may have ended just before.
    """
    happened = []
    repros: list[Repro] = []
    try:
        for interruption in planned:
            repro = Repro(project, *options)
            repros.append(repro)
            while repro.running and not due(repro, interruption):
                time.sleep(0.002)
            if repro.running and repro.interrupt(interruption.kind):
                happened.append((list(repro.started)[-1], interruption.kind))
                if interruption.kind == "KILL dvc":
                    repro.reap()
                    continue  # the next run at once, beside what may be left of this one
            repro.wait()
            if not interruption.kind.startswith("KILL"):  # workers of a killed stage may complain
                assert "Traceback" not in repro.output, repro.output
        repros.append(Repro(project, *options))
        assert repros[-1].wait() == 0, repros[-1].output
    finally:
        for repro in repros:
            repro.close()
    return happened


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of all that the graph writes, temporary files included."""
    files = [folder / "dvc.lock"]
    for top in ("data", "metrics"):
        files += (path for path in (folder / top).rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(files)}


def leftovers(folder: Path) -> list[Path]:
    """Temporary folders in a project."""
    return sorted(folder.rglob(".writing-*"))
