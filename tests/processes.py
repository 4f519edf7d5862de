"""Real processes for tests of how commands end: a project with a slow stage, and who is left."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
MARK = "MONUSEG_TEST_MARK"
PATIENCE = 60.0  # seconds until a test gives up: machines that run tests are busy

# In place of a real stage: what it does is told by the file `mode`.
SLOW_STAGE = '''"""A stage that takes its time."""

import argparse
import time
from functools import partial
from pathlib import Path

from monuseg.core import supervision
from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from stages.masks.slow import draw

MODE = Path("mode").read_text(encoding="utf-8")


def main(arguments: argparse.Namespace) -> None:
    """Write three files."""
    out = Path("data", "masks", vars(arguments).get("row", ""))
    with replacing_folder(out) as folder:
        parallel_map(partial(draw, folder=folder, mode=MODE), ["a", "b", "c"], title="draw")
    if MODE == "after":
        time.sleep(60)


if MODE == "busy":
    supervision.PATIENCE = 1.0
if MODE == "import":
    Path("began").touch()
    time.sleep(60)
if __name__ == "__main__":
    command = parser("A slow stage.")
    command.add_argument("row", nargs="?", default=argparse.SUPPRESS)
    run(main, command.parse_args())
'''

SLOW_WORK = '''"""What the slow stage does to each item."""

import hashlib
import time
from pathlib import Path


def draw(name: str, folder: Path, mode: str) -> None:
    """Write a file, and be long about it."""
    (folder / name).write_text(name, encoding="utf-8")
    Path("began").touch()
    if mode == "sleep":
        time.sleep(60)
    if mode == "swallow":
        try:
            time.sleep(60)
        except BaseException as error:
            raise ValueError("a library's own") from error
    if mode == "stubborn":
        try:
            time.sleep(60)
        finally:
            Path("ending").touch()
            time.sleep(60)
    if mode == "busy":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # no handler runs meanwhile
    if mode == "until allowed":
        while not Path("allowed").exists():
            time.sleep(0.01)
'''

DVC_YAML = """stages:
  masks:
    cmd: python -m stages.masks
    outs:
      - data/masks
"""

DVC_CONFIG = """[core]
    no_scm = true
    analytics = false
"""


def environment(**more: str) -> dict[str, str]:
    """This process's, with a mark that all descendants inherit, and nothing of the user's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MONUSEG_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, MARK: uuid.uuid4().hex, **more}


def take_signals(ignored: Iterable[signal.Signals] = ()) -> None:
    """To be called in a new process: those that a terminal's would take, it takes.

    Tests may run in the background of a script, where shells have SIGINT ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)


def left(environment: dict[str, str]) -> list[psutil.Process]:
    """The living processes that were started in an environment, at whatever remove."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == environment[MARK]
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a function returns something true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def none_left(environment: dict[str, str], seconds: float = PATIENCE) -> None:
    """Wait until no process is left."""
    until = time.monotonic() + seconds
    while found := left(environment):
        assert time.monotonic() < until, f"still there: {[each.cmdline() for each in found]}"
        time.sleep(0.02)


class SlowProject:
    """A project of one slow stage.

    Attributes:
        folder: where it lies.
        environment: what its commands run in.
    """

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        self.environment = environment(**more)
        (folder / "monuseg").symlink_to(REPOSITORY / "monuseg")
        for stage in ("masks", "evaluate"):
            code = folder / "stages" / stage
            code.mkdir(parents=True)
            (code / "__main__.py").write_text(SLOW_STAGE, encoding="utf-8")
            (code / "slow.py").write_text(SLOW_WORK, encoding="utf-8")
        shutil.copy(REPOSITORY / "stages/__init__.py", folder / "stages")
        (folder / "params.yaml").touch()
        (folder / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text(DVC_CONFIG, encoding="utf-8")
        self._started: list[subprocess.Popen[str]] = []
        self.mode("sleep")

    def close(self) -> None:
        """Kill what is left, and wait for it."""
        for process in left(self.environment):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.communicate()

    def mode(self, mode: str) -> None:
        """What the stage does from its next start on."""
        (self.folder / "mode").write_text(mode, encoding="utf-8")
        (self.folder / "began").unlink(missing_ok=True)

    def start(
        self, *command: str, group: bool = True, ignored: Iterable[signal.Signals] = ()
    ) -> "subprocess.Popen[str]":
        """Start a command, in a group of processes of its own, as a terminal does."""
        started = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=group,
            preexec_fn=partial(take_signals, ignored),
        )
        self._started.append(started)
        return started

    def stage(
        self, *arguments: str, module: str = "masks", **options: bool
    ) -> "subprocess.Popen[str]":
        """Start the stage without DVC."""
        return self.start(sys.executable, "-m", f"stages.{module}", *arguments, **options)

    def dvc(self) -> "subprocess.Popen[str]":
        """Start `dvc repro`."""
        return self.start(sys.executable, "-m", "dvc", "repro")

    def at_work(self) -> None:
        """Wait until the stage is in the middle of its work."""
        wait_until((self.folder / "began").exists)

    def written(self) -> list[str]:
        """What lies below data/ and metrics/."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for top in ("data", "metrics")
            for path in (self.folder / top).rglob("*")
            if path.name != ".gitignore"
        )
