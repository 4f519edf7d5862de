"""Tests of `monuseg.core.parallel`."""

import operator
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.parallel import parallel_map
from monuseg.formats.images import write_rgb
from monuseg.formats.manifest import ImageRecord, write_records
from monuseg.readers.aperio import read_regions

ROOT = Path(__file__).resolve().parents[3]

# Functions that other processes can find: of the standard library and of the project.
HEX = [3, 1, 2, 255, 0, 16]
EXPECTED = ["0x3", "0x1", "0x2", "0xff", "0x0", "0x10"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONUSEG_SCHEDULER", raising=False)
    monkeypatch.setenv("MONUSEG_WORKERS", "2")


@pytest.mark.parametrize("workers", ["1", "2", "9"])
def test_results_come_in_the_items_order(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", workers)
    assert parallel_map(hex, iter(HEX), title="x") == EXPECTED
    assert parallel_map(hex, [7], title="x") == ["0x7"]
    assert parallel_map(hex, [], title="x") == []


def test_one_worker_is_this_process_and_two_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [os.getpid] * 3
    assert os.getpid() not in parallel_map(operator.call, asked, title="x")
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    assert set(parallel_map(operator.call, asked, title="x")) == {os.getpid()}


def annotations(folder: Path) -> list[Path]:
    """A good file, then two that fail in different ways."""
    paths = [folder / name for name in ("good.xml", "bad.xml", "worse.xml")]
    for path, text in zip(paths, ("<Annotations/>", "<Annotations>", "<html/>"), strict=True):
        path.write_text(text)
    return paths


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_first_items_error_comes_out_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: str
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", workers)
    with pytest.raises(PipelineError, match=r"bad\.xml: malformed XML"):
        parallel_map(read_regions, annotations(tmp_path), title="x")


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_workers_is_named(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", workers)
    with pytest.raises(
        PipelineError, match=r"MONUSEG_WORKERS: .* not a whole number of at least 1"
    ):
        parallel_map(hex, HEX, title="x")


def stage_masks(project: Path, **environment: str) -> dict[str, bytes]:
    """What `python -m stages.masks` writes, run as DVC does."""
    subprocess.run(
        [sys.executable, "-m", "stages.masks", "--debug"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=True,
    )
    return {path.name: path.read_bytes() for path in (project / "data" / "masks").iterdir()}


@pytest.fixture
def outlined(project: Path) -> Path:
    """A project with three annotated images."""
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((2, 2), (7, 2), (7, 6)))
    region = f"<Region><Vertices>{vertices}</Vertices></Region>"
    records = []
    for image_id in "abc":
        write_rgb(raw / f"{image_id}.tif", np.zeros((9, 11, 3), np.uint8))
        (raw / f"{image_id}.xml").write_text(
            f"<Annotations><Annotation><Regions>{region}</Regions></Annotation></Annotations>"
        )
        records.append(ImageRecord(image_id, "lung", "train", 0.25, "aperio-xml", "0", "0"))
    write_records(raw / "manifest.csv", records)
    return project


def test_a_stage_writes_the_same_with_one_worker_and_with_two(outlined: Path) -> None:
    one = stage_masks(outlined, MONUSEG_WORKERS="1")
    assert sorted(one) == ["a.png", "b.png", "c.png", "counts.csv", "regions.csv"]
    assert stage_masks(outlined, MONUSEG_WORKERS="2") == one


@pytest.fixture
def scheduler(project: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a Dask cluster within this process, in the project's folder."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=tmp_path / "dask",
    ) as cluster:
        yield cluster.scheduler_address


def test_a_scheduler_maps_in_order(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_SCHEDULER", scheduler)
    assert parallel_map(hex, HEX, title="x") == EXPECTED
    assert parallel_map(hex, [], title="x") == []
    # Called anew for every item, though all are equal: a file may have changed in between.
    assert len(set(parallel_map(operator.call, [uuid.uuid4] * 3, title="x"))) == 3


def test_a_schedulers_first_error_comes_out_as_it_is(
    scheduler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MONUSEG_SCHEDULER", scheduler)
    with pytest.raises(PipelineError, match=r"bad\.xml: malformed XML"):
        parallel_map(read_regions, annotations(tmp_path), title="x")


def test_a_stage_writes_the_same_on_a_scheduler(outlined: Path, scheduler: str) -> None:
    here = stage_masks(outlined)
    assert stage_masks(outlined, MONUSEG_SCHEDULER=scheduler) == here


def test_a_scheduler_without_dask_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_SCHEDULER", "127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PipelineError, match="pip install distributed"):
        parallel_map(hex, HEX, title="x")
