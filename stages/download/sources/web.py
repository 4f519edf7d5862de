"""Fetching an archive from a web server."""

import re
import sys
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import requests
from tqdm import tqdm

from monuseg.core.errors import PipelineError
from stages.download.params import UrlArchive, UrlParams
from stages.download.sources.retry import TRANSIENT_STATUS, back_off, reason_of
from stages.download.sources.verify import FIRST_BYTES, by_hand, what_came

BLOCK = 1 << 19
# Of an archive whose size the params do not give; or a server that never ends fills the disk.
LARGEST = 8_000_000_000


class _InterruptedError(Exception):
    """The attempt failed in a way that another may not."""


def fetch(archive: UrlArchive, params: UrlParams, target: Path) -> None:
    """Download an archive; a transfer that is cut off is resumed, also by a later run.

    Args:
        archive: where it is.
        params: timeout in seconds without a byte, and how many attempts may follow the first.
        target: file to write. The bytes of an unfinished transfer stay beside it.

    Raises:
        PipelineError: the server refuses, or all attempts failed.
    """
    part = target.with_name(f"{target.name}.part")
    with requests.Session() as session:
        # Offsets count the bytes on disk, so they must be those on the wire.
        session.headers["Accept-Encoding"] = "identity"
        transfer = _Transfer(session, archive, params.timeout, part)
        for attempt in range(params.retries + 1):
            try:
                transfer.run()
            except _InterruptedError as error:
                if attempt == params.retries:
                    raise _failure(archive, f"{error}, {attempt + 1} attempts") from error
                print(f"{archive.name}: {error}; trying again", file=sys.stderr)
                back_off(attempt)
            else:
                part.replace(target)
                return


class _Transfer:
    """Attempts to complete one file."""

    def __init__(
        self, session: requests.Session, archive: UrlArchive, timeout: float, part: Path
    ) -> None:
        self._session = session
        self._archive = archive
        self._timeout = timeout
        self._part = part
        # ETag or date of the reply whose bytes are in `part`, if this process received them.
        self._validator = ""

    def run(self) -> None:
        """One attempt; returns when the file is complete."""
        try:
            with closing(self._request()) as response:
                self._receive(response)
        except requests.exceptions.SSLError as error:
            raise _failure(self._archive, reason_of(error, self._timeout)) from error
        except (
            requests.Timeout,
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise _InterruptedError(reason_of(error, self._timeout)) from error
        except requests.RequestException as error:
            raise _failure(self._archive, reason_of(error, self._timeout)) from error

    def _request(self) -> requests.Response:
        offset = self._offset()
        headers = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator:
                # A file that changed on the server must not be joined to old bytes.
                headers["If-Range"] = self._validator
        return self._session.get(
            self._archive.url, headers=headers, stream=True, timeout=self._timeout
        )

    def _receive(self, response: requests.Response) -> None:
        offset = self._offset()
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            self._part.unlink()
            raise _InterruptedError("the server has fewer bytes than were received before")
        if response.status_code in TRANSIENT_STATUS:
            raise _InterruptedError(f"HTTP {response.status_code} {response.reason}")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            first = next(response.iter_content(FIRST_BYTES), b"")
            status = f"HTTP {response.status_code} {response.reason}"
            raise _failure(self._archive, f"{status}, {what_came(first)}")
        if response.status_code == HTTPStatus.OK:
            offset = 0  # the server sends the whole file, asked for a part of it or not
        elif not re.match(rf"bytes {offset}-", response.headers.get("Content-Range", "")):
            self._part.unlink(missing_ok=True)
            raise _InterruptedError("the server sent another part than was asked for")
        etag = response.headers.get("ETag", "")
        # Weak tags do not promise equal bytes.
        is_strong = bool(etag) and not etag.startswith("W/")
        self._validator = etag if is_strong else response.headers.get("Last-Modified", "")
        self._write(response, offset)

    def _write(self, response: requests.Response, offset: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdecimal() else None
        limit = self._archive.size or LARGEST
        received = offset
        with (
            self._part.open("ab" if offset else "wb") as file,
            tqdm(
                total=total,
                initial=offset,
                unit="B",
                unit_scale=True,
                desc=self._archive.name,
                disable=not sys.stderr.isatty(),
            ) as progress,
        ):
            for block in response.iter_content(BLOCK):
                received += len(block)
                if max(received, total or 0) > limit:
                    self._part.unlink()
                    raise _failure(
                        self._archive,
                        f"more than {limit} bytes; set its `size` in params.yaml if that is right",
                    )
                file.write(block)
                progress.update(len(block))
        if total is not None and self._offset() != total:
            raise _InterruptedError(f"the transfer ended at {self._offset()} of {total} bytes")

    def _offset(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0


def _failure(archive: UrlArchive, reason: str) -> PipelineError:
    return PipelineError(
        f"{archive.name} ({archive.url}): {reason}; {by_hand(archive, archive.url)}"
    )
