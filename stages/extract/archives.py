"""Reading zip archives that may be damaged or hostile.

No name in an archive is ever used as a path to write to: the caller names each target.
"""

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from monuseg.core.errors import PipelineError

BLOCK = 1 << 20
ENCRYPTED_FLAG = 0x1
REASON_MAX = 300  # characters of what `zipfile` says
PATH_MAX = 250  # characters; those of the archives in use have under 100
# Of the directory, which is read as a whole: the archives in use have under 20 kB.
DIRECTORY_BYTES_MAX = 1 << 24
# Only these are unpacked in pieces; of the others `zipfile` may hold gigabytes at once.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What `zipfile` and its decompressors raise for damaged or unsupported bytes.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # includes NotImplementedError
)


@dataclass(frozen=True)
class Member:
    """A file in an open archive.

    Attributes:
        archive: the archive's path.
        path: relative, with "/" between components and no "..", in Unicode's composed form.
        source: the open archive.
        info: its entry in the directory, where a name may occur twice.
    """

    archive: Path
    path: PurePosixPath
    source: zipfile.ZipFile
    info: zipfile.ZipInfo

    def __str__(self) -> str:
        """Its name for error messages."""
        # A name may contain line ends, or codes that a terminal obeys.
        shown = (c if c.isprintable() else repr(c)[1:-1] for c in str(self.path))
        return f"{self.archive.name}: {''.join(shown)}"

    def read(self, most: int) -> bytes:
        """Its bytes, all in memory.

        Args:
            most: how many bytes are allowed.

        Raises:
            PipelineError: there are more, or they are damaged.
        """
        if self.info.file_size > most:
            raise _refusal(self.archive, self.path, f"unpacks to more than {most} bytes")
        try:
            with self.source.open(self.info) as file:
                # In blocks: otherwise `zipfile` unpacks all before it cuts at the declared size.
                return b"".join(iter(lambda: file.read(BLOCK), b""))
        except DAMAGE as error:
            raise PipelineError(
                f"{self.archive}: member {str(self.path)!r} is damaged ({_words(error)}); "
                "fetch the archive again"
            ) from error


class _BoundedFile(io.BufferedReader):
    """An archive's file, of which no directory larger than the limit is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Only the directory is read in one piece, whatever size it declares."""
        if size is not None and size > DIRECTORY_BYTES_MAX:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[list[Member]]:
    """The files of a zip archive in its order, without folders, to be read within the block.

    Args:
        path: of the archive.

    Raises:
        PipelineError: it is no whole zip file, it is empty, or a member is encrypted, is a link or
            device, is packed by a method that cannot be bounded, or has a path that leads out of a
            folder.
    """
    if not path.is_file():  # to open a pipe would wait for ever
        raise PipelineError(f"{path}: no regular file; remove it and fetch the archive again")
    with _BoundedFile(io.FileIO(path)) as file:
        try:
            source = zipfile.ZipFile(file)
            members = list(_checked_members(path, source))
        except DAMAGE as error:
            raise PipelineError(
                f"{path}: no whole zip file ({_words(error)}); delete it and fetch it again"
            ) from error
        if not members:
            raise PipelineError(f"{path}: an empty zip file; fetch or pack it again")
        yield members


def require_at_most(max_bytes: int, members: Iterable[Member]) -> None:
    """Check how much the members in use unpack to, before any is unpacked.

    `zipfile` never returns more of a member than the size that it declares; one that holds more
    counts as damaged.

    Raises:
        PipelineError: those of one archive declare more than `max_bytes` in all.
    """
    sizes = Counter[Path]()
    for member in members:
        sizes[member.archive] += member.info.file_size
        if sizes[member.archive] > max_bytes:
            raise PipelineError(
                f"{member.archive}: unpacks to more than {max_bytes} bytes; "
                "raise extract.max_bytes in params.yaml if that is right"
            )


def _checked_members(archive: Path, source: zipfile.ZipFile) -> Iterator[Member]:
    for info in source.infolist():
        path = _checked_path(archive, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(archive, path, "is a link or device")
        if info.flag_bits & ENCRYPTED_FLAG:
            raise _refusal(archive, path, "is encrypted")
        if info.compress_type not in METHODS:
            raise _refusal(
                archive, path, f"is packed by method {info.compress_type}, not by Deflate"
            )
        # Zips made on Windows by older tools have "\" at the end of folders.
        is_folder = kind == stat.S_IFDIR or info.filename.endswith(("/", "\\"))
        if path.parts and not is_folder:
            yield Member(archive, path, source, info)


def _checked_path(archive: Path, name: str) -> PurePosixPath:
    if len(name) > PATH_MAX:
        shown = f"{name[:PATH_MAX]}..."
        raise _refusal(archive, shown, f"has a path of {len(name)} characters")
    # Older Windows tools write "\" between components, against the format's rule.
    path = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))
    has_drive = bool(path.parts) and path.parts[0].endswith(":")
    if path.is_absolute() or ".." in path.parts or has_drive:
        raise _refusal(archive, name, "has a path that leads out of the archive's folder")
    return path


def _refusal(archive: Path, member: object, reason: str) -> PipelineError:
    return PipelineError(
        f"{archive}: member {str(member)!r} {reason}; "
        "pack the archive again without it if you trust the rest"
    )


def _words(error: BaseException) -> str:
    # `zipfile` quotes names as they stand in the archive, of up to 65,535 bytes.
    return " ".join(str(error).split())[:REASON_MAX]


def archive_paths(folder: Path) -> list[Path]:
    """The archives in a folder, sorted by name.

    Raises:
        PipelineError: there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".zip")
    if not paths:
        raise PipelineError(f"{folder}: holds no .zip; run `python -m stages.download`")
    return paths
