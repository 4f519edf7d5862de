"""Whether a file is the archive that was asked for, and what it is if not."""

import re
import zipfile
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from stages.download.params import Archive, RemoteArchive

FIRST_BYTES = 1 << 16
BYTES_SHOWN = 16
TITLE_SHOWN = 80
SAID_SHOWN = 200
HTML = "an HTML page"
TAG = re.compile("<[^<>]*>")
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


def what_came(first: bytes) -> str:
    """Describe a file by its first bytes, for an error."""
    if not first:
        return "nothing, 0 bytes"
    if first.startswith(ZIP_MAGIC):
        return "a zip file"
    text = first.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<") and "<html" in text.lower():
        title = TITLE.search(text)
        words = " ".join(title[1].split())[:TITLE_SHOWN] if title else ""
        return f"{HTML} titled {words!r}" if words else f"{HTML} without a title"
    return f"a file that begins with {first[:BYTES_SHOWN]!r}"


def cleaned(said: str) -> str:
    """What a server says, fit for a line of error: without tags, and cut."""
    words = " ".join(TAG.sub(" ", said).split())
    return words if len(words) <= SAID_SHOWN else f"{words[:SAID_SHOWN]}..."


def mismatch(path: Path, archive: Archive) -> str | None:
    """Why a file is not the archive, or None if it is.

    Without a SHA-256 in the params it must at least be a zip file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        came = f"{what_came(file.read(FIRST_BYTES))} ({size} bytes)"
    if archive.sha256 is None and not zipfile.is_zipfile(path):
        return f"what came is no whole zip file but {came}"
    if archive.size not in (None, size):
        return f"what came has {size} bytes instead of {archive.size}: {came}"
    if archive.sha256 not in (None, sha256 := sha256_of(path)):
        return f"what came has sha256 {sha256} instead of {archive.sha256}: {came}"
    return None


def failure(archive: RemoteArchive, reason: str) -> PipelineError:
    """An archive that cannot be downloaded, and what to do about it."""
    pin = "" if archive.sha256 else ", and pin its sha256 in params.yaml"
    return PipelineError(
        f"{archive.name} ({archive.url}): {reason}; try again later, or fetch it from there by "
        "hand, put the file in a folder and set MONUSEG_ARCHIVES to that folder (it is found by "
        f"its sha256{pin})"
    )
