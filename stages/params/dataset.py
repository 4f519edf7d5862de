"""Block `dataset`: where the archives come from."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from stages.params.block import Block, Model

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# A file name and nothing that leads out of data/archives.
ArchiveName = Annotated[str, StringConstraints(pattern=r"^[^/\\\x00.][^/\\\x00]*\.zip$")]


class SyntheticParams(Model):
    """Block `dataset.synthetic`; see `stages.dataset.synthetic`."""

    seed: int = Field(ge=0)
    train_images: int = Field(ge=1)
    test_images: int = Field(ge=1)
    height: int = Field(ge=32, le=4096)
    width: int = Field(ge=32, le=4096)
    density: float = Field(gt=0, le=3)
    organs: list[str] = Field(min_length=1)


class DriveArchive(Model):
    """An archive on Google Drive; `sha256` None prints the hash that arrives."""

    name: ArchiveName
    id: Annotated[str, StringConstraints(pattern=r"^[\w-]{10,}$")]
    sha256: Sha256 | None
    size: int | None = Field(default=None, gt=0)


class FileArchive(Model):
    """An archive that lies in the folder MONUSEG_ARCHIVES."""

    name: ArchiveName
    sha256: Sha256


class UrlArchive(Model):
    """An archive on a web server."""

    name: ArchiveName
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    sha256: Sha256 | None
    size: int | None = Field(default=None, gt=0)


class DriveParams(Model):
    """Block `dataset.gdrive`."""

    timeout: float = Field(gt=0)
    retries: int = Field(ge=0)
    archives: list[DriveArchive] = Field(min_length=1)


class FileParams(Model):
    """Block `dataset.file`."""

    archives: list[FileArchive] = Field(min_length=1)


class UrlParams(Model):
    """Block `dataset.url`."""

    timeout: float = Field(gt=0)
    retries: int = Field(ge=0)
    archives: list[UrlArchive] = Field(min_length=1)


class DatasetParams(Block):
    """Block `dataset`, reduced to the source in use: the other blocks are None.

    Attributes:
        source: which of the blocks below is in use.
    """

    key: ClassVar[str] = "dataset"

    source: Literal["synthetic", "gdrive", "file", "url"]
    synthetic: SyntheticParams | None = None
    gdrive: DriveParams | None = None
    file: FileParams | None = None
    url: UrlParams | None = None

    @classmethod
    def dvc_keys(cls) -> list[str]:
        """Only the active source: pinning a Drive id does not re-draw synthetic slides."""
        return ["dataset.source", "dataset.${dataset.source}"]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The block without the sources that are not in use; unknown keys stay, to be refused."""
        block = content[cls.key]
        if not isinstance(block, dict):
            return block
        idle = {"synthetic", "gdrive", "file", "url"} - {block.get("source")}
        return {key: value for key, value in block.items() if key not in idle}
