"""How a command ends before its work is done: on a signal, or with the dvc that started it.

DVC does not pass SIGTERM on to the stage that it runs, and a killed dvc cannot. So a stage that DVC
started watches the dvc process itself, and ends with it.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

DVC_STAGE = "DVC_STAGE"  # set by DVC for the commands that it starts
DVC_NAMES = ("python", "pypy", "dvc", ".dvc")  # how the name of a process that runs dvc may begin
REAPERS = ("systemd", "launchd")  # what may adopt an orphan besides process 1
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
    if threading.current_thread() is not threading.main_thread():
        yield  # only there Python runs handlers
        return
    global _parents, _supervisor
    _parents = Parents.of_this_process() if os.environ.get(DVC_STAGE) else None
    _supervisor = supervisor = _Supervisor(_parents)
    supervisor.start()
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
        _parents = _supervisor = None


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


class Parents:
    """The processes between dvc and this one, and dvc.

    DVC runs a stage as `$SHELL -c "python -m stages.X"`; many shells replace themselves by the
    command then, others stay in between.

    Args:
        pids: from this process's parent to dvc; none if dvc has ended.
    """

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    @classmethod
    def of_this_process(cls) -> "Parents":
        """As they are now; none if dvc has ended already."""
        pids = [os.getppid()]
        shells = {*SHELLS, Path(os.environ.get("SHELL") or SHELLS[0]).name}
        try:
            while (process := psutil.Process(pids[-1])).name() in shells:
                pids.append(process.ppid())
            name = process.name().lower()
        except psutil.Error:
            return cls([])
        # Process 1 adopts what has lost its parent; in a container it may be dvc itself.
        adopted = pids[-1] <= 1 or name in REAPERS
        return cls([] if adopted and not name.startswith(DVC_NAMES) else pids)

    def alive(self) -> bool:
        """Whether dvc is still there: a process whose parent ends gets another parent."""
        if not self._pids or os.getppid() != self._pids[0]:
            return False
        try:
            return all(
                psutil.Process(pid).ppid() == parent
                for pid, parent in zip(self._pids, self._pids[1:], strict=False)
            )
        except psutil.Error:
            return False


_parents: Parents | None = None
_supervisor: "_Supervisor | None" = None


def stop_if_orphaned() -> None:
    """To be called before a result takes its place: beside the next run nothing is written.

    Raises:
        Interrupted: dvc started this stage, and has ended.
    """
    if _parents is not None and not _parents.alive():
        raise Interrupted(_Supervisor.ORPHANED, signal.SIGTERM)


class _Supervisor:
    """Handlers of signals, and a thread that outlasts a main thread busy in C++."""

    ORPHANED = "dvc, which started this stage, has ended"

    def __init__(self, parents: Parents | None) -> None:
        self.interruption: Interrupted | None = None
        self.put_off = False
        self._parents = parents
        self._reason: str | None = None
        self._began: float | None = None
        self._deadline = float("inf")
        self._status = 0
        self._before: dict[signal.Signals, Any] = {}
        # The interpreter writes a signal's number there at once, whatever the main thread does.
        self._numbers, self._wakeup = os.pipe()

    def start(self) -> None:
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
            reason = self._reason or f"interrupted by {signal.Signals(number).name}"
            self.interruption = Interrupted(reason, number)
            if not self.put_off:
                raise self.interruption

    def _watch(self) -> None:
        while True:
            if select.select([self._numbers], [], [], LOOK)[0]:
                numbers = os.read(self._numbers, 64)
                if not numbers:
                    os.close(self._numbers)
                    return
                for number in numbers:
                    self._signalled(number)
            if self._parents is not None and self._began is None and not self._parents.alive():
                self._orphaned()
            if time.monotonic() > self._deadline:
                os._exit(self._status)

    def _signalled(self, number: int) -> None:
        if number not in self._before:
            return
        now = time.monotonic()
        if self._began is None:
            self._began = now
            self._deadline = now + PATIENCE
            self._status = 128 + number
        elif now - self._began > SAME_SIGNAL:
            os._exit(128 + number)

    def _orphaned(self) -> None:
        self._reason = self.ORPHANED
        self._began = time.monotonic()
        self._deadline = self._began + ORPHANS_PATIENCE
        self._status = 128 + signal.SIGTERM
        main = threading.main_thread().ident
        if main is not None and signal.SIGTERM in self._before:
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            print(f"error: {self.ORPHANED}", file=sys.stderr)
