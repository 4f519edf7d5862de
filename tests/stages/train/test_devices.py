"""Training on several devices, of one process or two: the curve of one device, written once."""

import csv
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import ROOT, SetParams
from tests.test_resume import write_tiles

PARAMS: dict[str, object] = {
    "train.backend": "jax",
    "train.device": "cpu",
    "train.threads": 2,  # one a device
    "train.epochs": 3,
    "train.steps_per_epoch": 2,
    "train.batch_size": 4,
    "train.crop": 32,
    "train.ema_momentum": 0.7,
    "train.clip_norm": 0.1,  # clips every step: the norm is that of the whole batch's gradients
    "train.deep_supervision": 0.0,
    # XLA takes minutes to compile a U-Net for a CPU.
    "segnet.width": 4,
    "segnet.levels": 1,
    "segnet.learning_rate": 0.01,
}
# The stage, on a processor that JAX takes for some devices.
STAGE = """
import runpy, sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv.pop(1)))
runpy.run_module("stages.train", run_name="__main__", alter_sys=True)
"""
PATIENCE = 600  # seconds; a training that waits for itself fails


@pytest.fixture
def training(project: Path, set_params: SetParams, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with tiles and params for a training of seconds."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("MONUSEG_CHECKPOINT_SECONDS", "0")
    set_params(dict(PARAMS))
    shutil.copy(ROOT / "requirements-compute.txt", project)
    for split, images in (("train", "ab"), ("validation", "c")):
        write_tiles(project / "data/tiles" / split, images)
    return project


def start(folder: Path, devices: int, **environment: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-c", STAGE, str(devices), "segnet"],
        cwd=folder,
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]", status: int = 0) -> tuple[str, str]:
    """What a process wrote until it ended with this status."""
    try:
        found = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == status, found[1]
    return found


def history(folder: Path) -> npt.NDArray[np.float64]:
    with (folder / "metrics/history/segnet.csv").open() as file:
        return np.array([list(row.values()) for row in csv.DictReader(file)], float)


@pytest.mark.long
def test_the_curve_is_that_of_one_device(training: Path, set_params: SetParams) -> None:
    said(start(training, 1))
    one = history(training)
    assert one.shape == (3, 6)
    set_params({"train.devices": 2})
    assert "jax on CPU, float32, 2 devices" in said(start(training, 2))[0]
    np.testing.assert_allclose(history(training), one, rtol=1e-4)

    # Two processes, as on two machines: with folders of their own, and one interrupted run.
    other = training.with_name("other")
    shutil.copytree(training, other, symlinks=True, ignore=shutil.ignore_patterns(".scratch"))
    for folder in (training, other):
        shutil.rmtree(folder / "metrics")
        shutil.rmtree(folder / "data/models")
    first, second = start_both(training, other)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("epoch 2"):
        assert first.poll() is None, first.communicate()[1]
    first.kill()
    second.kill()
    said(first, -9)
    said(second, -9)
    first, second = start_both(training, other)
    assert "resuming at epoch" in said(first)[0]
    assert "epoch 3" not in said(second)[0]
    np.testing.assert_allclose(history(training), one, rtol=1e-4)
    assert {path.name for path in (training / "data/models").iterdir()} == {
        "segnet.json",
        "segnet.weights.h5",
    }
    assert not (other / "metrics").exists()
    assert not (other / "data/models").exists()


def start_both(*folders: Path) -> list["subprocess.Popen[str]"]:
    """One training in a process for each folder, with a device each."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    return [
        start(
            folder,
            1,
            MONUSEG_PROCESSES=len(folders),
            MONUSEG_PROCESS_INDEX=index,
            MONUSEG_COORDINATOR=f"localhost:{port}",
        )
        for index, folder in enumerate(folders)
    ]


@pytest.mark.parametrize(
    ("params", "devices", "error"),
    [
        ({"train.devices": 3}, 2, "train.devices: 3, but 1 process(es) with 2 CPU(s)"),
        ({"train.devices": "all", "train.threads": 1}, 2, "train.threads: 1 are too few for 2"),
        (
            {"train.devices": "all", "train.batch_size": 3},
            2,
            "train.batch_size: 3 is not divisible",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(
    training: Path, set_params: SetParams, params: dict[str, object], devices: int, error: str
) -> None:
    set_params(params)
    line, rest = said(start(training, devices), status=1)[1].split("\n", 1)
    assert line.startswith(f"error: params.yaml: {error}")
    assert not rest


def test_several_processes_need_jax(
    training: Path, set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params({"train.backend": "tensorflow"})
    several = {"PROCESSES": 2, "PROCESS_INDEX": 1, "COORDINATOR": "localhost:1"}
    process = start(training, 1, **{f"MONUSEG_{name}": value for name, value in several.items()})
    assert "need params.yaml: train.backend: jax" in said(process, status=1)[1]
