"""Reading zip archives that may be damaged or hostile.

No name that stands in an archive is ever used as a path to write to: callers name each target.
"""

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from types import TracebackType

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
    """A file in an archive.

    Attributes:
        archive: the archive's path.
        path: relative, with "/" between components and no "..", in Unicode's composed form.
        index: its place in the archive's directory, since names may stand there twice.
    """

    archive: Path
    path: PurePosixPath
    index: int

    def __str__(self) -> str:
        """How an error names it."""
        # A name may hold line ends, or codes that a terminal obeys.
        shown = (c if c.isprintable() else repr(c)[1:-1] for c in str(self.path))
        return f"{self.archive.name}: {''.join(shown)}"


class _BoundedFile(io.BufferedReader):
    """An archive's file, of which no directory larger than the limit is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file's; the directory is the only thing that `zipfile` reads by a declared size."""
        if size is not None and size > DIRECTORY_BYTES_MAX:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size)


class SafeArchive:
    """An open zip archive, refused if any of its members could do harm.

    Args:
        path: of the archive.
        max_bytes: how much may be unpacked from it, counted as it is unpacked: sizes that stand in
            the archive are not trusted.

    Attributes:
        members: its files in the archive's order, without folders.

    Raises:
        PipelineError: it is no whole zip file, or a member is encrypted, is a link or device, is
            packed by a method that cannot be bounded, or has a path that leads out of a folder.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._unpacked = 0
        if not path.is_file():
            raise PipelineError(f"{path}: no such file; run `python -m stages.download`")
        try:
            self._file = _BoundedFile(io.FileIO(path))
        except OSError as error:
            raise PipelineError(
                f"{path}: cannot be opened ({error.strerror}); check its permissions"
            ) from error
        try:
            self._zip = zipfile.ZipFile(self._file)
            self.members = tuple(self._checked_members())
        except DAMAGE as error:
            self._file.close()
            raise PipelineError(
                f"{path}: no whole zip file ({_words(error)}); delete it and fetch it again"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "SafeArchive":
        """Keep the archive open for a block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self._zip.close()
        self._file.close()

    def check_declared(self, members: Sequence[Member]) -> None:
        """Refuse before the disk fills what already says that it unpacks to too much.

        Raises:
            PipelineError: the members' declared sizes add up to more than may be unpacked.
        """
        if sum(self._info(member).file_size for member in members) > self._max_bytes:
            raise self._too_large()

    def read(self, member: Member, *, most: int) -> bytes:
        """A member's bytes, of which `most` are allowed, since they are held in memory."""
        return b"".join(self._blocks(member, most))

    def unpack(self, member: Member, target: Path, *, most: int) -> None:
        """Write a member's bytes, at most `most`, to `target`, which must not exist yet."""
        with target.open("xb") as file:
            for block in self._blocks(member, most):
                file.write(block)

    def _checked_members(self) -> Iterator[Member]:
        for index, info in enumerate(self._zip.infolist()):
            path = self._checked_path(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                self._refuse(path, "is a link or device")
            if info.flag_bits & ENCRYPTED_FLAG:
                self._refuse(path, "is encrypted")
            if info.compress_type not in METHODS:
                self._refuse(path, f"is packed by method {info.compress_type}, not by Deflate")
            # Zips made on Windows by older tools have "\" at the end of folders.
            is_folder = kind == stat.S_IFDIR or info.filename.endswith(("/", "\\"))
            if path.parts and not is_folder:
                yield Member(self._path, path, index)

    def _checked_path(self, name: str) -> PurePosixPath:
        if len(name) > PATH_MAX:
            self._refuse(f"{name[:PATH_MAX]}...", f"has a path of {len(name)} characters")
        # Older Windows tools write "\" between components, against the format's rule.
        path = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))
        has_drive = bool(path.parts) and path.parts[0].endswith(":")
        if path.is_absolute() or ".." in path.parts or has_drive:
            self._refuse(name, "has a path that leads out of the archive's folder")
        return path

    def _refuse(self, member: object, reason: str) -> None:
        raise PipelineError(
            f"{self._path}: member {str(member)!r} {reason}; "
            "pack the archive again without it if you trust the rest"
        )

    def _info(self, member: Member) -> zipfile.ZipInfo:
        return self._zip.infolist()[member.index]

    def _blocks(self, member: Member, most: int) -> Iterator[bytes]:
        left = most
        try:
            with self._zip.open(self._info(member)) as file:
                while block := file.read(BLOCK):
                    left -= len(block)
                    if left < 0:
                        self._refuse(member.path, f"unpacks to more than {most} bytes")
                    self._count(len(block))
                    yield block
        except DAMAGE as error:
            raise PipelineError(
                f"{self._path}: member {str(member.path)!r} is damaged ({_words(error)}); "
                "fetch the archive again"
            ) from error

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> PipelineError:
        return PipelineError(
            f"{self._path}: unpacks to more than {self._max_bytes} bytes; "
            "raise extract.max_bytes in params.yaml if that is right"
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
