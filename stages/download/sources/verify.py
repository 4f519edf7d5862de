"""Is a fetched file the archive that was asked for, and if not, what is it?"""

import re
import zipfile
from pathlib import Path

from monuseg.core.files import sha256_of
from stages.download.params import Archive

FIRST_BYTES = 1 << 16
BYTES_SHOWN = 16
TITLE_SHOWN = 80
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


def what_came(first: bytes) -> str:
    """Describe a file by its first bytes, for an error."""
    if not first:
        return "nothing, 0 bytes"
    if first.startswith(ZIP_MAGIC):
        return "a zip file"
    text = first.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text[:1] == "<" and "<html" in text.lower():
        title = TITLE.search(text)
        words = " ".join(title.group(1).split())[:TITLE_SHOWN] if title else ""
        return f"an HTML page titled {words!r}" if words else "an HTML page without a title"
    return f"a file that begins with {first[:BYTES_SHOWN]!r}"


def mismatch(path: Path, archive: Archive) -> str | None:
    """Why a file is not the archive, or None if it is.

    With a SHA-256 in the params nothing else counts; without one the file must at least be a zip.
    """
    size = path.stat().st_size
    if archive.sha256 is None and not zipfile.is_zipfile(path):
        return f"what came is no whole zip file but {_first(path)} ({size} bytes)"
    if archive.size is not None and size != archive.size:
        return f"what came has {size} bytes instead of {archive.size}: {_first(path)}"
    if archive.sha256 is not None and (came := sha256_of(path)) != archive.sha256:
        return (
            f"what came has sha256 {came} instead of {archive.sha256}: "
            f"{_first(path)} ({size} bytes)"
        )
    return None


def by_hand(archive: Archive, page: str) -> str:
    """What to do where a download does not work; ends an error.

    Args:
        archive: that could not be fetched.
        page: address at which a browser can fetch it.
    """
    pin = "" if archive.sha256 else ", and pin its sha256 in params.yaml"
    return (
        f"try again later, or fetch {page} by hand, put the file in a folder and set "
        f"MONUSEG_ARCHIVES to that folder (it is found by its sha256{pin})"
    )


def _first(path: Path) -> str:
    with path.open("rb") as file:
        return what_came(file.read(FIRST_BYTES))
