"""Writing files so that what stands under its final name is always whole."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monuseg.core.errors import OF_WRITING
from monuseg.core.supervision import stop_if_orphaned, uninterrupted
from monuseg.core.turn import UNFINISHED, prefix


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    The temporary name ends as `path` does, because some writers (Keras, OpenCV) go by the ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own: private to this process, and on the same file system as `path`.
    with naming(path), _temporary(path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        stop_if_orphaned()
        temporary.replace(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its place when the block ends without an error.

    What `path` held before is removed: a stage's folder holds what this run wrote, nothing else.
    The temporary folder's path is absolute, so that workers elsewhere can write to it.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), _temporary(path.parent) as outer:
        temporary = Path(outer) / path.name
        temporary.mkdir()
        yield temporary
        stop_if_orphaned()
        with uninterrupted():
            # Aside first, and removed with the temporary folder: nothing is there for an instant.
            if path.exists():
                path.rename(Path(outer) / f"{path.name}.old")
            temporary.rename(path)


def _temporary(folder: Path) -> "tempfile.TemporaryDirectory[str]":
    # What cannot be removed, as a worker elsewhere still writes to it, the next run removes.
    return tempfile.TemporaryDirectory(prefix=prefix(), dir=folder, ignore_cleanup_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors in the block name what is written, by its final name.

    Those of writing to an open file, as of a full disk, name nothing; others a temporary name.
    """
    try:
        yield
    except OSError as error:
        if error.errno in OF_WRITING and error.filename2 is not None:
            # Of copying, which names what is read first.
            error.filename, error.filename2 = error.filename2, None
        if error.filename is None and error.errno in OF_WRITING:
            error.filename = str(path)
        elif isinstance(error.filename, str):
            parts = Path(error.filename).parts
            marks = [place for place, part in enumerate(parts) if part.startswith(UNFINISHED)]
            if marks:
                # After the temporary folder comes what will be `path`, then what is within it.
                error.filename = str(path.joinpath(*parts[marks[-1] + 2 :]))
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
