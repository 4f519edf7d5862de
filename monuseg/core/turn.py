"""One run of a stage at a time in a project: its lock, and what a killed run left behind."""

import errno
import fcntl
import os
import re
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from monuseg.core.paths import DATA, METRICS, PARAMS, SCRATCH

LOCKS = SCRATCH / "locks"
OPTIONS = ("debug",)  # arguments that do not tell what a stage works on

UNFINISHED = ".writing-"  # how the names of temporary folders begin
# Between a stage's name and what is random in a folder's; in no name of a model or row.
END_OF_NAME = "="

# What network file systems without locks answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

LOOK = 0.05  # seconds between two attempts
SAID_AFTER = 1.0  # seconds of waiting, which need no explanation

_stage: str | None = None


def stage_of(arguments: Namespace) -> str | None:
    """The stage that this process runs, named as DVC does (`train@unet`); None if it runs none.

    Args:
        arguments: as the command parsed them.
    """
    specification = getattr(sys.modules["__main__"], "__spec__", None)
    match (specification.name if specification else "").split("."):
        case ["stages", stage, "__main__"]:
            items = [str(value) for name, value in vars(arguments).items() if name not in OPTIONS]
            return re.sub(r"[^\w@.-]", "_", "@".join([stage, *items]))
    return None


@contextmanager
def turn_of(stage: str | None) -> Iterator[None]:
    """Hold the stage's lock; wait for it, since an orphan of a killed dvc may still hold it.

    What killed runs of the stage left is removed first. None, and a folder that is no project,
    need no lock.
    """
    global _stage
    if stage is None or not PARAMS.is_file():
        yield
        return
    LOCKS.mkdir(parents=True, exist_ok=True)
    # The file stays: were it removed, one run could lock it and the next another of its name.
    with (LOCKS / f"{stage}.lock").open("a+b", buffering=0) as lock:
        try:
            _wait_for(lock, stage)
        except OSError as error:
            error.filename = str(lock.name)  # which writing to it does not tell
            raise
        _stage = stage
        try:
            _remove_leftovers()
            yield
        finally:
            _stage = None


def prefix() -> str:
    """How the names of this process's temporary folders begin: they tell the stage."""
    return f"{UNFINISHED}{_stage}{END_OF_NAME}" if _stage else UNFINISHED


def _wait_for(lock: FileIO, stage: str) -> None:
    began, said = time.monotonic(), False
    while not locked(lock.fileno(), lock.name):
        if not said and time.monotonic() - began > SAID_AFTER:
            lock.seek(0)
            holder = lock.read().decode(errors="replace")
            print(f"{stage}: waiting for the end of process {holder}", file=sys.stderr)
            said = True
        time.sleep(LOOK)
    lock.seek(0)
    lock.truncate()
    # Without a buffer: one that a full disk does not take would fail again when the file closes.
    lock.write(f"{os.getpid()}, which runs it too".encode())


def locked(descriptor: int, name: object) -> bool:
    """Take an exclusive lock, which ends with the process, however that ends.

    On a file system without locks one line says so, and the work goes on.

    Args:
        descriptor: of an open file.
        name: of that file.

    Returns:
        False if another process holds it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(f"{name}: no locks on this file system; run one dvc at a time", file=sys.stderr)
    return True


def _remove_leftovers() -> None:
    for root in (DATA, METRICS, SCRATCH):
        # `walk` passes over folders that vanish meanwhile, as other stages' do.
        for folder, names, _ in os.walk(root):
            for name in names:
                if name.startswith(prefix()):
                    # Errors: a worker of the killed run may be at its last write.
                    shutil.rmtree(Path(folder, name), ignore_errors=True)
            names[:] = [name for name in names if not name.startswith(UNFINISHED)]
