"""Copies of slides that lie elsewhere: OpenSlide opens local files only.

What fsspec reads can be named by its URL, as `s3://bucket/slide.svs` or `https://host/slide.svs`.
A slide is copied whole, when its turn comes, and the copy is deleted after: a worker has one at a
time. Imports nothing that loads slowly.
"""

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from monuseg.core.errors import PipelineError, without_secrets
from monuseg.core.locks import LockedError, exclusive

VARIABLE, LIMIT = "MONUSEG_SCRATCH", "MONUSEG_SCRATCH_BYTES"
# A copy's folder, and what is in it.
COPY, LOCK, PART, WHOLE = ".staged-", "lock", "part", "whole"
# A letter and a colon is a drive.
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
WEB = ("http", "https")
LOCAL = ("file", "local")
# Of which a slide's file is only one.
OF_SEVERAL_FILES = (".mrxs", ".vms", ".vmu", ".dcm")
SEVERAL = "one of several files of a slide; copy all of them here, and name the copy"
DICOM = b"DICM", 128  # mark, and its place
SILENCE = 60.0  # seconds until a server that sends nothing is given up
LONGEST_NAME = 100  # bytes, of a copy
# What tells versions of a file, as file systems and servers call it.
_VERSION = re.compile(
    "etag|modif|mtime|updated|created|version|md5|digest|generation", re.IGNORECASE
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Scratch:
    """Where copies lie.

    Attributes:
        folder: made with the first copy, each of which has a folder in it; several processes may
            share it.
        limit: the most bytes that a copy may have, or None.
    """

    folder: Path
    limit: int | None = None

    @classmethod
    def of(cls, output: Path, environment: Mapping[str, str] = os.environ) -> "Scratch":
        """MONUSEG_SCRATCH, else the folder of results; and MONUSEG_SCRATCH_BYTES.

        Raises:
            PipelineError: the number is none.
        """
        given, limit = environment.get(VARIABLE), environment.get(LIMIT)
        if limit and not (limit.isdecimal() and int(limit)):
            raise PipelineError(f"{LIMIT}: {limit[:60]!r} is no number of bytes; set one, or none")
        folder = Path(given).expanduser() if given else output
        return cls(folder, int(limit) if limit else None)


def is_url(text: str) -> bool:
    """Whether a name is the URL of a file rather than a path."""
    return bool(_URL.match(text))


def path_of(url: str) -> Path:
    """A URL as a path, by which its results are called: without login and query.

    Raises:
        PipelineError: no file can have it.
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() in WEB:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise PipelineError(f"{url}: no URL ({error}); correct it") from error
        # A host of ::1 stands in brackets.
        rest = parts.netloc.rpartition("@")[2] + unquote(parts.path)
    if "\0" in rest:
        raise PipelineError(f"{url}: a byte of 0, which no name has; correct it")
    return Path(f"{scheme}:", *[part for part in rest.split("/") if part not in ("", ".", "..")])


def version_of(url: str) -> int | None:
    """A number that changes with a file, without copying it: its copy's time of modification.

    Args:
        url: of the file; for `is_url`.

    Returns:
        None of `file://`, if the server says nothing by which versions can be told, or of a web
        address with a query: which file that is, only the server knows.

    Raises:
        PipelineError: as `staged`, of a file that is not there or cannot be asked for.
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() in LOCAL or (scheme.lower() in WEB and "?" in rest):
        return None
    _, _, info = _asked(url, without_secrets(url))
    told = set(_told(info).values()) - {"", "None"}
    return _version(info) if told else None


@contextmanager
def staged(url: str, scratch: Scratch) -> Iterator[Path]:
    """A local copy of a slide, deleted when the block ends; one that a killed run left, too.

    The copy's time of modification is no time, but stands for the version of what was copied: an
    interrupted run goes on only with the same.

    Args:
        url: of the file; for `is_url`.
        scratch: where to copy to.

    Yields:
        The copy, called as the URL's file is; of `file://` the file itself.

    Raises:
        PipelineError: fsspec is not installed, or does not know the protocol; the file is not
            there, not to be read, of several files, too large, or did not come whole.
        OSError: nothing can be written.
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() in LOCAL:
        yield _local(rest)
        return
    shown = without_secrets(url)
    files, path, info = _asked(url, shown)
    size = int(info["size"])
    with _own_folder(scratch.folder) as folder:
        _require_space(size, scratch, shown)
        part = folder / PART
        _copy(files, path, part, shown, size)
        with part.open("rb") as file:
            if file.read(DICOM[1] + len(DICOM[0])).startswith(*DICOM):
                raise PipelineError(f"{shown}: {SEVERAL}")
        version = _version(info)
        os.utime(part, ns=(version, version))
        whole = folder / WHOLE
        whole.mkdir()
        yield part.rename(whole / _name_of(path_of(url)))


def _local(rest: str) -> Path:
    """The file of a URL from what follows `file://`.

    Programs write a space as `%20`, and some name the host; people write paths as they are.
    """
    path = Path(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)
    path = path.expanduser().absolute()
    decoded = Path(os.fsdecode(unquote_to_bytes(os.fsencode(path))))
    return decoded if decoded == path or _is_there(decoded) else path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _name_of(path: Path) -> str:
    """A name that any file system takes; its ending, which tells formats apart, stays."""
    printed = PurePosixPath("".join(c if c.isprintable() else "_" for c in path.name))
    suffix = _cut(printed.suffix, LONGEST_NAME)
    return _cut(printed.stem, LONGEST_NAME - len(suffix.encode())) + suffix


def _cut(text: str, size: int) -> str:
    """As much of it as has so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


# === What fsspec does ===


def _asked(url: str, shown: str) -> tuple[Any, str, dict[str, Any]]:
    """The file system of a URL, the path in it, and what is said of the file."""
    files, path = _opened(url, shown)
    if _name_of(path_of(url)).lower().endswith(OF_SEVERAL_FILES):
        raise PipelineError(f"{shown}: {SEVERAL}")
    return files, path, _info(files, path, shown)


def _opened(url: str, shown: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    try:
        # Not above: an extra, and slow to load.
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise PipelineError(
            f"{shown}: to read URLs, fsspec is needed; run `pip install 'monuseg[remote]'`, or "
            "copy the file here"
        ) from error
    if "::" in rest:
        raise PipelineError(
            f"{shown}: fsspec takes `::` for a chain of URLs; copy the file here, and name the copy"
        )
    options: dict[str, Any] = {}
    try:
        if scheme in WEB:
            from aiohttp import ClientTimeout

            # Else a copy may take five minutes, however large it is.
            timeout = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
            # The size that a server states is then that of the file.
            options = {
                "headers": {"Accept-Encoding": "identity"},
                "client_kwargs": {"timeout": timeout, "trust_env": True},
            }
        files, path = url_to_fs(f"{scheme}://{rest}", **options)
    except ImportError as error:
        raise PipelineError(
            f"{shown}: a package is missing ({error}); install it, or copy the file here"
        ) from error
    except ValueError as error:
        raise PipelineError(
            f"{shown}: {error}; name what fsspec reads, as s3://, gs://, https://"
        ) from error
    except Exception as error:  # some connect here, and each protocol has its own
        raise _explained(error, shown) from error
    return files, path


def _info(files: Any, path: str, shown: str) -> dict[str, Any]:
    try:
        files.invalidate_cache()  # a listing from before may be of another version
        info: dict[str, Any] = files.info(path)
    except Exception as error:  # each protocol has its own
        raise _explained(error, shown) from error
    if info.get("type") == "directory":
        raise PipelineError(f"{shown}: a folder; name the slides in it")
    if not isinstance(info.get("size"), int):
        raise PipelineError(
            f"{shown}: its server does not state its size, without which a copy may not be whole; "
            "copy the file here, and name the copy"
        )
    return info


def _copy(files: Any, path: str, part: Path, shown: str, size: int) -> None:
    from fsspec.callbacks import TqdmCallback

    bar = {
        "desc": f"copy {PurePosixPath(shown).name}",
        "unit": "B",
        "unit_scale": True,
        "disable": not sys.stderr.isatty(),
    }
    try:
        with TqdmCallback(tqdm_kwargs=bar) as callback:
            files.get_file(path, str(part), callback=callback)
    except Exception as error:  # each protocol has its own
        if isinstance(error, OSError) and error.errno in _FULL:
            raise PipelineError(
                f"{shown}: no space left for a copy in {part.parents[1]}; free some, or name "
                f"another folder in {VARIABLE}"
            ) from error
        raise _explained(error, shown) from error
    came = part.stat().st_size
    if came != size:
        raise PipelineError(f"{shown}: {came} of {size} bytes came; run again")


def _explained(error: Exception, shown: str) -> PipelineError:
    """One line on what fsspec or a library under it raised.

    For HTTP, what the server answered is only in the cause.
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and isinstance(cause, Exception):
        chain.append(cause)
    status = next((s for one in chain if isinstance(s := getattr(one, "status", None), int)), None)
    denied = any(isinstance(one, PermissionError) for one in chain)
    unsigned = any(type(one).__name__ == "NoCredentialsError" for one in chain)
    if denied or unsigned or status in (401, 403):
        return PipelineError(
            f"{shown}: permission denied; set the credentials that its protocol takes, of a public "
            "bucket of S3 FSSPEC_S3_ANON=true"
        )
    missing = isinstance(error, FileNotFoundError) and len(chain) == 1
    if missing or status in (404, 410):
        return PipelineError(f"{shown}: no such file there; correct the URL")
    last = chain[-1]
    said = f"HTTP status {status}" if status else " ".join(str(last).split()) or type(last).__name__
    return PipelineError(f"{shown}: cannot be fetched ({said}); run again, or copy the file here")


def _told(info: Mapping[str, Any]) -> dict[str, str]:
    """What a server says of a file's version."""
    return {key: str(value) for key, value in info.items() if _VERSION.search(key)}


def _version(info: Mapping[str, Any]) -> int:
    """A number that changes with the file, as far as its server says; as nanoseconds, in 1970."""
    digest = hashlib.sha256(repr((info["size"], sorted(_told(info).items()))).encode()).digest()
    return int.from_bytes(digest[:6])


# === The scratch ===


def _require_space(size: int, scratch: Scratch, shown: str) -> None:
    if scratch.limit is not None and size > scratch.limit:
        raise PipelineError(
            f"{shown}: {size} bytes, but {LIMIT} allows {scratch.limit}; raise it, or leave the "
            "slide out"
        )
    free = shutil.disk_usage(scratch.folder).free
    if size > free:
        raise PipelineError(
            f"{shown}: {size} bytes, but {scratch.folder} has space for {free}; free some, or name "
            f"another folder in {VARIABLE}"
        )


@contextmanager
def _own_folder(scratch: Path) -> Iterator[Path]:
    """A folder for one copy, locked as long as it is in use."""
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=COPY, dir=scratch, ignore_cleanup_errors=True) as own,
        # Who looks for leftovers may hold it for a moment, and take the folder away.
        exclusive(Path(own, LOCK), patience=-1),
    ):
        _remove_leftovers(scratch, Path(own))
        yield Path(own)


def _remove_leftovers(scratch: Path, own: Path) -> None:
    """Copies of killed runs: nobody holds their locks."""
    with suppress(LockedError), exclusive(own / LOCK):
        return  # held twice: a file system without locks does not tell who is gone
    for folder in scratch.glob(f"{COPY}*"):
        with suppress(LockedError, OSError), exclusive(folder / LOCK):
            shutil.rmtree(folder)
