"""Fetching an archive from Google Drive or a web server, through gdown."""

import re
import sys
import time
from http import HTTPStatus
from itertools import count
from pathlib import Path

import gdown
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError
from requests import RequestException
from urllib3.exceptions import HTTPError

from stages.download.params import DriveArchive, RemoteArchive, TransferParams
from stages.download.sources.verify import FIRST_BYTES, HTML, cleaned, failure, what_came

# Replies that say "later", not "no".
TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
LONGEST_WAIT = 30.0  # seconds between two attempts
# The page that asks for a confirmation, which gdown gives: Drive would send the file after it.
CONFIRMATION = "Virus scan warning"
# What Drive's page says when too many people have fetched a file.
QUOTA_WORDS = re.compile("too many users|quota exceeded", re.IGNORECASE)
# What gdown says when the server does not send the rest of a file that was received in part.
NOT_RESUMED = "byte range"
# What a download may end with. gdown expects headers, form fields, dates and addresses without
# checking them, which gives the last three.
FAILURES = (DownloadError, RequestException, HTTPError, LookupError, ValueError, AssertionError)
# The first that fits counts: some are also kinds of ConnectionError.
NETWORK_ERRORS = {
    requests.exceptions.SSLError: "the server's certificate is not accepted",
    requests.exceptions.ProxyError: "the proxy does not answer",
    requests.exceptions.ChunkedEncodingError: "the transfer was cut off",
    requests.ConnectionError: "no connection, is there a network?",
}
# Of an archive whose size is not in the params; a server that never stops would fill the disk.
LARGEST = 8_000_000_000


def fetch(archive: RemoteArchive, params: TransferParams, target: Path) -> None:
    """Download an archive; a transfer that is cut off is resumed, also by a later run.

    gdown itself retries when the network fails. It does not retry after HTTP 429 and 5xx, it keeps
    a part that cannot be resumed, and it takes an existing target for the finished file; these are
    dealt with here. It does not tell a server that is busy from one that cannot send the rest of a
    part: the part is dropped when the rest was refused twice in a row, or at last, and the server
    does send the whole. Without a hash it is dropped at once: the file may have changed, and nobody
    would notice a mixture.

    Args:
        archive: what to download.
        params: timeout and number of attempts.
        target: file to write. gdown keeps the bytes of an unfinished transfer beside it.

    Raises:
        PipelineError: the server refuses (on Drive: quota, permission, no such file), all attempts
            failed, or the file is too large.
    """
    address = archive.url
    if isinstance(archive, DriveArchive):
        address = f"https://drive.google.com/uc?id={archive.id}"
    limit = archive.size or LARGEST

    def stop_if_too_large(received: int, total: int | None) -> None:
        if max(received, total or 0) > limit:
            _drop_parts(target)
            reason = f"more than {limit} bytes; set its `size` in params.yaml if that is right"
            raise failure(archive, reason)

    retries = params.retries
    refusals = 0
    for attempt in count():
        target.unlink(missing_ok=True)
        try:
            gdown.download(
                url=address,
                output=str(target),
                quiet=not sys.stderr.isatty(),
                use_cookies=False,
                resume=True,
                timeout=params.timeout,
                retries=params.retries,
                progress=stop_if_too_large,
            )
            return
        except FAILURES as error:
            reason, is_transient = _explained(error, address, params.timeout)
            refusals = refusals + 1 if NOT_RESUMED in str(error) else 0
            is_decided = refusals > 1 or attempt >= retries
            if refusals and (
                archive.sha256 is None
                or (is_decided and _look(address, params.timeout)[1] == HTTPStatus.OK)
            ):
                _drop_parts(target)
                refusals = 0
                retries = params.retries + 1  # one more, for the whole
            if not is_transient or attempt >= retries:
                tried = f" ({attempt + 1} attempts)" if attempt else ""
                raise failure(archive, f"{reason}{tried}") from error
            print(f"{archive.name}: {reason}; trying again", file=sys.stderr)
            time.sleep(min(2.0**attempt, LONGEST_WAIT))


def _drop_parts(target: Path) -> None:
    for part in target.parent.glob("*.part"):
        part.unlink()


def _explained(error: Exception, address: str, timeout: float) -> tuple[str, bool]:
    """What went wrong, in a few words, and whether another attempt may succeed."""
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return cleaned(f"HTTP {status} {error.response.reason}"), status in TRANSIENT_STATUS
    if NOT_RESUMED in str(error):
        return "the server did not send the rest of what was received", True
    words = "gdown cannot read the reply"
    if isinstance(error, FileURLRetrievalError):
        # Drive's own words; gdown raises them again with advice around them.
        words = cleaned(str(error.__context__ or error))
    elif isinstance(error, RequestException | DownloadError):
        return _network_reason(error, timeout), False
    came, status = _look(address, timeout)
    if QUOTA_WORDS.search(f"{words} {came}"):
        return f"Drive's download quota of this file is used up for now: {words} ({came})", False
    # What refused may be over by now.
    sends = status == HTTPStatus.OK and (not came.startswith(HTML) or CONFIRMATION in came)
    return f"no file came: {words} ({came})", sends or status in TRANSIENT_STATUS


def _look(address: str, timeout: float) -> tuple[str, int | None]:
    """What the server sends, which gdown does not say, and the HTTP status, if any."""
    try:
        with requests.get(address, stream=True, timeout=timeout) as response:
            came = what_came(next(response.iter_content(FIRST_BYTES), b""))
    except FAILURES as error:
        return _network_reason(error, timeout), None
    if response.status_code != HTTPStatus.OK:
        came = f"{cleaned(f'HTTP {response.status_code} {response.reason}')}, {came}"
    return came, response.status_code


def _network_reason(error: BaseException, timeout: float) -> str:
    """A network error in a few words; the libraries' own text wraps three levels of objects."""
    if isinstance(error, DownloadError):
        error = error.__cause__ or error
    # A timeout while the body is read arrives as a ConnectionError around urllib3's own.
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"timed out, no byte for {timeout:g} s"
    for kind, words in NETWORK_ERRORS.items():
        if isinstance(error, kind):
            return words
    # Further lines are gdown's advice, for its own users.
    return cleaned(str(error).partition("\n")[0])
