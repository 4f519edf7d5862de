"""The state of a training on disk, so that an interrupted training resumes where it was.

It lies in a scratch folder that is no output of any stage: DVC deletes a stage's outputs when the
stage starts, and an output that it keeps (`persist`) would be trusted after parameters changed. The
folder's name contains a key of all that decides the bytes (see `stages.train.identity`).
"""

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError, explained
from monuseg.core.files import replacing, sha256_of, write_text
from monuseg.core.locks import LockedError, exclusive

Arrays = Sequence[npt.NDArray[np.generic]]

INDEX = "checkpoint.json"
LOCK = "lock"
REMOVED = ".removed-"
# Of the key, in the folder's name: a path stays readable, and no two keys of a model share 64 bits.
KEY_LENGTH = 16
# Folders of one model, of which the newest is in use: what an experiment or two left behind can
# still be resumed, and scratch is bounded.
MOST_KEYS = 4
# Of the time that a training takes, what saving may cost unless the user says otherwise.
SHARE = 0.05


@dataclass(frozen=True)
class State:
    """What a checkpoint holds.

    Attributes:
        values: what JSON can hold, NaN included.
        arrays: lists of arrays by name, of any shape and of types that need no pickle.
    """

    values: Mapping[str, Any]
    arrays: Mapping[str, Arrays]


class Checkpoint:
    """The newest saved state of one training; `opened` gives one whose folder is locked.

    Args:
        folder: of this training only.
        key: of all that decides the bytes; a state of another key is not used.
        seconds: at least so many between two states; 0 saves each; None saves as often as costs
            at most `SHARE` of the time.
    """

    def __init__(self, folder: Path, key: str, seconds: float | None = None) -> None:
        self.folder = folder
        self._key = key
        self._seconds = seconds
        self._saved: float | None = None
        self._cost = 0.0

    def due(self) -> bool:
        """Whether a state is to be saved now."""
        if self._saved is None:
            return True
        pause = self._cost / SHARE if self._seconds is None else self._seconds
        return time.monotonic() - self._saved >= pause

    def save(self, state: State) -> None:
        """Replace the saved state, all or nothing.

        A training does not fail for it: where the state cannot be written, one line says so and
        the one before it stays.
        """
        start = time.monotonic()
        arrays = self.folder / f"{uuid.uuid4().hex}.npz"
        numbered = {
            f"{name}/{place}": array
            for name, listed in state.arrays.items()
            for place, array in enumerate(listed)
        }
        lengths = {name: len(listed) for name, listed in state.arrays.items()}
        try:
            with replacing(arrays) as temporary:
                np.savez(temporary, allow_pickle=False, **numbered)
            content = {"arrays": arrays.name, "sha256": sha256_of(arrays), "lengths": lengths}
            # NaN is allowed, since a training may diverge; the order of keys is that of columns.
            text = json.dumps({**content, "values": state.values})
            # Written last: until then the index names the arrays that it named before.
            write_text(self.folder / INDEX, f"{self._checksum(text)}\n{text}\n")
        except OSError as error:
            with suppress(OSError):
                arrays.unlink(missing_ok=True)
            print(f"no checkpoint saved: {explained(error)}", flush=True)
        else:
            with suppress(OSError):
                self._remove_all_but(INDEX, arrays.name)
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def load(self) -> State | None:
        """The saved state, or None; a state that is damaged or of another key is removed.

        One line says so.

        Raises:
            OSError: it cannot be read; it stays as it is.
        """
        index = self.folder / INDEX
        state = None
        kept: list[str] = []
        try:
            checksum, text, _ = index.read_text(encoding="utf-8").split("\n")
            if checksum != self._checksum(text):
                raise ValueError
            content = json.loads(text)
            if sha256_of(self.folder / content["arrays"]) != content["sha256"]:
                raise ValueError
            with np.load(self.folder / content["arrays"], allow_pickle=False) as stored:
                arrays = {
                    name: [stored[f"{name}/{place}"] for place in range(length)]
                    for name, length in content["lengths"].items()
                }
            state = State(content["values"], arrays)
            kept = [INDEX, content["arrays"]]
        except (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
            if index.exists():
                said = "damaged, or of another training; training starts from the beginning"
                print(f"{index}: not used: {said}", flush=True)
        # Also what was being written when a process was killed.
        self._remove_all_but(*kept)
        return state

    def _checksum(self, text: str) -> str:
        return hashlib.sha256(f"{self._key}\n{text}".encode()).hexdigest()

    def _remove_all_but(self, *kept: str) -> None:
        for path in self.folder.iterdir():
            if path.name in (LOCK, *kept):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def opened(
    scratch: Path, name: str, key: str, seconds: float | None = None
) -> Iterator[Checkpoint]:
    """The checkpoint of a training, locked; removed when the block ends without an error.

    Of the model's other checkpoints all but the newest are removed, if no process uses them.

    Args:
        scratch: folder of all checkpoints.
        name: of the model, an identifier.
        key: hexadecimal, of all that decides the bytes.
        seconds: see `Checkpoint`.

    Raises:
        PipelineError: another process has it open.
        OSError: the folder cannot be written.
    """
    folder = scratch / f"{name}-{key[:KEY_LENGTH]}"
    # Never removed: without it a process could lock a folder that another one removes just then.
    guard = scratch / LOCK
    with ExitStack() as held:
        try:
            with exclusive(guard, patience=-1):
                held.enter_context(exclusive(folder / LOCK))
        except LockedError as error:
            raise PipelineError(
                f"{folder / LOCK}: another process is training {name} on the same inputs (process "
                f"{error.holder}); wait for it, or end it"
            ) from error
        except OSError as error:
            raise PipelineError(
                f"{folder / LOCK}: {error.strerror}; make this folder one that can be written to, "
                "or name another one in MONUSEG_SCRATCH"
            ) from error
        for left in scratch.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        others = [path for path in scratch.glob(f"{name}-*") if path != folder]
        with exclusive(guard, patience=-1):
            for other in sorted(others, key=_age)[: -(MOST_KEYS - 1)]:
                with suppress(LockedError, OSError), exclusive(other / LOCK):
                    _remove(other)
        yield Checkpoint(folder, key, seconds)
        # Somebody may have removed it by hand.
        with suppress(FileNotFoundError), exclusive(guard, patience=-1):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder whose lock is held: in one step, for those who wait for the lock."""
    removed = folder.with_name(f"{REMOVED}{uuid.uuid4().hex}")
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _age(folder: Path) -> float:
    """When its state was saved; a folder without one is older than all others."""
    try:
        return (folder / INDEX).stat().st_mtime
    except OSError:
        return 0.0
