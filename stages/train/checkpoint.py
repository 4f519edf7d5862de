"""The state of a training on disk, so that one that was interrupted goes on where it was.

It lies in a scratch folder that is no output of any stage: DVC deletes a stage's outputs when the
stage starts, and an output that it keeps (`persist`) would be trusted after parameters changed. The
folder's name holds a key of all that decides the bytes (see `stages.train.identity`).
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
        try:
            with replacing(arrays) as temporary:
                np.savez(temporary, allow_pickle=False, **_named(state.arrays))
            content = {"key": self._key, "arrays": arrays.name, "sha256": sha256_of(arrays)}
            # Written last: until then the index names the arrays that it named before.
            write_text(self.folder / INDEX, _sealed({**content, "values": state.values}))
        except OSError as error:
            with suppress(OSError):
                arrays.unlink(missing_ok=True)
            print(f"no checkpoint saved: {explained(error)}", flush=True)
        else:
            self._remove_all_but(arrays.name)
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def load(self) -> State | None:
        """The saved state, or None; one that is damaged or of another key is told and removed."""
        index = self.folder / INDEX
        state = None
        if index.is_file():
            try:
                content = _unsealed(index.read_bytes())
                if content["key"] != self._key:
                    raise _UnusableError("it is of another training")
                arrays = self.folder / content["arrays"]
                if not arrays.is_file() or sha256_of(arrays) != content["sha256"]:
                    raise _UnusableError(f"{arrays.name} is damaged")
                with np.load(arrays, allow_pickle=False) as stored:
                    state = State(content["values"], _listed(dict(stored)))
                self._remove_all_but(arrays.name)
                return state
            except _UnusableError as error:
                print(f"{index}: not used: {error}; training starts from the beginning", flush=True)
        # Also what was being written when a process was killed.
        self._remove_all_but(None)
        return None

    def _remove_all_but(self, arrays: str | None) -> None:
        kept = {LOCK} if arrays is None else {LOCK, INDEX, arrays}
        for path in self.folder.iterdir():
            if path.name in kept:
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
    with _own(folder / LOCK, name):
        for left in scratch.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        others = [path for path in scratch.glob(f"{name}-*") if path != folder]
        for other in sorted(others, key=_age)[: -(MOST_KEYS - 1)]:
            with suppress(LockedError, OSError), exclusive(other / LOCK):
                _remove(other)
        yield Checkpoint(folder, key, seconds)
        _remove(folder)


@contextmanager
def _own(lock: Path, name: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(lock))
        except LockedError as error:
            raise PipelineError(
                f"{lock}: another process is training {name} on the same inputs (process "
                f"{error.holder}); wait for it, or end it"
            ) from error
        except OSError as error:
            raise PipelineError(
                f"{lock}: {error.strerror}; make this folder one that can be written to, or name "
                "another one in MONUSEG_SCRATCH"
            ) from error
        yield


class _UnusableError(Exception):
    """Why a stored state is not used."""


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


def _named(arrays: Mapping[str, Arrays]) -> dict[str, Any]:
    """Names for `np.savez`: the list's, and the place in it."""
    return {
        f"{name}/{place}": array
        for name, listed in arrays.items()
        for place, array in enumerate(listed)
    } | {f"{name}#": np.array(len(listed)) for name, listed in arrays.items()}


def _listed(named: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Arrays]:
    """The lists that `_named` took apart, empty ones too."""
    counts = {name[:-1]: int(count) for name, count in named.items() if name.endswith("#")}
    return {
        name: [named[f"{name}/{place}"] for place in range(count)] for name, count in counts.items()
    }


def _sealed(content: Mapping[str, Any]) -> str:
    """The text of an index: a checksum on the first line, JSON of one line on the second."""
    # NaN is allowed, since a training may have diverged; the order of keys is that of columns.
    text = json.dumps(content)
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n"


def _unsealed(stored: bytes) -> dict[str, Any]:
    checksum, _, text = stored.removesuffix(b"\n").partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise _UnusableError("it is damaged")
    content: dict[str, Any] = json.loads(text)
    return content
