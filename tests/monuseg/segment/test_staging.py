"""Slides named by URL: copied whole, one at a time, and gone after."""

import builtins
import errno
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
import pytest

from monuseg.core.errors import PipelineError, explained
from monuseg.core.locks import exclusive
from monuseg.segment import staging
from monuseg.segment.inputs import inputs_of
from monuseg.segment.staging import Scratch, is_url, path_of, staged, version_of
from tests.monuseg.segment.networks import two_discs
from tests.repository import REPOSITORY, environment_of
from tests.web_server import Handler, Reply, Server, page, sends, serving, silence

fsspec = pytest.importorskip("fsspec")

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "scratch")


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL in this process's memory, and a file there."""
    url = f"memory://{uuid.uuid4()}/slide.svs"
    with fsspec.open(url, "wb") as file:
        file.write(CONTENT)
    yield url
    fsspec.filesystem("memory").rm(Path(url[len("memory:/") :]).parent.as_posix(), recursive=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as server:
        yield server


def left(scratch: Scratch) -> list[Path]:
    return list(scratch.folder.glob("*"))


def refused(url: str, scratch: Scratch) -> str:
    """The one line; nothing may be left."""
    with pytest.raises(PipelineError) as error, staged(url, scratch):
        pytest.fail("the block began")
    assert left(scratch) == []
    line = explained(error.value)
    assert "\n" not in str(error.value)
    return line


# === URLs ===


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a.svs", True), ("https://host/a.svs", True), ("memory://a.svs", True),
        ("HTTPS://host/a.svs", True), ("gs://b/c", True), ("abfs+x://b/c", True),
        ("a.svs", False), ("folder/a.svs", False), ("/a/s3://b", False), ("C://a.svs", False),
        ("s3:/bucket/a.svs", False), ("", False), ("://a", False),
    ],
)  # fmt: skip
def test_which_names_are_urls(text: str, url: bool) -> None:
    assert is_url(text) is url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("s3://bucket/folder/a b#1?.svs", "s3:/bucket/folder/a b#1?.svs"),
        ("https://me:word@host:8080/f/a%20b.svs?key=secret.tif#x", "https:/host:8080/f/a b.svs"),
        ("memory:///../a/./b.svs", "memory:/a/b.svs"),
        ("https://host/a%2F..%2F..%2Fb.svs", "https:/host/a/b.svs"),
        ("https://host", "https:/host"),
    ],
)
def test_results_are_called_as_the_file_is(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://[::1/a.svs", "no URL (Invalid IPv6 URL); correct"), ("s3://b/a\0", "a byte of 0")],
)
def test_what_no_file_can_be_called(url: str, said: str) -> None:
    with pytest.raises(PipelineError, match=re.escape(said)):
        path_of(url)
    with pytest.raises(PipelineError, match="a byte of 0"):
        path_of("https://host/a%00.svs")


def test_nothing_slow_is_loaded_to_tell_urls_from_paths() -> None:
    code = (
        "import sys; from monuseg.segment import staging; staging.is_url('s3://a/b'); "
        "print(*{'fsspec', 'numpy', 'aiohttp', 'asyncio'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


# === The copy ===


def test_a_copy_is_whole_and_gone_after(memory: str, scratch: Scratch) -> None:
    with staged(memory, scratch) as path:
        assert path.name == "slide.svs"
        assert path.read_bytes() == CONTENT
        assert path.is_relative_to(scratch.folder)
    assert left(scratch) == []


def test_a_copy_is_gone_after_an_error_of_the_block_too(memory: str, scratch: Scratch) -> None:
    with pytest.raises(OSError, match="of the block"), staged(memory, scratch):
        raise OSError(errno.ENOSPC, "of the block")
    assert left(scratch) == []


def test_a_copys_time_tells_versions(memory: str, scratch: Scratch) -> None:
    def time() -> int:
        with staged(memory, scratch) as path:
            return path.stat().st_mtime_ns

    first = time()
    assert time() == version_of(memory) == first
    with fsspec.open(memory, "wb") as file:
        file.write(CONTENT[::-1])
    assert time() == version_of(memory) != first


def test_no_version_is_told(server: Server, tmp_path: Path) -> None:
    server.replies["/slide.svs"] = [sends(CONTENT, etag="")]
    assert version_of(f"{server.address}/slide.svs") is None
    assert version_of(f"file://{tmp_path}/slide.svs") is None
    assert version_of(f"{server.address}/not-asked.svs?id=1") is None
    with pytest.raises(PipelineError, match="no such file there"):
        version_of(f"{server.address}/gone.svs")


@pytest.mark.parametrize("key", ["ETag", "LastModified", "modificationTime", "modify", "mtime"])
def test_what_tells_versions(key: str) -> None:
    """As S3, WebHDFS, FTP and SFTP call it."""
    versions = {staging._version({"size": 1, key: value, "name": value}) for value in (1, 2)}
    assert len(versions) == 2
    assert staging._version({"size": 1, "name": 1}) == staging._version({"size": 1, "name": 2})


def test_a_web_server(server: Server, scratch: Scratch) -> None:
    server.replies["/f/a b.svs"] = server.replies["/f/a%20b.svs"] = [sends(CONTENT)]
    with staged(f"{server.address}/f/a%20b.svs?key=1", scratch) as path:
        assert (path.name, path.read_bytes()) == ("a b.svs", CONTENT)
        first = path.stat().st_mtime_ns
    server.replies["/f/a%20b.svs"] = [sends(CONTENT, etag='"2"')]
    with staged(f"{server.address}/f/a%20b.svs?key=1", scratch) as path:
        assert path.stat().st_mtime_ns != first


def test_a_local_file_is_not_copied(tmp_path: Path, scratch: Scratch) -> None:
    slide = tmp_path / "a.mrxs"
    slide.touch()
    with staged(f"file://{slide}", scratch) as path:
        assert path == slide
    assert slide.exists()
    assert left(scratch) == []


@pytest.mark.parametrize(
    "name", ["my slide é.svs", "my%20slide.svs", "細" * 60 + ".svs", os.fsdecode(b"caf\xe9.svs")]
)
def test_a_local_file_by_the_url_that_programs_write(
    name: str, tmp_path: Path, scratch: Scratch
) -> None:
    slide = tmp_path / name
    slide.touch()
    for url in (slide.as_uri(), f"file://localhost{slide.as_uri()[7:]}", f"file://{slide}"):
        with staged(url, scratch) as path:
            assert path == slide


def test_the_url_of_a_name_with_spaces_is_not_another_file(
    tmp_path: Path, scratch: Scratch
) -> None:
    for name in ("a b.svs", "a%20b.svs"):
        (tmp_path / name).touch()
    for name in ("a b.svs", "a%20b.svs"):
        with staged((tmp_path / name).as_uri(), scratch) as path:
            assert path.name == name


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("lock", "lock"),
        ("x" * 300 + ".svs", "x" * 96 + ".svs"),
        ("a\nb.svs", "a_b.svs"),
        ("細" * 100 + ".svs", "細" * 32 + ".svs"),
    ],
)
def test_names_that_file_systems_take(name: str, kept: str, scratch: Scratch) -> None:
    with fsspec.open(f"memory://named/{name}", "wb") as file:
        file.write(CONTENT)
    with staged(f"memory://named/{name}", scratch) as path:
        assert (path.name, path.read_bytes()) == (kept, CONTENT)


# === What cannot be copied ===


def test_no_such_file(memory: str, server: Server, scratch: Scratch) -> None:
    assert refused(f"{memory}x", scratch).endswith(
        "slide.svsx: no such file there; correct the URL"
    )
    address = f"{server.address}/gone.svs"
    assert refused(address, scratch) == f"{address}: no such file there; correct the URL"


def test_a_folder_is_no_slide(memory: str, scratch: Scratch) -> None:
    assert "a folder; name the slides" in refused(memory.removesuffix("/slide.svs"), scratch)


@pytest.mark.parametrize("status", [401, 403])
def test_permission_is_denied(status: int, server: Server, scratch: Scratch) -> None:
    server.replies["/a.svs"] = [page(status, b"no")]
    line = refused(f"{server.address}/a.svs?key=secret", scratch)
    assert f"{server.address}/a.svs?***: permission denied; set the credentials" in line
    assert "secret" not in line


class NoCredentialsError(Exception):
    """As botocore's."""


@pytest.mark.parametrize("error", [PermissionError("Access Denied"), NoCredentialsError()])
def test_a_bucket_denies(
    error: Exception, memory: str, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def info(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "info", info)
    assert "FSSPEC_S3_ANON=true" in refused(memory, scratch)


def test_a_server_fails(server: Server, scratch: Scratch) -> None:
    server.replies["/a.svs"] = [page(503, b"later")]
    assert "cannot be fetched (HTTP status 503); run again" in refused(
        f"{server.address}/a.svs", scratch
    )


def test_nobody_listens(scratch: Scratch) -> None:
    assert "cannot be fetched (" in refused("http://127.0.0.1:9/a.svs", scratch)


def test_a_connection_is_cut(server: Server, scratch: Scratch) -> None:
    server.replies["/a.svs"] = [sends(CONTENT), sends(CONTENT, cut_at=5000)]
    line = refused(f"{server.address}/a.svs", scratch)
    assert "cannot be fetched (" in line
    assert "run again" in line


def test_a_server_falls_silent(
    server: Server, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SILENCE", 0.3)
    server.replies["/a.svs"] = [sends(CONTENT), silence]
    assert "cannot be fetched (" in refused(f"{server.address}/a.svs", scratch)


def test_fewer_bytes_than_stated(server: Server, scratch: Scratch) -> None:
    server.replies["/a.svs"] = [sends(CONTENT), sends(CONTENT[:5000])]
    assert "5000 of 10240 bytes came; run again" in refused(f"{server.address}/a.svs", scratch)


def no_size(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT)


def test_a_size_must_be_stated(server: Server, scratch: Scratch) -> None:
    replies: list[Reply] = [no_size]
    server.replies["/a.svs"] = replies
    assert "does not state its size" in refused(f"{server.address}/a.svs", scratch)


@pytest.mark.parametrize("name", ["a.mrxs", "a.VMS", "a.vmu", "a.dcm"])
def test_slides_of_several_files(name: str, scratch: Scratch) -> None:
    with pytest.raises(PipelineError, match="one of several files"):
        version_of(f"memory://none/{name}")
    assert "one of several files of a slide; copy all" in refused(f"memory://f/{name}", scratch)


def test_dicom_of_any_name(scratch: Scratch) -> None:
    with fsspec.open("memory://f/a", "wb") as file:
        file.write(bytes(128) + b"DICM" + CONTENT)
    assert "one of several files of a slide; copy all" in refused("memory://f/a", scratch)


def test_unknown_protocol(scratch: Scratch) -> None:
    line = refused("s4://bucket/a.svs", scratch)
    assert line.startswith("s4://bucket/a.svs: Protocol not known: s4; name what fsspec reads")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:9/a.svs", "github://a/b.svs", "dir://a.svs"])
def test_protocols_that_fail_before_the_file_is_looked_for(url: str, scratch: Scratch) -> None:
    assert refused(url, scratch).startswith(f"{url}: cannot be fetched (")


def test_chains(scratch: Scratch) -> None:
    assert "a chain of URLs; copy" in refused("zip://a.svs::https://host/a.zip", scratch)


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_without_fsspec(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    without("fsspec", monkeypatch)
    assert "run `pip install 'monuseg[remote]'`, or copy" in refused("s3://b/a.svs", scratch)


def test_without_a_protocols_package(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    without("aiohttp", monkeypatch)
    assert "a package is missing (No module named 'aiohttp')" in refused("http://b/a", scratch)


# === The scratch ===


def test_where_copies_lie(tmp_path: Path) -> None:
    assert Scratch.of(tmp_path, {}) == Scratch(tmp_path)
    named = {"MONUSEG_SCRATCH": "/fast", "MONUSEG_SCRATCH_BYTES": "50000000000"}
    assert Scratch.of(tmp_path, named) == Scratch(Path("/fast"), 50_000_000_000)


@pytest.mark.parametrize("text", ["0", "-1", "5GB", "1e9", "²"])
def test_a_limit_is_a_number(text: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"MONUSEG_SCRATCH_BYTES: .* is no number of bytes"):
        Scratch.of(tmp_path, {"MONUSEG_SCRATCH_BYTES": text})


def test_no_more_than_the_limit(memory: str, tmp_path: Path) -> None:
    with staged(memory, Scratch(tmp_path / "a", len(CONTENT))):
        pass
    line = refused(memory, Scratch(tmp_path / "b", len(CONTENT) - 1))
    assert "10240 bytes, but MONUSEG_SCRATCH_BYTES allows 10239" in line


def test_no_more_than_the_disk_has_space_for(
    memory: str, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10_239))
    line = refused(memory, scratch)
    assert "10240 bytes, but " in line
    assert "has space for 10239; free some, or name another folder in MONUSEG_SCRATCH" in line


def test_a_disk_that_fills_meanwhile(
    memory: str, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", full)
    assert "no space left for a copy in" in refused(memory, scratch)


def test_only_copies_that_nobody_uses_are_removed(memory: str, scratch: Scratch) -> None:
    killed, used = scratch.folder / ".staged-killed", scratch.folder / ".staged-used"
    for folder in (killed, used):
        folder.mkdir(parents=True)
        (folder / "part").touch()
    with exclusive(used / "lock"), staged(memory, scratch):
        assert not killed.exists()
        assert (used / "part").exists()
    assert used.exists()


def test_without_locks_nothing_of_others_is_removed(
    memory: str, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scratch.folder / ".staged-other"
    other.mkdir(parents=True)
    # As `exclusive` does on a file system without locks.
    monkeypatch.setattr(staging, "exclusive", lambda *_, **__: nullcontext())
    with staged(memory, scratch):
        assert other.exists()


def test_several_at_once(server: Server, scratch: Scratch) -> None:
    # Not in memory, where fsspec gives all threads one file and one place in it.
    server.replies["/slide.svs"] = [sends(CONTENT)]
    seen: list[bytes] = []

    def copy() -> None:
        for _ in range(5):
            with staged(f"{server.address}/slide.svs", scratch) as path:
                seen.append(path.read_bytes())

    threads = [threading.Thread(target=copy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [CONTENT] * 20
    assert left(scratch) == []


# === The command ===


def test_a_slide_on_a_web_server_is_segmented(server: Server, tmp_path: Path) -> None:
    """As its local copy is, and with nothing secret in what is said or left."""
    image = tmp_path / "a.png"
    PIL.Image.fromarray(two_discs()).save(image)
    server.replies["/f/a.png"] = [sends(image.read_bytes())]
    address = f"{server.address}/f/a.png"
    gone = f"{server.address}/f/gone.svs"
    listed = tmp_path / "slides.csv"
    listed.write_text(f"path,um_per_pixel\n{address}?key=secret,0.25\n{gone},\n")
    done = subprocess.run(
        [sys.executable, "-m", "monuseg", "segment", "--slides", listed, "--output", "out"],
        cwd=tmp_path, env=environment_of(tmp_path) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"{address}?***: " in done.stdout
    assert f"{gone}: no such file there" in done.stderr
    table = pd.read_csv(tmp_path / "out/segment.csv")
    assert table.image.tolist() == [f"{address}?***", f"{gone}"]
    assert table.results.tolist()[0] == "a"
    assert table.width.tolist()[0] == 120
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in left} == {
        *(f"a.nuclei.{kind}" for kind in ("csv", "geojson", "json", "png")), "segment.csv",
    }  # fmt: skip
    assert not any(b"secret" in path.read_bytes() for path in left)
    assert not list((tmp_path / "out").glob(".staged-*"))


def test_urls_among_the_inputs(tmp_path: Path) -> None:
    image = tmp_path / "b.png"
    image.touch()
    url = "s3://bucket/a.svs"
    [one, other] = inputs_of([url, image], None, tmp_path / "out")
    assert (one.url, one.place, one.shown) == (url, tmp_path / "out/a", url)
    assert (other.url, other.path, other.shown) == (None, image, str(image))
    with pytest.raises(PipelineError, match="named twice"):
        inputs_of(["https://h/a.svs?x=1", "https://h/a.svs?x=2"], None, tmp_path / "out")
