"""One run of a stage at a time in a project: its lock, and what a killed run left behind."""

import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from monuseg.core.errors import tell
from monuseg.core.locks import LockedError, exclusive
from monuseg.core.paths import DATA, METRICS, PARAMS, SCRATCH

LOCKS = SCRATCH / "locks"  # see `_folder_of_locks`
OPTIONS = ("debug",)  # arguments that do not tell what a stage works on

UNFINISHED = ".writing-"  # how the names of temporary folders begin
# Between a stage's name and what is random in a folder's; in no name of a model or row.
END_OF_NAME = "="

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
            # Of several processes that train together each has a turn of its own.
            items += {os.environ.get("MONUSEG_PROCESS_INDEX", "")} - {"", "0"}
            return re.sub(r"[^\w@.-]", "_", "@".join([stage, *items]))
    return None


@contextmanager
def turn_of(stage: str | None) -> Iterator[None]:
    """Hold the stage's lock; wait for it, since an orphan of a killed dvc may still hold it.

    What killed runs of the stage left is removed first. None, and a folder outside any project,
    need no lock.
    """
    global _stage
    if stage is None or not PARAMS.is_file():
        yield
        return
    with ExitStack() as stack:
        # In order, lest two wait for each other.
        for folder in sorted({_folder_of_locks(root.resolve()) for root in (DATA, METRICS)}):
            lock = folder / LOCKS / f"{stage}.lock"
            try:
                stack.enter_context(exclusive(lock, patience=SAID_AFTER))
            except LockedError as error:
                tell(f"{stage}: waiting for process {error.holder} to end")
                stack.enter_context(exclusive(lock, patience=-1))
        _stage = stage
        try:
            _remove_leftovers()
            yield
        finally:
            _stage = None


def _folder_of_locks(root: Path) -> Path:
    """Beside what clones may link to, where they take turns; in it if it is a disk of its own."""
    above = root.parent
    return above if os.access(above, os.W_OK) or (above / LOCKS).is_dir() else root


def prefix() -> str:
    """How the names of this process's temporary folders begin: they tell the stage."""
    return f"{UNFINISHED}{_stage}{END_OF_NAME}" if _stage else UNFINISHED


def _remove_leftovers() -> None:
    for root in (DATA, METRICS, SCRATCH):
        # `walk` passes over folders that vanish meanwhile, as other stages' do.
        for folder, names, _ in os.walk(root):
            for name in names:
                if name.startswith(prefix()):
                    # Errors: a worker of the killed run may be at its last write.
                    shutil.rmtree(Path(folder, name), ignore_errors=True)
            names[:] = [name for name in names if not name.startswith(UNFINISHED)]
