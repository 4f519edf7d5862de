"""Fetching an archive from Google Drive, through gdown."""

import sys
from http import HTTPStatus
from pathlib import Path

import gdown
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError

from monuseg.core.errors import PipelineError
from stages.download.params import DriveArchive, DriveParams
from stages.download.sources.retry import TRANSIENT_STATUS, back_off, reason_of
from stages.download.sources.verify import FIRST_BYTES, by_hand, what_came

DOWNLOAD_URL = "https://drive.google.com/uc?id={}"
PAGE_URL = "https://drive.google.com/file/d/{}/view"
# What Drive's page says when a file was fetched too often by everybody.
QUOTA_WORDS = ("too many users", "quota exceeded")
# How gdown frames Drive's own words in a FileURLRetrievalError.
GDOWN_BEFORE = "Failed to retrieve file url:"
GDOWN_AFTER = "You may still be able to access"
# How it says that the kept part of an earlier run does not fit what Drive now sends.
GDOWN_BAD_PART = "byte range"


def fetch(archive: DriveArchive, params: DriveParams, target: Path) -> None:
    """Download an archive; a transfer that is cut off is resumed, also by a later run.

    gdown itself repeats what fails on the network. What it does not: it takes an existing target
    for the finished file, unverified, so none may exist; it gives up on HTTP 429 and 5xx; and it
    keeps a part that it cannot resume, so every later run would fail too.

    Args:
        archive: where it is.
        params: timeout in seconds without a byte, and how many attempts may follow the first.
        target: file to write. gdown keeps the bytes of an unfinished transfer beside it.

    Raises:
        PipelineError: Drive refuses (quota, permission, no such file), or all attempts failed.
    """
    target.unlink(missing_ok=True)
    for attempt in range(params.retries + 1):
        try:
            _download(archive, params, target)
            return
        except FileURLRetrievalError as error:
            status, came = _look(archive, params.timeout)
            if status not in TRANSIENT_STATUS or attempt == params.retries:
                raise _failure(archive, f"{_words(error)} ({came})") from error
            print(f"{archive.name}: {came}; trying again", file=sys.stderr)
            back_off(attempt)
        except DownloadError as error:
            parts = list(target.parent.glob("*.part"))
            if GDOWN_BAD_PART not in str(error) or not parts or attempt == params.retries:
                raise _failure(archive, reason_of(error, params.timeout)) from error
            print(f"{archive.name}: cannot be resumed; starting afresh", file=sys.stderr)
            for part in parts:
                part.unlink()
        except requests.RequestException as error:
            raise _failure(archive, reason_of(error, params.timeout)) from error
        except (KeyError, AssertionError) as error:
            # gdown takes headers and form fields for granted.
            _, came = _look(archive, params.timeout)
            raise _failure(archive, f"a reply that gdown cannot read ({came})") from error


def _download(archive: DriveArchive, params: DriveParams, target: Path) -> None:
    gdown.download(
        id=archive.id,
        output=str(target),
        quiet=not sys.stderr.isatty(),
        use_cookies=False,
        resume=True,
        timeout=params.timeout,
        retries=params.retries,
    )


def _look(archive: DriveArchive, timeout: float) -> tuple[int | None, str]:
    """The status and a description of what Drive sends for the id, which gdown does not tell."""
    url = DOWNLOAD_URL.format(archive.id)
    try:
        with requests.get(url, stream=True, timeout=timeout) as response:
            first = next(response.iter_content(FIRST_BYTES), b"")
            status = response.status_code
    except requests.RequestException as error:
        return None, reason_of(error, timeout)
    said = "" if status == HTTPStatus.OK else f"HTTP {status} {response.reason}, "
    return status, said + what_came(first)


def _words(error: FileURLRetrievalError) -> str:
    text = " ".join(str(error).split()).removeprefix(GDOWN_BEFORE)
    words = text.partition(GDOWN_AFTER)[0].strip()
    if any(quota in words.lower() for quota in QUOTA_WORDS):
        return f"Drive's download quota of this file is used up for now: {words}"
    return f"Drive gives no file: {words}"


def _failure(archive: DriveArchive, reason: str) -> PipelineError:
    return PipelineError(
        f"{archive.name} (Google Drive id {archive.id}): {reason}; "
        f"{by_hand(archive, PAGE_URL.format(archive.id))}"
    )
