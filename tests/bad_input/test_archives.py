"""Archives that are damaged, hostile or not to be had, through stages `download` and `extract`."""

import ast
import hashlib
import io
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monuseg.core.command import parser, run
from monuseg.formats.manifest import ImageRecord, read_records
from stages.download import __main__ as download
from stages.download.sources import fetch
from stages.extract import __main__ as extract
from stages.extract.archives import DIRECTORY_BYTES_MAX
from tests.bad_input.conftest import Refused
from tests.bad_input.making import encoded, packed, pair, pixels, put_archive, xml
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

SetParams = Callable[[dict[str, object]], None]

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1_000_000  # extract.max_bytes of these tests
CENTRAL = b"PK\x01\x02"  # begins an entry of a zip's directory
LOCAL = b"PK\x03\x04"  # begins a member


def entry(name: str, mode: int = 0o100644, content: bytes = b"x") -> bytes:
    """A zip of a whole pair and one member of a hostile name or kind."""
    packing = io.BytesIO()
    with zipfile.ZipFile(packing, "w") as file:
        for good, member in pair().items():
            file.writestr(good, member)
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, content)
    return packing.getvalue()


def named(*names: str) -> bytes:
    """A zip of images and annotations, those under a name that stands there twice too."""
    packing = io.BytesIO()
    with zipfile.ZipFile(packing, "w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *words, **options: None)
        for name in names:
            file.writestr(name, xml() if name.lower().endswith("xml") else encoded(pixels()))
    return packing.getvalue()


def patched(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """All entries that begin with `mark`, with other bytes at an offset."""
    changed = bytearray(content)
    place = content.find(mark)
    while place >= 0:
        changed[place + offset : place + offset + len(value)] = value
        place = content.find(mark, place + 4)
    return bytes(changed)


def encrypted() -> bytes:
    content = packed(pair())
    return patched(patched(content, CENTRAL, 8, b"\x01"), LOCAL, 6, b"\x01")


def flipped() -> bytes:
    """A stored image of which one byte changed under way."""
    content = bytearray(packed(pair(), zipfile.ZIP_STORED))
    content[200] ^= 1
    return bytes(content)


def huge_directory() -> bytes:
    size = DIRECTORY_BYTES_MAX + 1
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, size, 0, 0)
    return bytes(size) + end


def tar() -> bytes:
    packing = io.BytesIO()
    with tarfile.open(fileobj=packing, mode="w") as file:
        for name, content in pair().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return packing.getvalue()


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: packed(pair())[:-30], "no whole zip file"),
    "its beginning lost": (lambda: packed(pair())[300:], "zip"),
    "empty file": (lambda: b"", "no whole zip file"),
    "not a zip": (lambda: b"Rar!\x1a\x07" * 99, "no whole zip file"),
    "a web page": (lambda: LOGIN_PAGE, "no whole zip file"),
    "tar in place of zip": (tar, "no whole zip file"),
    "one changed byte": (flipped, "'a.tif' is damaged"),
    "encrypted": (encrypted, "'a.tif' is encrypted"),
    "zip bomb by declared sizes": (
        lambda: packed({"a.tif": bytes(LIMIT + 1), "a.xml": xml()}),
        f"unpacks to more than {LIMIT} bytes",
    ),
    "zip bomb of many members": (
        lambda: packed(
            {f"a{n}.tif": bytes(LIMIT // 20) for n in range(30)}
            | {f"a{n}.xml": xml() for n in range(30)}
        ),
        f"unpacks to more than {LIMIT} bytes",
    ),
    "zip bomb by a lying size": (
        lambda: patched(
            packed({"a.tif": bytes(2 * LIMIT), "a.xml": xml()}), CENTRAL, 24, struct.pack("<I", 9)
        ),
        "'a.tif' is damaged",
    ),
    "zip bomb of bzip2": (lambda: packed(pair(), zipfile.ZIP_BZIP2), "packed by method 12"),
    "zip bomb of LZMA": (lambda: packed(pair(), zipfile.ZIP_LZMA), "packed by method 14"),
    "directory of millions": (huge_directory, f"a directory of {DIRECTORY_BYTES_MAX + 1} bytes"),
    "path through ..": (lambda: entry("../evil.tif"), "'../evil.tif' has a path that leads out"),
    "path through .. within": (lambda: entry("a/../../evil.tif"), "leads out"),
    "absolute path": (lambda: entry("/evil.tif"), "leads out"),
    "path of Windows": (lambda: entry("C:\\evil.tif"), "leads out"),
    "symbolic link": (
        lambda: entry("evil.tif", stat.S_IFLNK | 0o777, b"/etc/passwd"),
        "'evil.tif' is a link or device",
    ),
    "device": (lambda: entry("evil.tif", stat.S_IFCHR | 0o666), "is a link or device"),
    "duplicate names": (lambda: named("a.tif", "a.xml", "a.tif"), "two images for id a"),
    "names that differ in case": (lambda: named("a.tif", "a.xml", "A.TIF"), "two images for id A"),
    "names that differ in folder": (
        lambda: named("a.tif", "one/a.xml", "two/a.xml"),
        "two annotations for id a: train.zip: one/a.xml and train.zip: two/a.xml",
    ),
    "a name of terminal codes": (
        lambda: named("train/\x1b[2Ja\x07.tif", "a.xml"),
        "gives the id '\\x1b[2Ja\\x07'",
    ),
    "an id that is no file name": (lambda: named("a:b.tif", "a:b.xml"), "rename the file"),
    "nested zip": (lambda: packed({"inner.zip": packed(pair())}), "no image in train.zip"),
    "no images": (lambda: packed({"readme.txt": b"x"}), "expected <id>.tif"),
    "no members": (lambda: packed({}), "an empty zip file"),
    "unknown layout": (lambda: packed({"a.h5": b"x", "a.mat": b"x"}), "expected <id>.tif"),
    "the same pixels twice": (
        lambda: packed(pair("a") | pair("b")),
        "train.zip: a.tif and train.zip: b.tif have the same pixels",
    ),
    "annotation missing": (lambda: named("a.tif"), "image without annotation: train.zip: a.tif"),
    "image missing": (lambda: named("a.tif", "a.xml", "b.xml"), "annotation without image"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_an_archive_is_refused_in_one_line(
    make: Callable[[], bytes], said: str, refused: Refused, set_params: SetParams
) -> None:
    set_params({"extract.max_bytes": LIMIT})
    put_archive(make())
    assert "train.zip" in refused(extract.main, said)


def test_a_name_of_terminal_codes_is_shown_by_its_escapes(refused: Refused) -> None:
    put_archive(named("train/\x1b[2Ja.tif", "train/a.tif", "a.xml"))
    assert "\\x1b[2Ja" in refused(extract.main)


def test_a_bomb_by_declared_sizes_writes_nothing_to_the_disk(
    set_params: SetParams, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    set_params({"extract.max_bytes": LIMIT})
    opened: list[str] = []
    plain = zipfile.ZipFile.open

    def watched(file: zipfile.ZipFile, name: zipfile.ZipInfo) -> object:
        opened.append(name.filename)
        return plain(file, name)

    make, said = REFUSED["zip bomb of many members"]
    put_archive(make())
    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    refused(extract.main, said)
    assert opened == []


def test_an_annotation_that_never_ends_is_stopped_on_the_way(
    monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr("stages.extract.raw.OUTLINES_BYTES_MAX", 100_000)
    put_archive(packed(pair() | {"a.xml": b"<Annotations>" + b" " * 5_000_000}))
    refused(extract.main, "'a.xml' unpacks to more than 100000 bytes")


def test_a_folder_without_archives_names_the_stage_to_run(refused: Refused) -> None:
    Path("data/archives").mkdir(parents=True)
    refused(extract.main, "data/archives", "stages.download")


ACCEPTED: dict[str, Callable[[], bytes]] = {
    "junk before the zip": lambda: b"#!/bin/sh\nexit\n" + bytes(999) + packed(pair()),
    "a comment after it": lambda: packed(pair())[:-2] + struct.pack("<H", 7) + b"comment",
    "zip64": lambda: zip64(pair()),
    "litter of systems": lambda: packed(pair() | {"__MACOSX/._a.tif": b"x", "Thumbs.db": b"x"}),
    "a huge file of no use": lambda: packed(pair() | {"slide.ndpi": bytes(LIMIT + 1)}),
    "a zip beside the images": lambda: packed(pair() | {"inner.zip": b"PK"}),
    "folders of Windows": lambda: packed({f"x\\{name}": file for name, file in pair().items()}),
}


def zip64(files: dict[str, bytes]) -> bytes:
    """A zip whose members have 64-bit sizes, as tools write where they do not know them."""
    packing = io.BytesIO()
    with zipfile.ZipFile(packing, "w") as archive:
        for name, content in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    return packing.getvalue()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED)
def test_an_odd_archive_that_is_whole_is_unpacked(
    make: Callable[[], bytes], set_params: SetParams
) -> None:
    set_params({"extract.max_bytes": LIMIT})
    put_archive(make())
    run(extract.main, parser("").parse_args([]))
    files = {path.name: path.read_bytes() for path in Path("data/raw").iterdir()}
    assert {name: files[name] for name in pair()} == pair()
    assert set(files) - {"ignored.csv"} == {*pair(), "manifest.csv"}
    (record,) = read_records(Path("data/raw/manifest.csv"), ImageRecord)
    assert (record.id, record.part) == ("a", "train")


# From here on: stage `download`.

ZIP = packed({"a.tif": bytes(3_000_000)}, zipfile.ZIP_STORED)
SHA256 = hashlib.sha256(ZIP).hexdigest()
CUT = 1 << 20
DRIVE, WEB = "/drive.google.com/uc", "/train.zip"


@pytest.fixture
def server(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The web and Google Drive; waits between attempts take no time."""
    monkeypatch.setenv("MONUSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MONUSEG_ARCHIVES", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with serving(monkeypatch) as server:
        yield server


@pytest.fixture
def ask(server: Server, set_params: SetParams) -> Callable[..., None]:
    """Set params.yaml to one archive of a source, and what the server answers for it."""

    def asking(source: str, *replies: Reply, sha256: str | None = SHA256, **more: object) -> None:
        wanted = {"name": "train.zip", "sha256": sha256, **more}
        wanted |= {"id": DRIVE_ID} if source == "gdrive" else {"url": server.address + WEB}
        block = {"timeout": 0.3, "retries": 0, "archives": [wanted]}
        set_params({"dataset.source": source, f"dataset.{source}": block})
        server.replies[DRIVE if source == "gdrive" else WEB] = list(replies)

    return asking


def stalled(handler: Handler) -> None:
    sends(ZIP, cut_at=1000)(handler)
    silence(handler)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Content-Disposition", 'attachment; filename="theirs.zip"')
    handler.end_headers()
    while not handler.server.stopped.is_set():
        handler.wfile.write(bytes(1 << 16))


NOT_TO_BE_HAD: dict[str, tuple[str, Reply, str]] = {
    "403 of a server": ("url", page(403, b"no"), "HTTP 403"),
    "404 of a server": ("url", page(404, b"no"), "HTTP 404"),
    "500 of a server": ("url", page(500, b"no"), "HTTP 500"),
    "403 of Drive": ("gdrive", page(403, b"<html>no</html>"), "HTTP 403"),
    "404 of Drive": ("gdrive", page(404, b"<html>no</html>"), "HTTP 404"),
    "500 of Drive": ("gdrive", page(500, b"<html>no</html>"), "HTTP 500"),
    "quota page of Drive": ("gdrive", page(200, QUOTA_PAGE), "quota of this file is used up"),
    "a page to sign in": ("url", page(200, LOGIN_PAGE), "HTML page titled 'Please sign in'"),
    "a page of terminal codes": (
        "url",
        page(200, b"<html><title>\x1b[2J</title></html>"),
        "HTML page titled '\\x1b[2J'",
    ),
    "wrong hash": ("url", sends(ZIP[:-1] + b"?"), "instead of " + SHA256),
    "no bytes": ("url", sends(b""), "HTTP 416"),
    "no answer": ("url", silence, "timed out, no byte for 0.3 s"),
    "stalled": ("url", stalled, "timed out, no byte for 0.3 s"),
    "stalled on Drive": ("gdrive", stalled, "timed out, no byte for 0.3 s"),
    "dropped": ("url", sends(ZIP, cut_at=CUT), "train.zip"),
    "dropped on Drive": ("gdrive", sends(ZIP, cut_at=CUT), "train.zip"),
    "redirected for ever": ("url", lambda handler: redirect(handler), "redirects"),
}


def redirect(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", WEB)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(("source", "reply", "said"), NOT_TO_BE_HAD.values(), ids=NOT_TO_BE_HAD)
def test_an_archive_that_does_not_come_is_one_line_with_the_way_out(
    source: str, reply: Reply, said: str, ask: Callable[..., None], refused: Refused
) -> None:
    ask(source, reply)
    line = refused(download.main, "train.zip", said, "MONUSEG_ARCHIVES")
    assert (DRIVE_ID if source == "gdrive" else WEB) in line
    assert not Path("data/archives").exists()


@pytest.mark.parametrize("source", ["url", "gdrive"])
def test_a_download_that_never_ends_is_stopped_and_dropped(
    source: str,
    ask: Callable[..., None],
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 3_000_000)
    ask(source, endless)
    refused(download.main, "more than 3000000 bytes", "size")
    assert list((tmp_path / "cache").rglob("*.part/*")) == []


@pytest.mark.parametrize("source", ["url", "gdrive"])
def test_the_next_run_resumes_after_a_drop(
    source: str, ask: Callable[..., None], refused: Refused, server: Server
) -> None:
    ask(source, sends(ZIP, cut_at=CUT))
    refused(download.main)
    ask(source, sends(ZIP))
    run(download.main, parser("").parse_args([]))
    assert Path("data/archives/train.zip").read_bytes() == ZIP
    assert server.requests[-1][1] == f"bytes={CUT}-"


def test_the_page_of_confirmation_is_followed(ask: Callable[..., None], server: Server) -> None:
    ask("gdrive", page(200, CONFIRM_PAGE))
    server.replies["/drive.usercontent.google.com/download"] = [sends(ZIP)]
    run(download.main, parser("").parse_args([]))
    assert Path("data/archives/train.zip").read_bytes() == ZIP


def test_the_cache_is_its_users_alone(ask: Callable[..., None], tmp_path: Path) -> None:
    ask("url", sends(ZIP))
    run(download.main, parser("").parse_args([]))
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.extract", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_real_process_ends_with_one_line_and_debug_shows_where(project: Path) -> None:
    put_archive(entry("../evil.tif"))
    plain, shown = started(), started("--debug")
    assert (plain.returncode, shown.returncode) == (1, 1)
    assert plain.stderr.count("\n") == 1
    assert plain.stderr.startswith(
        "error: data/archives/train.zip: member '../evil.tif' has a path"
    )
    assert "Traceback" in shown.stderr
    assert "PipelineError: data/archives/train.zip: member '../evil.tif'" in shown.stderr
    assert sorted(path.name for path in Path("data").iterdir()) == ["archives"]
    assert not (project / "evil.tif").exists()


# Calls that run what they read, or trust whom they should not.
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "system", "popen", "extractall", "mktemp"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}


def violations(source: str) -> list[str]:
    """What code does that bad input could use."""
    found = []
    tree = ast.parse(source)
    is_pyyaml = any(
        isinstance(node, ast.Import) and "yaml" in [alias.name for alias in node.names]
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            of = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = of + [alias.name for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
            found += [name for name in names if name.startswith("xml.")]  # without defusedxml
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        last = called.rpartition(".")[2]
        if last in FORBIDDEN_CALLS and called != "re.compile":
            found.append(called)
        if options.get("shell", "False") != "False" or options.get("verify", "True") != "True":
            found.append(f"{called}({options})")
        if called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append(f"{called} without allow_pickle=False")
        if is_pyyaml and called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            found.append(called)
        if called == "YAML" and options.get("typ", "'rt'") not in ("'rt'", "'safe'"):
            found.append(f"YAML({options})")
        if last == "load_model" and options.get("safe_mode", "True") != "True":
            found.append(called)
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from xml.etree import ElementTree",
        "np.load(path, mmap_mode='r')",
        "np.load(path, allow_pickle=True)",
        "import yaml; yaml.load(text, Loader)",
        "YAML(typ='unsafe')",
        "subprocess.run(words, shell=True)",
        "requests.get(url, verify=False)",
        "os.system(words)",
        "eval(text)",
        "archive.extractall(folder)",
    ],
)
def test_the_scan_of_the_code_finds_what_it_looks_for(code: str) -> None:
    assert violations(code)


def test_no_code_runs_what_it_reads_or_trusts_an_unverified_server() -> None:
    modules = sorted((ROOT / "stages").rglob("*.py"))
    assert len(modules) > 50
    found = {path.name: violations(path.read_text(encoding="utf-8")) for path in modules}
    assert {name: what for name, what in found.items() if what} == {}
