"""Reading zip archives that may be damaged or hostile.

No name that stands in an archive is ever used as a path to write to: callers name each target.
"""

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from types import TracebackType

from stages.errors import PipelineError

BLOCK = 1 << 20
ENCRYPTED_FLAG = 0x1
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
        return f"{self.archive.name}: {self.path}"


class SafeArchive:
    """An open zip archive, refused if any of its members could do harm.

    Args:
        path: of the archive.
        max_bytes: how much may be unpacked from it, counted as it is unpacked: sizes that stand in
            the archive are not trusted.

    Attributes:
        members: its files in the archive's order, without folders.

    Raises:
        PipelineError: it is no whole zip file, or a member is encrypted, is a link or device, or
            has a path that leads out of a folder.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._unpacked = 0
        if not path.is_file():
            raise PipelineError(f"{path}: no such file; run `python -m stages.download`")
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise PipelineError(
                f"{path}: no whole zip file ({error}); delete it and fetch it again"
            ) from error
        try:
            self.members = tuple(self._checked_members())
        except BaseException:
            self._zip.close()
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

    def read(self, member: Member) -> bytes:
        """A member's bytes."""
        return b"".join(self._blocks(member))

    def unpack(self, member: Member, target: Path) -> None:
        """Write a member's bytes to `target`, which must not exist yet."""
        with target.open("xb") as file:
            for block in self._blocks(member):
                file.write(block)

    def _checked_members(self) -> Iterator[Member]:
        for index, info in enumerate(self._zip.infolist()):
            path = self._checked_path(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                self._refuse(path, "is a link or device")
            if info.flag_bits & ENCRYPTED_FLAG:
                self._refuse(path, "is encrypted")
            # Zips made on Windows by older tools have "\" at the end of folders.
            is_folder = kind == stat.S_IFDIR or info.filename.endswith(("/", "\\"))
            if path.parts and not is_folder:
                yield Member(self._path, path, index)

    def _checked_path(self, name: str) -> PurePosixPath:
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

    def _blocks(self, member: Member) -> Iterator[bytes]:
        try:
            with self._zip.open(self._zip.infolist()[member.index]) as file:
                while block := file.read(BLOCK):
                    self._count(len(block))
                    yield block
        except DAMAGE as error:
            raise PipelineError(
                f"{self._path}: member {str(member.path)!r} is damaged ({error}); "
                "fetch the archive again"
            ) from error

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._max_bytes:
            raise PipelineError(
                f"{self._path}: unpacks to more than {self._max_bytes} bytes; "
                "raise extract.max_bytes in params.yaml if that is right"
            )


def archive_paths(folder: Path) -> list[Path]:
    """The archives in a folder, sorted by name.

    Raises:
        PipelineError: there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".zip")
    if not paths:
        raise PipelineError(f"{folder}: holds no .zip; run `python -m stages.download`")
    return paths
