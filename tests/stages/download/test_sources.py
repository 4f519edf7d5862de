"""Tests of `stages.download.sources`, on a local server that plays Google Drive and the web."""

import errno
import fcntl
import gzip
import hashlib
import io
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import ValidationError
from requests.adapters import HTTPAdapter

from monuseg.core.errors import PipelineError, explained
from monuseg.core.settings import Settings
from stages.download.params import DatasetParams
from stages.download.sources import fetch, store
from stages.download.sources.collect import collect
from stages.download.sources.verify import what_came
from tests.web_server import (
    CONFIRM_PAGE,
    DRIVE_ID,
    LOGIN_PAGE,
    QUOTA_PAGE,
    Handler,
    Reply,
    Server,
    page,
    sends,
    serving,
    silence,
)

NAME = "MoNuSegTestData.zip"
FILE_PATH = "/file.zip"


def make_zip(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        # Larger than what sockets buffer, so that a cut-off transfer is cut off.
        file.writestr(zipfile.ZipInfo("a.tif"), bytes([seed % 256]) * 3_000_000)
    return buffer.getvalue()


ZIP = make_zip()
SHA256 = hashlib.sha256(ZIP).hexdigest()
CUT = (1 << 20) + 1  # no whole number of blocks


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The local server; nothing else can be reached."""
    with serving(monkeypatch) as server:
        yield server


@dataclass
class Place:
    """Folders of a run, its waits, and how to start it."""

    root: Path
    address: str
    archives: Path | None = None
    waits: list[float] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """MONUSEG_CACHE."""
        return self.root / "cache"

    def collect(self, source: str, timeout: float = 5.0, retries: int = 1, **archive: Any) -> Path:
        """Collect the one archive `archive` from `source`; the file that came."""
        given = {"name": NAME, "sha256": SHA256}
        if source == "gdrive":
            given["id"] = DRIVE_ID
        if source == "url":
            given["url"] = self.address + FILE_PATH
        block: dict[str, Any] = {"archives": [given | archive]}
        if source != "file":
            block |= {"timeout": timeout, "retries": retries}
        params = DatasetParams.model_validate({"source": source, source: block})
        environment = {"MONUSEG_CACHE": str(self.cache)}
        if self.archives:
            environment["MONUSEG_ARCHIVES"] = str(self.archives)
        folder = self.root / f"out{len(list(self.root.glob('out*')))}"
        folder.mkdir()
        (path,) = collect(params, Settings.from_environment(environment), folder)
        assert list(folder.iterdir()) == [path]
        return path

    def failure(self, source: str, **arguments: Any) -> str:
        """The one line of error that collecting ends with."""
        with pytest.raises(PipelineError) as raised:
            self.collect(source, **arguments)
        assert "\n" not in str(raised.value)
        return explained(raised.value)


@pytest.fixture
def place(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A run whose waits between attempts take no time."""
    made = Place(tmp_path, server.address)
    monkeypatch.setattr(time, "sleep", made.waits.append)
    return made


@pytest.fixture
def by_hand(place: Place) -> Path:
    """The folder of hand-fetched archives, empty."""
    place.archives = place.root / "by hand"
    place.archives.mkdir()
    return place.archives


def left(place: Place, content: bytes) -> Path:
    """What an earlier run received of the archive."""
    part = place.cache / f"{SHA256}.part" / "archive.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


PATHS = {"gdrive": "/drive.google.com/uc", "url": FILE_PATH}
both = pytest.mark.parametrize("source", ["gdrive", "url"])


@both
def test_a_download_gets_its_name_and_fills_the_cache(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP)]
    path = place.collect(source)
    assert path.name == NAME
    assert path.read_bytes() == ZIP
    assert sorted(p.name for p in place.cache.iterdir()) == [f"{SHA256}.lock", f"{SHA256}.zip"]


@both
def test_the_cache_saves_the_second_download(place: Place, server: Server, source: str) -> None:
    server.replies[PATHS[source]] = [sends(ZIP)]
    place.collect(source)
    asked = len(server.requests)
    assert place.collect(source, name="other.zip").read_bytes() == ZIP
    assert len(server.requests) == asked


@both
def test_a_damaged_cache_entry_is_replaced(
    place: Place, server: Server, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP)]
    place.collect(source)
    entry = place.cache / f"{SHA256}.zip"
    entry.write_bytes(ZIP[:-1] + b"?")
    assert place.collect(source).read_bytes() == ZIP
    assert entry.read_bytes() == ZIP
    assert "damaged in the cache" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["gdrive", "url", "file"])
def test_a_hand_downloaded_file_of_any_name_needs_no_network(
    place: Place, server: Server, by_hand: Path, source: str
) -> None:
    (by_hand / "folder").mkdir()
    (by_hand / NAME).write_bytes(b"a stale file of the right name")
    (by_hand / "Data (1).ZIP.download").write_bytes(ZIP)
    assert place.collect(source).read_bytes() == ZIP
    assert server.requests == []


def test_drives_page_of_confirmation_is_followed(place: Place, server: Server) -> None:
    server.replies[PATHS["gdrive"]] = [page(200, CONFIRM_PAGE)]
    server.replies["/drive.usercontent.google.com/download"] = [sends(ZIP)]
    assert place.collect("gdrive").read_bytes() == ZIP
    assert "confirm=t" in server.requests[-1][0]


@both
def test_a_transfer_that_is_cut_off_is_resumed_where_it_stopped(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP, cut_at=CUT), sends(ZIP)]
    assert place.collect(source).read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"


@both
def test_a_later_run_resumes_what_an_earlier_one_left(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP, cut_at=CUT)]
    error = place.failure(source, retries=0)
    assert NAME in error
    assert not (place.cache / f"{SHA256}.zip").exists()
    server.replies[PATHS[source]] = [sends(ZIP)]
    assert place.collect(source).read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"


@both
def test_a_server_that_cannot_resume_is_asked_for_the_whole(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP, cut_at=CUT)]
    place.failure(source, retries=0)
    server.replies[PATHS[source]] = [sends(ZIP, ranges=False)]
    assert place.collect(source, retries=2).read_bytes() == ZIP


@both
def test_a_part_that_cannot_be_resumed_does_not_stop_later_runs(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP, cut_at=CUT)]
    place.failure(source, retries=0)
    server.replies[PATHS[source]] = [sends(ZIP, ranges=False)]
    assert place.collect(source, retries=0).read_bytes() == ZIP


@both
def test_a_server_that_is_busy_when_asked_for_the_rest_costs_no_bytes(
    place: Place, server: Server, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP, cut_at=CUT), page(503, b"busy"), sends(ZIP)]
    assert place.collect(source, retries=2).read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"
    assert "preserved" not in capsys.readouterr().err


def test_a_run_that_ends_while_the_server_is_busy_keeps_the_part(
    place: Place, server: Server
) -> None:
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT)]
    place.failure("url", retries=0)
    server.replies[FILE_PATH] = [page(503, b"busy")]
    assert "HTTP 503" in place.failure("url", retries=0)
    server.replies[FILE_PATH] = [sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"


def test_a_server_that_sends_the_whole_in_place_of_the_rest_is_taken_at_its_word(
    place: Place, server: Server
) -> None:
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT), sends(ZIP, ranges=False)]
    assert place.collect("url").read_bytes() == ZIP
    assert [asked for _, asked in server.requests] == [None, f"bytes={CUT}-"]


@both
def test_a_part_of_another_file_is_noticed_and_fetched_afresh(
    place: Place, server: Server, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies[PATHS[source]] = [sends(make_zip(7), cut_at=CUT)]
    place.failure(source, retries=0)
    server.replies[PATHS[source]] = [sends(ZIP)]
    assert place.collect(source).read_bytes() == ZIP
    assert "starting afresh" in capsys.readouterr().err


@both
def test_a_file_that_changes_during_the_transfer_is_not_joined_to_old_bytes(
    place: Place, server: Server, source: str
) -> None:
    changed = sends(ZIP, etag='"2"')
    server.replies[PATHS[source]] = [sends(make_zip(7), cut_at=CUT, etag='"1"'), changed]
    assert place.collect(source, sha256=None, retries=3).read_bytes() == ZIP


def test_a_part_longer_than_the_file_is_dropped(place: Place, server: Server) -> None:
    left(place, bytes(len(ZIP) + 1))
    server.replies[FILE_PATH] = [sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP


@both
def test_a_server_that_is_busy_is_asked_again(place: Place, server: Server, source: str) -> None:
    busy = page(503, b"<html><title>Busy</title></html>")
    # The second of Drive's goes to the look at what came.
    server.replies[PATHS[source]] = [busy, busy, sends(ZIP)]
    assert place.collect(source, retries=2).read_bytes() == ZIP
    assert place.waits


@pytest.mark.parametrize("busy", [429, 503])
def test_drive_that_is_no_longer_busy_when_looked_at_is_asked_again(
    place: Place, server: Server, busy: int
) -> None:
    server.replies[PATHS["gdrive"]] = [page(busy, b"<html></html>"), sends(ZIP)]
    assert place.collect("gdrive").read_bytes() == ZIP


def test_drive_that_is_busy_after_the_confirmation_is_asked_again(
    place: Place, server: Server
) -> None:
    server.replies[PATHS["gdrive"]] = [page(200, CONFIRM_PAGE)]
    busy = page(503, b"<html></html>")
    server.replies["/drive.usercontent.google.com/download"] = [busy, sends(ZIP)]
    assert place.collect("gdrive").read_bytes() == ZIP


@pytest.mark.parametrize(
    "url", ["http://[bad/x.zip", "http://a..b/x.zip", "http://*/x.zip", "http://h:99999999/x.zip"]
)
def test_an_address_that_cannot_be_is_one_line(place: Place, url: str) -> None:
    assert url in place.failure("url", url=url)


def answers(status: int, content: bytes = b"", reason: str | None = None, **headers: str) -> Reply:
    def reply(handler: Handler) -> None:
        handler.send_response(status, reason)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


LOOP = page(200, CONFIRM_PAGE.replace(b"usercontent.google.com/download", b"google.com/uc"))
NOT_TO_BE_READ: dict[str, tuple[str, Reply, str]] = {
    "redirect": ("url", answers(302, Location="http://[bad/"), "reply cannot be read"),
    "redirect to half an address": (
        "url",
        answers(302, Location="http://[::1"),
        "reply cannot be read",
    ),
    "redirect to no text": ("url", answers(302, Location="\xff\xfe"), "reply cannot be read"),
    "redirect to a file": ("url", answers(302, Location="file:///etc/passwd"), "leads on to file:"),
    "redirect to another scheme": ("url", answers(302, Location="ftp://h/"), "leads on to ftp:"),
    "redirect to nowhere": ("url", answers(302), "HTTP 302"),
    "redirect for ever": ("url", answers(302, Location=FILE_PATH), "more than 20 redirects"),
    "confirmation for ever": ("gdrive", LOOP, "more than 20 redirects or pages of confirmation"),
    "form": (
        "gdrive",
        page(200, CONFIRM_PAGE.replace(b"https://drive.user", b"http://[")),
        "gdown cannot read the page",
    ),
    "no form": (
        "gdrive",
        page(200, b'<html><form id="download-form"></form></html>'),
        "gdown cannot read the page",
    ),
    "an endless page": ("gdrive", page(200, b"<html>" + bytes(5_000_000)), "an HTML page"),
    "a length beyond all": ("url", answers(200, ZIP, Content_Length="9" * 18), "more than 80000"),
    "a rest of nothing": ("url", answers(206, ZIP, Content_Range="x"), "HTTP 206"),
}


@pytest.mark.parametrize(("source", "reply", "said"), NOT_TO_BE_READ.values(), ids=NOT_TO_BE_READ)
def test_a_reply_that_cannot_be_used_is_one_line(
    place: Place, server: Server, source: str, reply: Reply, said: str
) -> None:
    server.replies[PATHS[source]] = [reply]
    assert said in place.failure(source)
    assert not place.waits


@pytest.mark.parametrize("length", ["-5", "many", "9" * 5000, "1e3", "\u00b2", ""])
def test_a_length_that_is_none_is_not_minded(place: Place, server: Server, length: str) -> None:
    server.replies[FILE_PATH] = [answers(200, ZIP, Content_Length=length)]
    assert place.collect("url").read_bytes() == ZIP


@both
def test_what_a_server_says_is_shown_without_tags_and_codes_and_cut(
    place: Place, server: Server, source: str
) -> None:
    said = "no\x1b[2J<b>, sorry</b>" + "y" * 5000
    subcaption = f'<html><p class="uc-error-subcaption">{said}</p></html>'.encode()
    reply = page(200, subcaption) if source == "gdrive" else answers(404, reason=said)
    server.replies[PATHS[source]] = [reply]
    error = place.failure(source)
    assert "no\\x1b[2J , sorry yyy" in error
    assert error.isprintable()
    assert "yy..." in error
    assert len(error) < 700


@pytest.mark.parametrize("shift", [-7, 7])
@pytest.mark.parametrize("described", ["bytes {}-{}/{}", "bytes {}-{}/*", "{}-{}/{}", ""])
def test_a_rest_of_another_place_is_not_joined(
    place: Place, server: Server, shift: int, described: str
) -> None:
    first = CUT + shift
    said = described.format(first, len(ZIP) - 1, len(ZIP))
    rest = answers(206, ZIP[first:], Content_Range=said, ETag='"1"')
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT), rest, sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP
    assert [asked for _, asked in server.requests] == [None, f"bytes={CUT}-", None]


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_rest_that_comes_in_short_answers_is_asked_for_until_all_is_there(
    place: Place, server: Server, sha256: str | None
) -> None:
    def some(handler: Handler) -> None:
        begun = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        last = min(begun + 700_000, len(ZIP)) - 1
        said = f"bytes {begun}-{last}/{len(ZIP)}"
        answers(206, ZIP[begun : last + 1], Content_Range=said, ETag='"1"')(handler)

    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT), some]
    assert place.collect("url", sha256=sha256, retries=1).read_bytes() == ZIP


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_rest_that_is_longer_than_it_says_is_not_taken(
    place: Place, server: Server, sha256: str | None
) -> None:
    said = f"bytes {CUT}-{len(ZIP) - 1}/{len(ZIP)}"
    rest = answers(206, ZIP[CUT:] + b"more", Content_Range=said, ETag='"1"')
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT), rest, sends(ZIP)]
    assert place.collect("url", sha256=sha256).read_bytes() == ZIP


def breaks_after(step: int) -> Reply:
    def reply(handler: Handler) -> None:
        begun = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        sends(ZIP, cut_at=begun + step)(handler)

    return reply


def test_a_line_that_breaks_often_still_ends(place: Place, server: Server) -> None:
    server.replies[FILE_PATH] = [breaks_after(100_001)]
    assert place.collect("url", retries=1).read_bytes() == ZIP
    asked = [int(asked[6:-1]) for _, asked in server.requests if asked]
    # To the last byte: no block is thrown away.
    assert asked == list(range(100_001, len(ZIP), 100_001))
    assert set(place.waits) == {1}


def test_a_line_that_brings_next_to_nothing_is_given_up(place: Place, server: Server) -> None:
    server.replies[FILE_PATH] = [breaks_after(1000)]
    assert "the transfer was cut off (4 attempts)" in place.failure("url", retries=3)


def test_a_whole_that_always_breaks_at_one_place_is_no_progress(
    place: Place, server: Server
) -> None:
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT, ranges=False)]
    assert "cut off (4 attempts)" in place.failure("url", retries=2)


@both
def test_a_part_that_is_whole_is_taken(place: Place, server: Server, source: str) -> None:
    left(place, ZIP)
    server.replies[PATHS[source]] = [sends(ZIP)]
    assert place.collect(source, retries=0).read_bytes() == ZIP
    assert [asked for _, asked in server.requests] == [f"bytes={len(ZIP)}-"]


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_without_a_hash_nothing_is_joined_that_the_server_does_not_vouch_for(
    place: Place, server: Server, etag: str
) -> None:
    other = make_zip(7)
    server.replies[FILE_PATH] = [sends(other, cut_at=CUT, etag=etag), sends(ZIP, etag=etag)]
    assert place.collect("url", sha256=None).read_bytes() == ZIP
    assert [asked for _, asked in server.requests] == [None, None]


def test_a_server_that_ignores_if_range_is_found_out_by_its_etag(
    place: Place, server: Server
) -> None:
    said = f"bytes {CUT}-{len(ZIP) - 1}/{len(ZIP)}"
    rest = answers(206, ZIP[CUT:], Content_Range=said, ETag='"2"')
    server.replies[FILE_PATH] = [sends(make_zip(7), cut_at=CUT), rest, sends(ZIP, etag='"2"')]
    assert place.collect("url", sha256=None).read_bytes() == ZIP


@pytest.mark.parametrize("sha256", [SHA256, None])
@both
def test_a_reply_that_is_packed_unasked_is_unpacked(
    place: Place, server: Server, source: str, sha256: str | None
) -> None:
    packed = answers(200, gzip.compress(ZIP), Content_Encoding="gzip", Content_Disposition="x")
    server.replies[PATHS[source]] = [packed]
    assert place.collect(source, sha256=sha256).read_bytes() == ZIP


def test_a_packed_reply_that_breaks_is_not_joined_to_packed_bytes(
    place: Place, server: Server
) -> None:
    packed = gzip.compress(ZIP, 0)

    def broken(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed[:CUT])

    said = f"bytes {CUT}-{len(packed) - 1}/{len(packed)}"
    rest = answers(206, packed[CUT:], Content_Range=said, Content_Encoding="gzip")
    server.replies[FILE_PATH] = [broken, rest, answers(200, packed, Content_Encoding="gzip")]
    assert place.collect("url", retries=2).read_bytes() == ZIP


def test_an_unpacked_reply_counts_against_the_limit(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 1_000_000)
    server.replies[FILE_PATH] = [answers(200, gzip.compress(ZIP), Content_Encoding="gzip")]
    assert "more than 1000000 bytes" in place.failure("url", sha256=None)


@pytest.mark.parametrize(
    "ending", [b"", b"5\r\n\0\0", b"zz\r\n"], ids=["no end", "short", "no size"]
)
def test_a_body_in_chunks_that_is_cut_off_is_resumed(
    place: Place, server: Server, ending: bytes
) -> None:
    def chunks(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n%s" % (CUT, ZIP[:CUT], ending))
        handler.close_connection = True

    server.replies[FILE_PATH] = [chunks, sends(ZIP)]
    assert place.collect("url", retries=2).read_bytes() == ZIP
    assert server.requests[-1][1] in (f"bytes={CUT}-", f"bytes={CUT + 2}-")


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_body_longer_than_its_stated_length_is_no_archive(
    place: Place, server: Server, sha256: str | None
) -> None:
    server.replies[FILE_PATH] = [answers(200, ZIP, Content_Length=str(CUT))]
    said = "instead of" if sha256 else "no whole zip file"
    assert said in place.failure("url", sha256=sha256)


def test_a_server_that_trickles_is_given_up(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trickle(handler: Handler) -> None:
        sends(ZIP, cut_at=1)(handler)
        while not handler.server.stopped.wait(0.02):
            handler.wfile.write(b"x")

    server.replies[FILE_PATH] = [trickle]
    # The socket never waits as long as the timeout.
    assert "under 1000 bytes per second, in 0.2 s" in place.failure("url", timeout=0.2, retries=0)


@both
def test_a_page_in_place_of_the_rest_costs_no_bytes(
    place: Place, server: Server, source: str
) -> None:
    part = left(place, ZIP[:CUT])
    server.replies[PATHS[source]] = [page(200, LOGIN_PAGE)]
    assert "HTML page titled 'Please sign in'" in place.failure(source)
    assert part.read_bytes() == ZIP[:CUT]


HTTPS = "https://files.google.com/a.zip"  # that the local server answers for


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("source", ["gdrive", "url"])
def test_from_https_to_http_only_a_pinned_archive_follows(
    place: Place, server: Server, source: str, hops: int
) -> None:
    began = PATHS["gdrive"] if source == "gdrive" else "/files.google.com/a.zip"
    server.replies[began] = [answers(302, Location=f"{place.address}/{hops}")]
    server.replies["/1"] = [sends(ZIP)]
    server.replies["/2"] = [answers(302, Location="https://files.google.com/b.zip")]
    server.replies["/files.google.com/b.zip"] = [sends(ZIP)]
    given: dict[str, Any] = {"url": HTTPS} if source == "url" else {}
    assert place.collect(source, **given).read_bytes() == ZIP
    server.requests.clear()
    error = place.failure(source, sha256=None, **given)
    assert "leads on from https to http" in error
    assert "MONUSEG_ARCHIVES" in error
    assert len(server.requests) == 1  # what anyone may read was not asked for


def test_a_page_of_confirmation_does_not_lead_to_http_either(place: Place, server: Server) -> None:
    server.replies[PATHS["gdrive"]] = [page(200, CONFIRM_PAGE.replace(b"https:", b"http:"))]
    assert "leads on from https to http" in place.failure("gdrive", sha256=None)


def test_the_page_of_a_redirect_is_not_read(place: Place, server: Server) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/moved.zip")
        handler.end_headers()
        while not handler.server.stopped.is_set():
            handler.wfile.write(bytes(1 << 16))

    server.replies[FILE_PATH] = [endless]
    server.replies["/moved.zip"] = [sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP


@pytest.mark.parametrize("status", [404, 503])
def test_login_and_signature_of_an_address_are_not_printed(
    place: Place, server: Server, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies[FILE_PATH] = [page(status, b"no")]
    url = place.address.replace("://", "://me:secret@") + FILE_PATH + "?X-Amz-Signature=secret"
    error = place.failure("url", url=url)
    assert f"://***@127.0.0.1:{server.server_address[1]}{FILE_PATH}?***): HTTP {status}" in error
    assert "secret" not in error + "".join(capsys.readouterr())


def test_a_cache_where_there_are_no_locks_is_used_and_that_is_said(
    place: Place,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_lock(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    server.replies[FILE_PATH] = [sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP
    assert "no locks on this file system" in capsys.readouterr().err


def test_a_disk_that_is_full_ends_the_download_and_is_named(place: Place, server: Server) -> None:
    part = left(place, b"")
    part.unlink()
    part.symlink_to("/dev/full")
    server.replies[FILE_PATH] = [sends(ZIP)]
    with pytest.raises(OSError, match="No space left") as raised:
        place.collect("url")
    assert str(place.cache) in explained(raised.value)
    assert len(server.requests) == 1


def test_waits_between_attempts_grow(place: Place, server: Server) -> None:
    server.replies[FILE_PATH] = [page(503, b"busy")]
    error = place.failure("url", retries=6)
    assert "HTTP 503" in error
    assert "7 attempts" in error
    assert place.waits == [1, 2, 4, 8, 16, 30]


def test_drives_quota_page_names_the_id_and_the_way_out(place: Place, server: Server) -> None:
    server.replies[PATHS["gdrive"]] = [page(200, QUOTA_PAGE)]
    error = place.failure("gdrive")
    assert error.startswith(f"{NAME} (https://drive.google.com/file/d/{DRIVE_ID}/view): ")
    assert "quota of this file is used up" in error
    assert "Too many users have viewed" in error
    assert "HTML page titled 'Google Drive - Quota exceeded'" in error
    assert "MONUSEG_ARCHIVES" in error


def test_a_quota_that_only_the_pages_title_names_is_recognised(
    place: Place, server: Server
) -> None:
    title = b"<html><title>Google Drive - Quota exceeded</title></html>"
    server.replies[PATHS["gdrive"]] = [page(200, title)]
    assert "quota of this file is used up" in place.failure("gdrive")
    assert place.waits == []


@pytest.mark.parametrize("status", [403, 404, 500])
@both
def test_a_refusal_is_named_by_its_status(
    place: Place, server: Server, source: str, status: int
) -> None:
    server.replies[PATHS[source]] = [page(status, b"<html><title>No, sorry</title></html>")]
    error = place.failure(source)
    assert NAME in error
    assert f"HTTP {status}" in error
    assert "MONUSEG_ARCHIVES" in error
    # Only what may pass is tried again.
    assert bool(place.waits) == (status == 500)


@both
def test_an_html_page_in_place_of_a_zip_is_named_by_its_title(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [page(200, LOGIN_PAGE)]
    error = place.failure(source)
    assert "HTML page titled 'Please sign in'" in error
    assert (DRIVE_ID if source == "gdrive" else FILE_PATH) in error
    assert "MONUSEG_ARCHIVES" in error


@pytest.mark.parametrize("sha256", [SHA256, None])
@both
def test_html_under_the_name_of_a_zip_is_recognised(
    place: Place, server: Server, source: str, sha256: str | None
) -> None:
    server.replies[PATHS[source]] = [sends(LOGIN_PAGE)]
    error = place.failure(source, sha256=sha256)
    assert "HTML page titled 'Please sign in'" in error
    assert ("pin its sha256" in error) == (sha256 is None)


@both
def test_a_wrong_hash_tells_both_and_keeps_nothing(
    place: Place, server: Server, source: str
) -> None:
    other = make_zip(1)
    server.replies[PATHS[source]] = [sends(other)]
    error = place.failure(source)
    assert hashlib.sha256(other).hexdigest() in error
    assert SHA256 in error
    assert "a zip file" in error
    assert not list(place.cache.rglob("*.zip"))
    server.replies[PATHS[source]] = [sends(ZIP)]
    assert place.collect(source).read_bytes() == ZIP


@both
def test_a_wrong_size_tells_both(place: Place, server: Server, source: str) -> None:
    server.replies[PATHS[source]] = [sends(ZIP)]
    error = place.failure(source, size=len(ZIP) + 1)
    assert f"{len(ZIP)} bytes instead of {len(ZIP) + 1}" in error
    assert place.collect(source, size=len(ZIP)).read_bytes() == ZIP


@both
def test_without_a_pinned_hash_the_one_that_came_is_printed_and_nothing_is_cached(
    place: Place, server: Server, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies[PATHS[source]] = [sends(ZIP)]
    assert place.collect(source, sha256=None).read_bytes() == ZIP
    printed = capsys.readouterr().err
    assert f"sha256: {SHA256}, size: {len(ZIP)}" in printed
    assert not place.cache.exists()


@both
def test_a_server_that_falls_silent_is_given_up_after_the_timeout(
    place: Place, server: Server, source: str
) -> None:
    server.replies[PATHS[source]] = [silence]
    error = place.failure(source, timeout=0.2, retries=1)
    assert "timed out, no byte for 0.2 s" in error
    assert "MONUSEG_ARCHIVES" in error


@both
def test_a_transfer_that_falls_silent_is_given_up_after_the_timeout(
    place: Place, server: Server, source: str
) -> None:
    def half(handler: Handler) -> None:
        sends(ZIP, cut_at=1000)(handler)
        silence(handler)

    server.replies[PATHS[source]] = [half]
    assert "timed out, no byte for 0.2 s" in place.failure(source, timeout=0.2, retries=0)


@both
def test_no_network_is_one_clear_line(
    place: Place, server: Server, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise requests.ConnectionError("HTTPSConnectionPool(...): Max retries exceeded")

    monkeypatch.setattr(HTTPAdapter, "send", refuse)
    error = place.failure(source)
    assert "no connection, is there a network?" in error
    assert "MONUSEG_ARCHIVES" in error


def test_a_cache_that_cannot_be_written_says_which_variable_moves_it(
    place: Place, server: Server
) -> None:
    place.cache.write_bytes(b"a file where the folder should be")
    assert "MONUSEG_CACHE" in place.failure("url")


def test_file_without_the_folder_set_says_so(place: Place) -> None:
    error = place.failure("file")
    assert NAME in error
    assert "MONUSEG_ARCHIVES is not set" in error


def test_file_that_is_not_there_is_named_by_its_hash(place: Place, by_hand: Path) -> None:
    error = place.failure("file")
    assert SHA256 in error
    assert str(by_hand) in error


def test_file_of_the_right_name_and_wrong_bytes_tells_its_hash(place: Place, by_hand: Path) -> None:
    other = make_zip(1)
    (by_hand / NAME).write_bytes(other)
    assert hashlib.sha256(other).hexdigest() in place.failure("file")


def test_file_of_the_right_bytes_is_used_whatever_size_the_params_state(
    place: Place, by_hand: Path
) -> None:
    (by_hand / NAME).write_bytes(ZIP)
    assert place.collect("file", size=5).read_bytes() == ZIP


def test_a_file_that_changes_before_it_is_copied_is_not_taken(
    place: Place, by_hand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = by_hand / NAME
    original.write_bytes(ZIP)
    copy = shutil.copyfile

    def change(source: Path, target: Path) -> None:
        source.write_bytes(b"changed")
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", change)
    error = place.failure("file")
    assert f"{original}: changed while it was copied" in error
    assert not list(place.root.glob("out*/*"))


def test_the_copy_is_independent_of_what_it_was_copied_from(place: Place, by_hand: Path) -> None:
    original = by_hand / NAME
    original.write_bytes(ZIP)
    place.collect("file").write_bytes(b"changed")
    assert original.read_bytes() == ZIP


def test_a_second_process_waits_for_the_first_and_uses_its_download(
    place: Place, server: Server
) -> None:
    server.replies[FILE_PATH] = [sends(ZIP)]
    results: list[Path] = []
    second = threading.Thread(target=lambda: results.append(place.collect("url")))
    entry = store.entry(place.cache, SHA256)
    with store.downloading(entry) as folder:
        second.start()
        second.join(0.2)
        assert second.is_alive()
        (folder / "archive.zip").write_bytes(ZIP)
        (folder / "archive.zip").replace(entry)
    second.join(10)
    assert results[0].read_bytes() == ZIP
    assert server.requests == []


@pytest.mark.parametrize(
    ("first", "described"),
    [
        (b"", "nothing"),
        (b"PK\x03\x04rest", "a zip file"),
        (b"\xef\xbb\xbf <!doctype html><HTML></HTML>", "an HTML page without a title"),
        (b"Rar!\x1a\x07", r"begins with b'Rar!\x1a\x07'"),
    ],
)
def test_what_came_is_described(first: bytes, described: str) -> None:
    assert described in what_came(first)


@pytest.mark.parametrize(
    "block",
    [
        {"source": "file"},
        {"source": "file", "file": {"archives": []}},
        {"source": "file", "file": {"archives": [{"name": NAME, "sha256": None}]}},
        {"source": "file", "file": {"archives": [{"name": "../x.zip", "sha256": SHA256}]}},
        {
            "source": "file",
            "file": {"archives": [{"name": n, "sha256": SHA256} for n in ("a.zip", "A.zip")]},
        },
    ],
    ids=["no block", "no archive", "no hash", "path in the name", "one name twice"],
)
def test_params_that_cannot_work_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetParams.model_validate(block)
