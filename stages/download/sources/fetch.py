"""Fetching an archive from Google Drive or a web server; a transfer that breaks is resumed."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, count
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from gdown.download import get_url_from_gdrive_confirmation
from gdown.exceptions import FileURLRetrievalError
from requests import RequestException, Response
from tqdm import tqdm
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from monuseg.core.errors import tell
from monuseg.core.files import sha256_of
from stages.download.params import DriveArchive, RemoteArchive, TransferParams
from stages.download.sources.verify import cleaned, failure, what_came

# Replies that say "later", not "no".
TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
LONGEST_WAIT = 30.0  # seconds between two attempts
# Of an archive whose size is not in the params; a server that never stops would fill the disk.
LARGEST = 8_000_000_000
SLOWEST = 1000  # bytes per second; a server that sends less would hold the run for days
PROGRESS = 1 << 16  # bytes; an attempt that brings as many does not count against `retries`
BLOCK = 1 << 16  # bytes
LARGEST_PAGE = 1 << 20  # bytes; Drive's have under 100 kB
HOPS = 20  # redirects and pages of confirmation that are followed
# Drive has several sets of pages; gdown reads those that its own browser's name gets.
BROWSER = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/39.0.2171.95 Safari/537.36"
)
BLANKS_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"
# What Drive's page says when too many people have fetched a file.
QUOTA_WORDS = re.compile("too many users|quota exceeded", re.IGNORECASE)
# The first that fits counts: some are also kinds of ConnectionError.
NETWORK_ERRORS: dict[type[Exception], tuple[str, bool]] = {
    requests.exceptions.SSLError: ("the server's certificate is not accepted", False),
    requests.exceptions.ProxyError: ("the proxy does not answer", False),
    requests.ConnectionError: ("no connection, is there a network?", True),
    ProtocolError: ("the transfer was cut off", True),
}


class _BrokenOffError(Exception):
    """An attempt failed; another may succeed."""


class _Session(requests.Session):
    """Requests whose redirects are followed by `_Transfer.attempt`, which checks each."""

    def get_redirect_target(self, resp: Response) -> None:
        """None; `requests` would read the whole of a redirect's page, however long."""


def fetch(archive: RemoteArchive, params: TransferParams, target: Path) -> None:
    """Download an archive; a transfer that breaks is resumed, also by a later run.

    What was received stays beside the target in a file `.part`, to its last byte. With a SHA-256 in
    the params it is resumed in any case, as a wrong hash would tell. Without one nobody would
    notice a mixture of two files, so it is resumed only while the server vouches, by ETag or
    Last-Modified, that the file is the same; else the whole is fetched again.

    Args:
        archive: what to download.
        params: the timeout, and how many more attempts in a row may bring nothing; with 0 retries
            the first attempt is the only one.
        target: file to write.

    Raises:
        PipelineError: the server refuses (on Drive: quota, permission, no such file), a page came,
            too many attempts brought nothing, or the file is too large.
        OSError: the file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    failures = 0
    furthest = _size(part)
    with _Session() as session:
        session.headers.update({"User-Agent": BROWSER, "Accept-Encoding": "identity"})
        transfer = _Transfer(archive, params.timeout, part, session)
        for attempt in count(1):
            try:
                transfer.attempt()
                break
            except (RequestException, HTTPError, ValueError, _BrokenOffError) as error:
                reason, may_pass = _explained(error, params.timeout)
                progress = _size(part) - furthest
                failures = 0 if progress >= PROGRESS and params.retries else failures + 1
                furthest = max(furthest, _size(part))
                if not may_pass or failures > params.retries:
                    tried = f" ({attempt} attempts)" if attempt > 1 else ""
                    raise failure(archive, f"{reason}{tried}") from error
            tell(f"{archive.name}: {reason}; trying again")
            time.sleep(min(2.0 ** max(failures - 1, 0), LONGEST_WAIT))
    part.replace(target)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@dataclass
class _Transfer:
    """An archive on its way.

    Attributes:
        archive: what is downloaded.
        timeout: seconds without a byte after which an attempt is given up.
        part: what was received.
        session: of all attempts.
        version: the ETag or Last-Modified of the file that the part is of; None if not known.
        total: its size in bytes; None if not known.
    """

    archive: RemoteArchive
    timeout: float
    part: Path
    session: _Session
    version: str | None = None
    total: int | None = None

    def attempt(self) -> None:
        """Receive what is missing.

        Raises:
            PipelineError: another attempt would not succeed.
            _BrokenOffError, RequestException, HTTPError: another might.
            ValueError: the reply cannot be read.
        """
        address = self.archive.url
        if isinstance(self.archive, DriveArchive):
            address = f"https://drive.google.com/uc?id={self.archive.id}"
        for _ in range(HOPS):
            leads_to = self._ask(address, resumes=True)
            if leads_to is None:
                return
            address = self._allowed(urljoin(address, leads_to))
        raise failure(self.archive, f"more than {HOPS} redirects or pages of confirmation")

    def _allowed(self, address: str) -> str:
        """An address that a server led to; on the way to it nobody may change what comes."""
        scheme = urlsplit(address).scheme
        if scheme not in ("http", "https"):
            raise failure(self.archive, f"the server leads on to {scheme}:, which is not followed")
        is_safe = self.archive.sha256 or not self.archive.url.startswith("https:")
        if scheme == "http" and not is_safe:
            raise failure(
                self.archive,
                "the server leads on from https to http, where others may change what comes; that "
                "is followed only with a `sha256` in params.yaml",
            )
        return address

    def _ask(self, address: str, *, resumes: bool) -> str | None:
        """Send one request; where the server leads on to, or None if the archive is whole now."""
        begun = _size(self.part) if resumes and (self.archive.sha256 or self.version) else 0
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        if begun and self.version:
            headers["If-Range"] = self.version
        with self.session.get(
            address, headers=headers, stream=True, timeout=self.timeout
        ) as response:
            leads_to = requests.Session.get_redirect_target(self.session, response)
            if leads_to is not None:
                return leads_to
            status = response.status_code
            if begun and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # Nothing is missing, or the part is not of this file.
                if sha256_of(self.part) == self.archive.sha256:
                    return None
            elif begun and status == HTTPStatus.PARTIAL_CONTENT:
                total = self._continues(response, begun)
                if total:
                    self._receive(response, _pieces(response, self.timeout), begun, total)
                    return None
            else:
                return self._whole(response)
        return self._ask(address, resumes=False)

    def _continues(self, response: Response, begun: int) -> int | None:
        """The file's size if a reply is the rest of it, or some bytes of the rest; else None."""
        described = re.fullmatch(
            r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.headers.get("Content-Range", "")
        )
        if not described or _is_encoded(response):
            return None
        first, last, total = map(int, described.groups())
        # Not every server minds If-Range.
        version = _version(response)
        is_same = self.version in (None, version) or (not version and self.archive.sha256)
        is_next = first == begun <= last < total and self.total in (None, total)
        return total if is_same and is_next else None

    def _whole(self, response: Response) -> str | None:
        """Receive a reply from its first byte; where it leads on to if it is a page of Drive's."""
        pieces = _pieces(response, self.timeout)
        first = next(pieces, b"")
        if response.status_code == HTTPStatus.OK and not first.lstrip(
            BLANKS_BEFORE_TEXT
        ).startswith(b"<"):
            length = response.headers.get("Content-Length", "")
            is_told = re.fullmatch(r"\d{1,18}", length) and not _is_encoded(response)
            self.total = int(length) if is_told else None
            self.version = None if _is_encoded(response) else _version(response)
            size = self.archive.size if self.total is None else self.total
            self._receive(response, chain([first], pieces), 0, size)
            return None
        page = first
        while len(page) < LARGEST_PAGE and (piece := next(pieces, b"")):
            page += piece
        return self._read_page(response, page[:LARGEST_PAGE])

    def _read_page(self, response: Response, page: bytes) -> str:
        """Where a page of Drive's leads on to."""
        came = what_came(page)
        words = f"HTTP {response.status_code} {cleaned(response.reason or '')}".rstrip()
        if response.status_code == HTTPStatus.OK:
            words = "no file came"
            if isinstance(self.archive, DriveArchive):
                try:
                    return str(get_url_from_gdrive_confirmation(page.decode(errors="replace")))
                except FileURLRetrievalError as error:
                    words += f": {cleaned(str(error))}"
                # It takes the fields of a form for granted.
                except (LookupError, ValueError, AssertionError):
                    words += ": gdown cannot read the page"
        if isinstance(self.archive, DriveArchive) and QUOTA_WORDS.search(f"{words} {came}"):
            words = f"Drive's download quota of this file is used up for now: {words}"
        elif response.status_code in TRANSIENT_STATUS:
            raise _BrokenOffError(f"{words} ({came})")
        raise failure(self.archive, f"{words} ({came})")

    def _receive(
        self, response: Response, pieces: Iterator[bytes], begun: int, total: int | None
    ) -> None:
        """Write what comes behind the first `begun` bytes of the part; `total` are expected."""
        limit = self.archive.size or LARGEST
        received = begun
        with (
            self.part.open("ab" if begun else "wb") as file,
            tqdm(
                desc=self.archive.name,
                total=total,
                initial=begun,
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            for piece in pieces:
                received += len(piece)
                if max(received, total or 0) > limit:
                    self.part.unlink()
                    raise failure(
                        self.archive,
                        f"more than {limit} bytes; set its `size` in params.yaml if that is right",
                    )
                file.write(piece)
                bar.update(len(piece))
        if total is not None and received != total:
            cut = received < total
            raise _BrokenOffError("the transfer was cut off" if cut else "more came than was said")


def _is_encoded(response: Response) -> bool:
    """Whether the server packed its reply unasked: it is unpacked, but no byte range fits it."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"


def _version(response: Response) -> str | None:
    """What tells one version of a file from the next; a weak ETag allows for other bytes."""
    etag = response.headers.get("ETag")
    return etag if etag and etag.startswith('"') else response.headers.get("Last-Modified")


def _pieces(response: Response, timeout: float) -> Iterator[bytes]:
    """A reply's bytes as they come: what came before the line broke is not lost."""
    began, came = time.monotonic(), 0
    while piece := response.raw.read1(BLOCK, decode_content=True):
        yield piece
        came += len(piece)
        passed = time.monotonic() - began
        if passed >= timeout:
            if came < SLOWEST * passed:
                raise _BrokenOffError(f"under {SLOWEST} bytes per second, in {timeout:g} s")
            began, came = time.monotonic(), 0


def _explained(error: Exception, timeout: float) -> tuple[str, bool]:
    """What went wrong, in a few words, and whether another attempt may succeed.

    The libraries' own text wraps three levels of objects.
    """
    if isinstance(error, _BrokenOffError):
        return str(error), True
    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return f"timed out, no byte for {timeout:g} s", True
    for kind, said in NETWORK_ERRORS.items():
        if isinstance(error, kind):
            return said
    return f"the reply cannot be read: {cleaned(str(error))}", False
