"""Parallel maps on a Dask cluster, as a user starts one: from the command line, anywhere."""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from monuseg.core import remote
from monuseg.core.errors import PipelineError
from monuseg.core.parallel import outcome_of, parallel_map
from monuseg.readers.annotations import read_regions
from tests.monuseg.core.conftest import StageMasks
from tests.monuseg.core.test_parallel import EXPECTED, HEX, annotations
from tests.processes import PATIENCE, wait_until
from tests.repository import PACKAGES, REPOSITORY

distributed = pytest.importorskip("distributed")

# Seconds that a busy machine may take to start a stage.
STARTUP = 20.0

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts `dask ARGUMENTS` in a folder of its own, which is no project's."""
    started = []

    def dask(*arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        folder = tmp_path_factory.mktemp("dask")
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("MONUSEG_", "PYTHON"))
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=folder,
            env=inherited | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield dask
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def scheduler(start: Start) -> str:
    """The address of a scheduler with two workers."""
    address = new_scheduler(start)
    new_workers(start, address, 2)
    return address


def new_scheduler(start: Start) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    wait_until(partial(listens, port))
    return f"tcp://127.0.0.1:{port}"


def new_workers(
    start: Start, address: str, count: int, **environment: str
) -> list["subprocess.Popen[bytes]"]:
    options = ("--nthreads", "1", "--no-dashboard", "--no-nanny")
    workers = [start("worker", address, *options, **environment) for _ in range(count)]
    with distributed.Client(address, timeout=PATIENCE, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=PATIENCE)
    return workers


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def on_scheduler(scheduler: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_SCHEDULER", scheduler)


@pytest.mark.usefixtures("on_scheduler")
def test_a_scheduler_maps_in_order() -> None:
    assert parallel_map(hex, HEX, title="x") == EXPECTED
    assert parallel_map(hex, [], title="x") == []


@pytest.mark.usefixtures("on_scheduler")
def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for text in ("1", "2"):
        file.write_text(text)
        assert parallel_map(Path.read_text, [file] * 3, title="x") == [text] * 3


@pytest.mark.usefixtures("on_scheduler")
def test_the_first_items_error_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"bad\.xml: malformed XML"):
        parallel_map(partial(read_regions, kind="aperio-xml"), annotations(tmp_path), title="x")


def test_a_stage_writes_the_same_on_workers_elsewhere(
    scheduler: str, stage_masks: StageMasks
) -> None:
    here = stage_masks()
    assert stage_masks(MONUSEG_SCHEDULER=scheduler) == here


def hex_at_leisure(item: int, folder: Path) -> str:
    """`hex`, after the two workers have both begun and one of them was killed."""
    (folder / str(os.getpid())).touch()
    wait_until((folder / "killed").exists)
    return hex(item)


def test_a_killed_worker_changes_nothing(
    start: Start, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = new_scheduler(start)
    # Workers find the test's own function as they find the project's.
    workers = new_workers(start, address, 2, PYTHONPATH=str(REPOSITORY))
    monkeypatch.setenv("MONUSEG_SCHEDULER", address)
    begun = tmp_path / "begun"
    begun.mkdir()

    def kill_one() -> None:
        wait_until(lambda: all((begun / str(worker.pid)).exists() for worker in workers))
        workers[0].kill()
        workers[0].wait(PATIENCE)
        (begun / "killed").touch()

    killer = Thread(target=kill_one)
    killer.start()
    assert parallel_map(partial(hex_at_leisure, folder=begun), HEX, title="x") == EXPECTED
    killer.join()
    assert workers[0].returncode == -signal.SIGKILL


# What is wrong with a cluster is one line


@pytest.mark.usefixtures("project")
def test_a_scheduler_without_dask_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_SCHEDULER", "127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PipelineError, match="pip install distributed"):
        parallel_map(hex, HEX, title="x")


def said(project: Path, scheduler: str) -> str:
    """The one line that the stage says when it fails, within 10 seconds of its start-up."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "stages.masks"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "MONUSEG_SCHEDULER": scheduler},
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - began < 10 + STARTUP
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert not (project / "data/masks").exists()
    return done.stderr


def test_a_scheduler_that_is_not_there(outlined: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        assert f"MONUSEG_SCHEDULER: {address}: no scheduler there" in said(outlined, address)


def test_a_scheduler_without_workers(outlined: Path, start: Start) -> None:
    address = new_scheduler(start)
    assert f"has no worker; start one: dask worker {address}" in said(outlined, address)


def test_workers_of_another_clones_code(outlined: Path, start: Start, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package)
    # The function that is mapped is not there by its name.
    code = tmp_path / "stages/masks/label_maps.py"
    code.write_text(code.read_text().replace("def write_mask(", "def write_other("))
    address = new_scheduler(start)
    new_workers(start, address, 1, PYTHONPATH=str(tmp_path))
    assert f"runs other code than this project's, {tmp_path / 'monuseg'}" in said(outlined, address)


def test_workers_without_the_code(outlined: Path, start: Start, tmp_path: Path) -> None:
    (tmp_path / "monuseg.py").touch()  # is found first, and is no package
    address = new_scheduler(start)
    new_workers(start, address, 1, PYTHONPATH=str(tmp_path))
    assert "lacks this project's code" in said(outlined, address)


def test_a_worker_that_does_not_see_the_files(tmp_path: Path) -> None:
    work = pickle.dumps((outcome_of, hex))
    result, error = remote._checked(work, tmp_path / ".scratch/x/code", 1)
    assert result is None
    assert f"does not see {tmp_path / '.scratch'}; let workers share" in str(error)
