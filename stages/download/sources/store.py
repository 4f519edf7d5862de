"""Archives that are already on this machine, known by their SHA-256."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from monuseg.core.errors import PipelineError, tell
from monuseg.core.files import naming, sha256_of
from monuseg.core.locks import exclusive
from monuseg.core.settings import Settings
from stages.download.params import Archive


def find(archive: Archive, settings: Settings) -> Path | None:
    """The file that has the archive's SHA-256: one fetched by hand, whatever its name, or cached.

    A file of the archive's own name is looked at first, to hash as little as possible.
    """
    if archive.sha256 is None:
        return None
    paths = settings.archives.iterdir() if settings.archives else ()
    for path in sorted(paths, key=lambda path: (path.name != archive.name, path)):
        try:
            if path.is_file() and sha256_of(path) == archive.sha256:
                return path
        except PermissionError as error:
            tell(f"{path}: cannot be read ({error.strerror}); skipped")
    cached = entry(settings.cache, archive.sha256)
    return cached if is_whole(cached) else None


def entry(cache: Path, sha256: str) -> Path:
    """Where the cache, which all work trees of a user share, keeps an archive."""
    return cache / f"{sha256}.zip"


def is_whole(entry: Path) -> bool:
    """Whether the cache has this entry; one whose bytes have changed is removed."""
    if not entry.is_file():
        return False
    if sha256_of(entry) == entry.stem:
        return True
    tell(f"{entry}: damaged in the cache; removed")
    entry.unlink(missing_ok=True)
    return False


@contextmanager
def downloading(entry: Path) -> Iterator[Path]:
    """A folder for the parts of an unfinished download, used by one process at a time.

    It is left as it is when the block ends with an error, so that the next run resumes.

    Args:
        entry: of the cache, where the download is to go.

    Raises:
        PipelineError: the cache's folder cannot be written.
    """
    folder = entry.with_suffix(".part")
    with ExitStack() as held:
        try:
            # Private to the user: others could put what they like under a name that is looked for.
            entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held.enter_context(exclusive(entry.with_suffix(".lock"), patience=-1))
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise PipelineError(
                f"{entry.parent}: the cache of archives cannot be written ({error.strerror}); "
                "set MONUSEG_CACHE to a folder that can"
            ) from error
        with naming(folder):
            yield folder
        shutil.rmtree(folder)
