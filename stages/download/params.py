"""Block `dataset`: where the archives come from."""

import os
import re
import sys
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator

from monuseg.core.params import LARGEST_SEED, Block, Model


def _written_as(pattern: str, meaning: str) -> AfterValidator:
    """Text that matches a pattern as a whole; `meaning` describes it in errors."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"must be {meaning}")
        return text

    return AfterValidator(check)


def _fits_file_system(name: str) -> str:
    """Refuse what this machine's locale cannot write, or file systems cannot hold."""
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"cannot be a file's name in this locale ({sys.getfilesystemencoding()}); rename it or "
            "set PYTHONUTF8=1"
        ) from error
    if length > NAME_BYTES:
        raise ValueError(f"must have at most {NAME_BYTES} bytes, not {length}")
    return name


# File systems allow 255, of which temporary names take some.
NAME_BYTES = 220
Sha256 = Annotated[str, _written_as("[0-9a-f]{64}", "64 hexadecimal digits, a to f in lower case")]
# A file name and nothing that leads out of data/archives.
ArchiveName = Annotated[
    str,
    Field(max_length=200),
    _written_as(
        r"[^/\\\x00-\x1f\x7f-\x9f.][^/\\\x00-\x1f\x7f-\x9f]*\.zip",
        "the name of a .zip file, without a folder and without a dot in front",
    ),
    AfterValidator(_fits_file_system),
]
DriveId = Annotated[
    str, _written_as(r"[\w-]{10,200}", "a Google Drive id: letters, digits, - and _, 10 or more")
]
WebAddress = Annotated[
    str, _written_as(r"https?://[^\s/]\S*", "an address that begins with http:// or https://")
]
Source = Literal["synthetic", "gdrive", "file", "url"]


class SyntheticParams(Model):
    """Block `dataset.synthetic`; see `stages.download.synthetic`.

    Attributes:
        seed: of all slides; each has a stream of its own.
        train_images: slides in the training archive.
        test_images: slides in the test archive.
        height: of each slide, in pixels of 0.25 um.
        width: likewise.
        density: nuclei per area, relative to the organ's own; above 2 slides are full.
        organs: names in `stages.download.synthetic.organs.ORGANS`, taken in turn in each archive.
    """

    seed: int = Field(ge=0, le=LARGEST_SEED)
    train_images: int = Field(ge=1, le=10_000)
    test_images: int = Field(ge=1, le=10_000)
    height: int = Field(ge=32, le=4096)
    width: int = Field(ge=32, le=4096)
    density: float = Field(gt=0, le=3)
    organs: list[str] = Field(min_length=1)


class Archive(Model):
    """A zip file that is fetched.

    Attributes:
        name: of the file in data/archives.
        sha256: of its bytes; with None, the hash of what arrives is printed, to be pinned.
        size: in bytes; of a download, checked if given.
    """

    name: ArchiveName
    sha256: Sha256 | None
    size: int | None = Field(default=None, gt=0)


class DriveArchive(Archive):
    """An archive on Google Drive."""

    id: DriveId

    @property
    def url(self) -> str:
        """The page at which a browser can fetch it."""
        return f"https://drive.google.com/file/d/{self.id}/view"


class FileArchive(Archive):
    """An archive in the folder MONUSEG_ARCHIVES, where it is found by its hash alone."""

    sha256: Sha256


class UrlArchive(Archive):
    """An archive on a web server."""

    url: WebAddress


RemoteArchive = DriveArchive | UrlArchive
AnyArchive = TypeVar("AnyArchive", bound=Archive)


def _distinct(archives: list[AnyArchive]) -> list[AnyArchive]:
    # Some file systems do not distinguish letter case.
    if len({archive.name.casefold() for archive in archives}) < len(archives):
        raise ValueError("two archives have one name; rename one")
    pinned = [archive.sha256 for archive in archives if archive.sha256]
    if len(set(pinned)) < len(pinned):
        raise ValueError("two archives have one sha256; remove one")
    return archives


Archives = Annotated[list[AnyArchive], Field(min_length=1), AfterValidator(_distinct)]


class TransferParams(Model):
    """How archives are downloaded.

    Attributes:
        timeout: seconds without a byte, or with under 1000 bytes each, after which an attempt is
            given up; at most a day.
        retries: attempts after one that brought under 64 KiB; with 0 there is one attempt.
    """

    timeout: float = Field(gt=0, le=86_400)
    retries: int = Field(ge=0, le=1000)


class DriveParams(TransferParams):
    """Block `dataset.gdrive`."""

    archives: Archives[DriveArchive]


class FileParams(Model):
    """Block `dataset.file`."""

    archives: Archives[FileArchive]


class UrlParams(TransferParams):
    """Block `dataset.url`."""

    archives: Archives[UrlArchive]


class DatasetParams(Block):
    """Block `dataset`, reduced to the source in use: the other blocks are None.

    Attributes:
        source: which of the blocks below is in use.
    """

    key: ClassVar[str] = "dataset"

    source: Source
    synthetic: SyntheticParams | None = None
    gdrive: DriveParams | None = None
    file: FileParams | None = None
    url: UrlParams | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if getattr(self, self.source) is None:
            raise ValueError(f"source `{self.source}` needs the block `{self.source}:`; add it")
        return self

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The block without the sources that are not in use; unknown keys stay, to be refused."""
        block = content[cls.key]
        if not isinstance(block, dict):
            return block
        source = block.get("source")
        idle = [name for name in get_args(Source) if name != source]
        return {key: value for key, value in block.items() if key not in idle}
