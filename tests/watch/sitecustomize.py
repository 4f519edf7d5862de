"""What a stage really reads: recorded in each process that is started with this folder on its path.

Python imports a module of this name when it starts. Files are watched by the kernel (inotify), so
that those which C libraries and worker processes open are seen too; keys of params.yaml are seen as
attributes of the validated models. Nothing is imported here that a stage would not import.
"""

import atexit
import ctypes
import importlib.machinery
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOGS = os.environ.get("MONUSEG_TEST_WATCH", "")
STAGE = "MONUSEG_TEST_STAGE"  # inherited by the stage's worker processes
BLOCKS = "monuseg.core.params"

IN_ACCESS, IN_Q_OVERFLOW, IN_ISDIR = 0x1, 0x4000, 0x40000000
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


def watch_files(folder: Path, log: Path) -> None:
    """Write to `log`, when the process ends, each file below `folder` that was read.

    Folders that were listed are left out: every stage looks through all of them for what killed
    runs left, and the import system through those of code.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    watched = {}
    for name, folders, _ in os.walk(folder):
        folders[:] = [sub for sub in folders if sub not in {".git", ".dvc", ".venv"}]
        watched[libc.inotify_add_watch(queue, os.fsencode(name), IN_ACCESS)] = Path(name)
    atexit.register(write_events, queue, watched, folder, log)


def events(queue: int) -> Iterator[tuple[int, int, str]]:
    """The watch, mask and file name of each event that waits."""
    while True:
        try:
            data = os.read(queue, 1 << 20)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size + length
            yield watch, mask, os.fsdecode(data[at - length : at].rstrip(b"\0"))


def write_events(queue: int, watched: dict[int, Path], folder: Path, log: Path) -> None:
    """Write the paths that were read, relative to `folder`, one a line."""
    read = set()
    for watch, mask, name in events(queue):
        if mask & IN_Q_OVERFLOW:
            read.add("TOO MANY EVENTS")
        elif not mask & IN_ISDIR:
            read.add(str((watched[watch] / name).relative_to(folder)))
    log.write_text("".join(f"{path}\n" for path in sorted(read)), encoding="utf-8")


class WatchParams(importlib.machinery.PathFinder):
    """Makes the base class of all params' models note which of its fields are asked for."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Of the one module that matters; others go on to the next finder."""
        if fullname != BLOCKS:
            return None
        spec = super().find_spec(fullname, path, target)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            note_fields(module.Model, Path(LOGS) / f"{os.environ[STAGE]}.params")

        spec.loader.exec_module = exec_module
        return spec


def note_fields(model: Any, log: Path) -> None:
    """Append `module.Class field` to `log` when a field is read for the first time."""
    seen = set()

    def note(self: Any, name: str) -> None:
        kind = type(self)
        line = f"{kind.__module__}.{kind.__qualname__} {name}\n"
        if line not in seen:
            seen.add(line)
            # At once: worker processes end without a word.
            with log.open("a", encoding="utf-8") as file:
                file.write(line)

    def get(self: Any, name: str) -> Any:
        if name in type(self).__pydantic_fields__:
            note(self, name)
        return object.__getattribute__(self, name)

    def dump(self: Any, *arguments: Any, **options: Any) -> Any:
        for name in type(self).__pydantic_fields__:
            note(self, name)
        return original(self, *arguments, **options)

    original = model.model_dump
    model.__getattribute__ = get
    model.model_dump = dump


def start() -> None:
    """Watch this process if it is a stage's, or a worker's of one."""
    words = sys.orig_argv[1:]
    if words[:1] == ["-m"] and words[1].startswith("stages."):
        name = "@".join([words[1].removeprefix("stages."), *words[2:3]])
        os.environ[STAGE] = name
        watch_files(Path.cwd(), Path(LOGS) / f"{name}.files")
    if STAGE in os.environ:
        sys.meta_path.insert(0, WatchParams)


if LOGS and sys.platform == "linux":
    start()
