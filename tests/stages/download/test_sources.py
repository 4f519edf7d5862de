"""Tests of `stages.download.sources`, on a local server that plays Google Drive and the web."""

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

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from stages.download.params import DatasetParams
from stages.download.sources import store
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
CUT = 1 << 20  # whole blocks of both clients, so that all of it is kept


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
        return str(raised.value)


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
    server.replies[FILE_PATH] = [sends(ZIP), page(503, b"busy")]
    assert "did not send the rest" in place.failure("url", retries=0)
    server.replies[FILE_PATH] = [sends(ZIP)]
    assert place.collect("url").read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"


def test_the_rest_that_is_refused_twice_is_given_up(place: Place, server: Server) -> None:
    server.replies[FILE_PATH] = [sends(ZIP, cut_at=CUT), sends(ZIP, ranges=False)]
    assert place.collect("url", retries=5).read_bytes() == ZIP
    assert [asked for _, asked in server.requests if asked] == [f"bytes={CUT}-"] * 2


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
    part = place.cache / f"{SHA256}.part" / "archive.zip01234567.part"  # as gdown names it
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(ZIP) + 1))
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
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


NOT_TO_BE_READ: dict[str, tuple[str, Reply]] = {
    "redirect": ("url", answers(302, Location="http://[bad/")),
    "date": (
        "gdrive",
        answers(200, ZIP, Content_Disposition="attachment", Content_Type="x", Last_Modified="now"),
    ),
    "form": ("gdrive", page(200, CONFIRM_PAGE.replace(b"https://drive.user", b"http://["))),
    "no form": ("gdrive", page(200, b'<html><form id="download-form"></form></html>')),
}


@pytest.mark.parametrize(("source", "reply"), NOT_TO_BE_READ.values(), ids=NOT_TO_BE_READ)
def test_a_reply_that_gdown_cannot_read_is_one_line(
    place: Place, server: Server, source: str, reply: Reply
) -> None:
    server.replies[PATHS[source]] = [reply]
    assert "gdown cannot read the reply" in place.failure(source)


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
