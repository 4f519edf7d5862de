"""Writing files so that what stands under its final name is always whole."""

import errno
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from monuseg.core.errors import OF_WRITING, PipelineError
from monuseg.core.supervision import stop_if_orphaned, uninterrupted
from monuseg.core.turn import UNFINISHED, prefix

OLD = ".old"  # what is replaced; no longer than any name, and no output's


def is_file(path: Path) -> bool:
    """Whether a file stands there: none does where the name is longer than any file's."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


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

    Raises:
        PipelineError: `path` is a link to a folder.
    """
    with replacing_all(path) as [temporary]:
        with naming(path):
            temporary.mkdir()
        yield temporary


@contextmanager
def replacing_all(*paths: Path) -> Iterator[list[Path]]:
    """Temporary paths of files and folders, which take their places together.

    For what belongs together: if the block ends with an error, all that `paths` held stays; else
    nothing of it does. Even a killed process leaves nothing new beside anything old. The block
    makes each file or folder itself.

    Raises:
        PipelineError: one of `paths` is a link to a folder.
        IsADirectoryError: a folder stands where a file was made; it is not removed.
    """
    temporaries: dict[Path, Path] = {}  # by place
    with ExitStack() as stack:
        for path in paths:
            place = path.absolute()
            _refuse_link(place)
            with naming(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                outer = stack.enter_context(_temporary(place.parent))
            temporaries[place] = Path(outer) / place.name
        try:
            yield list(temporaries.values())
            stop_if_orphaned()
            with uninterrupted():
                for place, temporary in temporaries.items():
                    if place.is_dir() and temporary.is_file():
                        raise IsADirectoryError(errno.EISDIR, "a folder", str(temporary))
                # All are aside before the first one takes its place.
                for place, temporary in temporaries.items():
                    if place.exists():
                        place.rename(temporary.with_name(OLD))
                for place, temporary in temporaries.items():
                    temporary.rename(place)
        except OSError as error:
            names = [Path(str(name)) for name in (error.filename, error.filename2)]
            # Else it is an error of writing to an open file, which names nothing.
            of = [p for p, t in temporaries.items() if any(n.is_relative_to(t) for n in names)]
            with naming((of or [*temporaries])[0]):
                raise


def _refuse_link(path: Path) -> None:
    """Neither a link to a folder nor what it leads to is a stage's to remove."""
    if path.is_symlink() and path.is_dir():
        raise PipelineError(
            f"{path}: a link stands where a stage replaces the whole folder; remove the link, or "
            "make one of a folder above it"
        )


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
