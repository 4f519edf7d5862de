"""Tests of `monuseg.core.parallel`."""

import operator
import os
import threading
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from monuseg.core import parallel
from monuseg.core.errors import PipelineError
from monuseg.core.parallel import parallel_each, parallel_map
from monuseg.readers.annotations import read_regions
from tests.monuseg.core.conftest import IMAGES, StageMasks

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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_result_is_taken_in_the_items_order_and_let_go(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """Of 40 results of 5 MB, none that was taken is held."""
    monkeypatch.setenv("MONUSEG_WORKERS", workers)
    taken: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def take(result: np.ndarray) -> None:
        alive.append(sum(one() is not None for one in taken))
        assert result.shape == (5_000_000 + len(taken),)
        taken.append(weakref.ref(result))

    parallel_each(np.zeros, range(5_000_000, 5_000_040), take, title="x")
    assert len(taken) == 40
    assert max(alive) <= 1  # the last one, until the next is assigned


def test_an_error_in_taking_ends_the_map() -> None:
    def take(result: str) -> None:
        raise PipelineError(result)

    with pytest.raises(PipelineError, match="0x3"):
        parallel_each(hex, HEX, take, title="x")
    assert parallel_map(hex, HEX, title="x") == EXPECTED


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
        parallel_map(partial(read_regions, kind="aperio-xml"), annotations(tmp_path), title="x")


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_workers_is_named(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", workers)
    with pytest.raises(
        PipelineError, match=r"MONUSEG_WORKERS: .* not a whole number of at least 1"
    ):
        parallel_map(hex, HEX, title="x")


def test_a_stage_writes_the_same_with_one_worker_and_with_two(stage_masks: StageMasks) -> None:
    one = stage_masks(MONUSEG_WORKERS="1")
    assert set(one) == {*(f"{image}.png" for image in IMAGES), "counts.csv", "regions.csv"}
    assert stage_masks(MONUSEG_WORKERS="2") == one


def test_errors_of_other_threads_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda arguments: seen.append(arguments.thread.name)
    )
    parallel._keep_quiet_of_the_pool.__wrapped__()
    for name in ("ExecutorManagerThread", "another"):
        thread = threading.Thread(target=[].pop, name=name)
        thread.start()
        thread.join()
    assert seen == ["another"]
