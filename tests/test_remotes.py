"""Data through a remote into a fresh clone, and a lock or cache that is not what it should be.

What a user sees in each case, and what mends it, stands in the README's troubleshooting section.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from tests.repository import Project, environment_of

pytestmark = pytest.mark.graph

OBJECTS = Path(".dvc/cache/files/md5")
BUCKET = "nuclei"
# Ends when its standard input does, so that it never outlives the tests.
SERVER = """
import contextlib, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket; its credentials are checked by nobody."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        requests.put(f"{address}/{BUCKET}", timeout=60).raise_for_status()
        yield address
    finally:
        server.stdin.close()
        server.wait(timeout=60)
        server.stdout.close()


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of all data, by path."""
    data = (file for file in (folder / "data").rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in [*data, folder / "metrics/report.html"]
    }


def clone_repeats_nothing(graph: Project, folder: Path) -> None:
    """Push, clone, pull: the clone has all data and no stage to run."""
    graph.run("dvc", "push", "-q")
    graph.run("git", "commit", "-qam", "remote")
    try:
        graph.run("git", "clone", "-q", str(graph.folder), str(folder / "clone"))
    finally:
        graph.run("git", "reset", "-q", "--hard", "HEAD~1")
    clone = Project(folder / "clone", graph.environment | environment_of(folder / "caches"))
    clone.environment |= {n: v for n, v in graph.environment.items() if n.startswith("AWS_")}
    assert not (clone.folder / "data/raw").exists()
    clone.run("dvc", "pull", "-q")
    assert clone.repro() == []
    assert clone.run("git", "status", "--porcelain") == ""
    assert files_of(clone.folder) == files_of(graph.folder)


@pytest.mark.long  # the same from S3 is short enough
def test_a_clone_pulls_from_a_folder_and_repeats_nothing(graph: Project, tmp_path: Path) -> None:
    graph.run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    clone_repeats_nothing(graph, tmp_path)


def test_a_clone_pulls_from_s3_and_repeats_nothing(graph: Project, s3: str, tmp_path: Path) -> None:
    graph.run("dvc", "remote", "add", "-q", "-d", "store", f"s3://{BUCKET}/dvc")
    graph.run("dvc", "remote", "modify", "-q", "store", "endpointurl", s3)
    settings = tmp_path / "no settings"
    settings.touch()  # dvc-s3 takes no /dev/null
    plain = graph.environment
    graph.environment = plain | {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(settings),
        "AWS_SHARED_CREDENTIALS_FILE": str(settings),
    }
    try:
        clone_repeats_nothing(graph, tmp_path)
    finally:
        graph.environment = plain


# A lock that is not the work tree's


def test_a_lock_out_of_date_is_told_and_brought_up_to_date(graph: Project) -> None:
    lock = graph.folder / "dvc.lock"
    right = lock.read_text(encoding="utf-8")
    content = yaml.safe_load(right)
    code = next(d for d in content["stages"]["masks"]["deps"] if d["path"] == "stages/masks")
    lock.write_text(right.replace(code["md5"], "f" * 32), encoding="utf-8")
    assert "modified:           stages/masks" in graph.run("dvc", "status", "masks")
    # DVC remembers what ran: it brings the lock up to date without running anything.
    assert graph.repro() == []
    assert lock.read_text(encoding="utf-8") == right


def test_a_lock_with_the_marks_of_a_merge_is_refused_and_taken_from_git(graph: Project) -> None:
    lock = graph.folder / "dvc.lock"
    right = lock.read_text(encoding="utf-8")
    lock.write_text(f"<<<<<<< HEAD\n{right}=======\n{right}>>>>>>> other\n", encoding="utf-8")
    said = graph.finished("dvc", "repro", status=255).stderr
    assert "dvc.lock" in said
    assert "Traceback" not in said
    graph.run("git", "checkout", "-q", "--", "dvc.lock")
    assert graph.repro() == []


# A cache that is not what it should be


def cached(project: Project, path: str) -> Path:
    """Where the cache keeps the content of a file of the project."""
    digest = hashlib.md5((project.folder / path).read_bytes(), usedforsecurity=False).hexdigest()
    found = project.folder / OBJECTS / digest[:2] / digest[2:]
    assert found.is_file()
    return found


def damage(file: Path) -> None:
    """Flip the bits of a byte, as a failing disk does: size and mode stay."""
    mode = file.stat().st_mode
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    file.chmod(mode)


def writable(folder: Path) -> None:
    """`chmod -R u+w`: DVC takes a read-only object for a good one without looking at it."""
    for file in folder.rglob("*"):
        file.chmod(file.stat().st_mode | 0o200)


def test_what_the_cache_lost_and_the_work_tree_too_is_made_anew(graph: Project) -> None:
    before = files_of(graph.folder)
    cached(graph, "data/splits.csv").unlink()
    assert "not in cache:       data/splits.csv" in graph.run("dvc", "status", "tile")
    (graph.folder / "data/splits.csv").unlink()
    said = graph.finished("dvc", "checkout", status=255).stderr
    assert "Checkout failed for following targets:\ndata/splits.csv" in said
    assert graph.repro() == ["tile"]
    assert files_of(graph.folder) == before
    cached(graph, "data/splits.csv")


def test_a_damaged_object_is_found_once_the_cache_is_writable(graph: Project) -> None:
    before = files_of(graph.folder)
    mask = min((graph.folder / "data/masks").glob("*.png")).relative_to(graph.folder)
    damaged = ["data/splits.csv", str(mask)]
    for path in damaged:
        damage(cached(graph, path))
        (graph.folder / path).unlink()
    # DVC alone gives the damaged bytes out and says that all is well. If this fails one day, all
    # the better: take the remedy out of the README.
    graph.run("dvc", "checkout", "-q")
    after = files_of(graph.folder)
    assert {path for path in before if before[path] != after[path]} == set(damaged)
    assert graph.repro() == []
    writable(graph.folder / OBJECTS)
    assert graph.repro() == ["masks", "tile"]
    assert files_of(graph.folder) == before
    assert graph.run("git", "status", "--porcelain") == ""


def test_no_stage_writes_through_a_link_into_the_cache(graph: Project) -> None:
    try:
        graph.run("dvc", "config", "cache.type", "hardlink")
        graph.run("dvc", "checkout", "-q", "--relink")
        metrics = graph.folder / "data/predictions/otsu.json"
        linked = cached(graph, "data/predictions/otsu.json")
        assert metrics.samefile(linked)
        # Without DVC, which takes its links away before it runs a stage.
        graph.change("baseline.sigma=3.0")
        graph.python("stages.baseline")
        graph.python("stages.evaluate", "otsu")
        assert not metrics.samefile(linked)
        for file in (graph.folder / OBJECTS).rglob("*"):
            if file.is_file() and file.suffix != ".dir":
                digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
                assert digest == file.parent.name + file.name
    finally:
        graph.run("git", "checkout", "-q", "--", ".")
        graph.run("dvc", "checkout", "-q", "--force", "--relink")
