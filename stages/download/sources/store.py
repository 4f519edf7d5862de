"""Archives that are already on this machine, known by their SHA-256."""

import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.core.files import naming, replacing, sha256_of
from stages.download.params import Archive


def find(folder: Path, archive: Archive) -> Path | None:
    """The file of a folder, whatever its name, that has the archive's SHA-256; None if none has.

    A file of the archive's own name is looked at first, to hash as little as possible.
    """
    if archive.sha256 is None:
        return None
    files = sorted(path for path in folder.iterdir() if path.is_file())
    files.sort(key=lambda path: path.name != archive.name)
    for path in files:
        if archive.size is not None and path.stat().st_size != archive.size:
            continue
        try:
            if sha256_of(path) == archive.sha256:
                return path
        except PermissionError as error:
            print(f"{path}: cannot be read ({error.strerror}); skipped", file=sys.stderr)
    return None


class Cache:
    """Downloaded archives as `<folder>/<sha256>.zip`, shared by all work trees of a user.

    Args:
        folder: made when the first archive is put.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, sha256: str) -> Path | None:
        """The archive, or None; an entry whose bytes have changed is removed."""
        path = self._path(sha256)
        if not path.is_file():
            return None
        if sha256_of(path) == sha256:
            return path
        print(f"{path}: damaged in the cache; removed", file=sys.stderr)
        path.unlink(missing_ok=True)
        return None

    def put(self, downloaded: Path, sha256: str) -> Path:
        """Move a verified download into the cache, from a folder that `downloading` gave."""
        return downloaded.replace(self._path(sha256))

    @contextmanager
    def downloading(self, sha256: str) -> Iterator[Path]:
        """A folder for the parts of an unfinished download, held by one process at a time.

        It is left as it is when the block ends with an error, so that the next run resumes.

        Raises:
            PipelineError: the cache's folder cannot be written.
        """
        folder = self._folder / f"{sha256}.part"
        try:
            # Its user's alone: others could put what they like under a name that is looked for.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            lock = (self._folder / f"{sha256}.lock").open("w")
        except OSError as error:
            raise PipelineError(
                f"{self._folder}: the cache of archives cannot be written ({error.strerror}); "
                "set MONUSEG_CACHE to a folder that can"
            ) from error
        with lock:
            # Two clones that want the same archive: the second waits, then finds it in the cache.
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder.mkdir(exist_ok=True)
            with naming(folder):
                yield folder
            shutil.rmtree(folder)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.zip"


def copy(found: Path, target: Path) -> None:
    """Copy an archive; a link would let a change to one name reach the other."""
    with replacing(target) as temporary:
        shutil.copyfile(found, temporary)
