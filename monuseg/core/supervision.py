"""How a command ends before its work is done: on a signal, or with the dvc that started it.

DVC does not pass SIGTERM on to the stage that it runs, and a killed dvc cannot. So a stage that DVC
started watches the dvc process itself, and ends with it.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

DVC_STAGE = "DVC_STAGE"  # set by DVC for the commands that it starts
DVC_NAMES = ("python", "pypy", "dvc", ".dvc")  # how the name of a process that runs dvc may begin
ORPHANED = "dvc, which started this stage, has ended"
SHELLS = ("sh", "bash", "dash", "zsh", "fish", "ksh")

# Seconds. How often dvc is looked for; how long an orderly end may take after a signal (code in C++
# is not interrupted), and without dvc; and within which a second signal is the same one: of
# a terminal, a shell and `timeout` each may send it.
LOOK = 0.25
PATIENCE = 10.0
ORPHANS_PATIENCE = 0.5
SAME_SIGNAL = 0.5


class Interrupted(KeyboardInterrupt):
    """A signal, or the end of dvc, ended the work.

    A kind of KeyboardInterrupt, which libraries let through and clean up after.

    Attributes:
        status: of the exit, 128 and the signal's number.
    """

    def __init__(self, reason: str, number: int) -> None:
        super().__init__(reason)
        self.status = 128 + number


@contextmanager
def supervised() -> Iterator[None]:
    """SIGINT, SIGTERM, SIGHUP and the end of dvc raise `Interrupted` in the block, once.

    So what is unfinished is removed on the way out. A second signal, or an end that takes too long,
    ends the process at once. A signal that is ignored, as by `nohup`, stays ignored.
    """
    global _dvc, _supervisor
    _dvc = Dvc() if os.environ.get(DVC_STAGE) else None
    _supervisor = supervisor = _Supervisor()
    try:
        yield
    except BaseException as error:
        interruption = supervisor.interruption
        # Some libraries turn what a handler raises into an error of their own.
        if interruption is not None and error is not interruption:
            raise interruption from error
        raise
    finally:
        # After an interruption the watch goes on, lest the interpreter's end takes too long.
        if supervisor.interruption is None:
            supervisor.stop()
        _dvc = _supervisor = None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put a signal's `Interrupted` off to the end of the block, which is to be short."""
    supervisor = _supervisor
    if supervisor is None or supervisor.interruption is not None:
        yield
        return
    supervisor.put_off = True
    try:
        yield
    finally:
        supervisor.put_off = False
        if supervisor.interruption is not None:
            raise supervisor.interruption


class Dvc:
    """The dvc that started this stage, if it has not ended.

    DVC runs a stage as `$SHELL -c "python -m stages.X"`; many shells replace themselves by the
    command then, others stay in between.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._process: psutil.Process | None = None
        shells = {*SHELLS, Path(os.environ.get("SHELL") or SHELLS[0]).name}
        with suppress(psutil.Error):
            found = next(one for one in psutil.Process().parents() if one.name() not in shells)
            # Else it has ended, and this process was adopted.
            if found.name().lower().startswith(DVC_NAMES):
                self._process = found

    def alive(self) -> bool:
        """Whether it is still there: a process whose parent ends gets another parent."""
        with suppress(psutil.Error):
            if self._process is not None and os.getppid() == self._parent:
                return bool(self._process.status() != psutil.STATUS_ZOMBIE)
        return False


_dvc: Dvc | None = None
_supervisor: "_Supervisor | None" = None


def stop_if_orphaned() -> None:
    """To be called before a result takes its place: beside the next run nothing is written.

    Raises:
        Interrupted: dvc started this stage, and has ended.
    """
    if _dvc is not None and not _dvc.alive():
        raise Interrupted(ORPHANED, signal.SIGTERM)


def _forget_in_child() -> None:
    """Leave a process that a library forks its own signals: their numbers came to this one, too."""
    if _supervisor is not None:
        signal.set_wakeup_fd(-1)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_in_child)


class _Supervisor:
    """Handlers of signals, and a thread that outlasts a main thread busy in C++."""

    def __init__(self) -> None:
        self.interruption: Interrupted | None = None
        self.put_off = False
        self._began = self._deadline = float("inf")
        self._status = 0
        self._before: dict[signal.Signals, Any] = {}
        # The interpreter writes a signal's number there at once, whatever the main thread does.
        self._numbers, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        threading.Thread(target=self._watch, name="supervision", daemon=True).start()

    def stop(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._wakeup)  # which ends the thread

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interruption is None:
            orphaned = _dvc is not None and not _dvc.alive()
            said = ORPHANED if orphaned else f"interrupted by {signal.Signals(number).name}"
            self.interruption = Interrupted(said, number)
            if not self.put_off:
                raise self.interruption

    def _watch(self) -> None:
        while True:
            if select.select([self._numbers], [], [], LOOK)[0]:
                numbers = os.read(self._numbers, 64)
                if not numbers:
                    os.close(self._numbers)
                    return
                for number in self._before.keys() & set(numbers):
                    self._end(number, PATIENCE)
            if not self._status and _dvc is not None and not _dvc.alive():
                self._end(signal.SIGTERM, ORPHANS_PATIENCE)
                os.kill(os.getpid(), signal.SIGTERM)
            if time.monotonic() > self._deadline:
                os._exit(self._status)

    def _end(self, number: int, patience: float) -> None:
        """Set the deadline of an orderly end; a second signal is one at once."""
        now = time.monotonic()
        if not self._status:
            self._began, self._deadline, self._status = now, now + patience, 128 + number
        elif now - self._began > SAME_SIGNAL:
            os._exit(128 + number)
