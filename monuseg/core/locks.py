"""Locks that one process can hold at a time, and that end with it, however it ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from monuseg.core.errors import tell

# What file systems without locks answer, as some network ones are.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class LockedError(Exception):
    """Another process holds the lock.

    Attributes:
        holder: its process id, as text; "unknown" where it could not be written.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder} holds the lock")
        self.holder = holder


@contextmanager
def exclusive(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, made with its folder where it is missing; the file stays.

    On a file system without locks one line says so, and the work goes on.

    Args:
        path: the file, which holds the process id of the holder.
        patience: seconds to wait for another holder; negative: for ever.

    Raises:
        LockedError: another process holds it still.
        OSError: the file cannot be made.
    """
    from filelock import FileLock, Timeout  # not above: it loads asyncio, and workers take no lock

    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience)
            break
        except (FileNotFoundError, FileExistsError, Timeout) as error:
            # Else the holder before is removing its folder, and the next attempt finds none.
            with suppress(FileNotFoundError, NotADirectoryError):
                above = [one for one in path.parents if not one.is_dir()]
                if any(one.is_file() or one.is_symlink() for one in above):  # to nothing
                    raise
                holder = path.read_text(encoding="utf-8", errors="replace").strip()
                if patience >= 0:
                    raise LockedError(holder or "unknown") from error
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            tell(f"{path}: no locks on this file system; run one dvc at a time")
            break
    try:
        with suppress(OSError):  # a full disk takes no number, and needs none
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()
