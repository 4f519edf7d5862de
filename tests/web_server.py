"""A web server on this machine that answers as the test says, also in Google Drive's name."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

DRIVE_ID = "1ZgqFJomqQGNnsx7w7QBzQQMVA16lbVCA"
QUOTA_PAGE = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>"
    b'<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>'
    b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. '
    b"Please try accessing the file again later.</p></body></html>"
)
CONFIRM_PAGE = (
    "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
    '<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    f'<input type="hidden" name="id" value="{DRIVE_ID}">'
    '<input type="hidden" name="confirm" value="t"></form></body></html>'
).encode()
LOGIN_PAGE = b"<html><head><title>Please\n sign in</title></head><body>Hotel network</body></html>"


class Handler(BaseHTTPRequestHandler):
    """Answers with what the test put under the path."""

    server: "Server"

    def do_GET(self) -> None:
        """Send the next reply."""
        path = self.path.partition("?")[0]
        self.server.requests.append((self.path, self.headers.get("Range")))
        replies = self.server.replies.get(path, [])
        # The last reply stays.
        reply = replies.pop(0) if len(replies) > 1 else (replies or [page(404, b"none")])[0]
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """No log in the tests' output."""


Reply = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """A server on this machine with a list of replies for each path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.replies: dict[str, list[Reply]] = {}
        self.stopped = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


def page(status: int, content: bytes) -> Reply:
    def reply(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def sends(
    content: bytes, *, cut_at: int | None = None, ranges: bool = True, etag: str = '"1"'
) -> Reply:
    """A file; `cut_at` closes the connection after so many bytes of it."""

    def reply(handler: Handler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if handler.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked[1]) if asked and ranges else 0
        if start >= len(content):
            page(416, b"")(handler)
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Disposition", 'attachment; filename="theirs.zip"')
        if etag:
            handler.send_header("ETag", etag)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:cut_at])

    return reply


def silence(handler: Handler) -> None:
    handler.server.stopped.wait(10)


class ToServer(HTTPAdapter):
    """Brings requests for Google's hosts to the local server, under the host as a folder."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send to the local server and hide that."""
        asked = request.url
        request.url = asked.replace("https:/", self._address, 1)
        response = super().send(request, *args, **kwargs)
        response.url = request.url = asked
        return response


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, reached under Google's names too."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        adapter = ToServer(server.address)
        plain = requests.Session.get_adapter

        def get_adapter(session: requests.Session, url: str) -> Any:
            return adapter if ".google.com/" in url else plain(session, url)

        monkeypatch.setattr(requests.Session, "get_adapter", get_adapter)
        monkeypatch.setenv("no_proxy", "*")
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()
        adapter.close()
