"""Which GPU a model gets; the real run is in test_pipeline.py."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import SlowProject, left, wait_until
from tools.side_by_side import DRIVER, environment, gpu_count


def test_each_model_gets_a_gpu_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONUSEG_DEVICE_INDEX", raising=False)
    given = [environment(index, 2)["MONUSEG_DEVICE_INDEX"] for index in range(3)]
    assert given == ["0", "1", "0"]


@pytest.mark.parametrize("gpus", [0, 1])
def test_without_a_choice_the_environment_stays(gpus: int) -> None:
    assert environment(2, gpus) == dict(os.environ)


def test_a_gpu_that_the_user_chose_is_that_of_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_DEVICE_INDEX", "1")
    assert [environment(index, 2)["MONUSEG_DEVICE_INDEX"] for index in range(3)] == ["1"] * 3
    monkeypatch.setenv("MONUSEG_DEVICE_INDEX", "")  # as good as unset
    assert environment(0, 2)["MONUSEG_DEVICE_INDEX"] == "0"


class Driver:
    """NVIDIA's, on a machine of two GPUs of which CUDA_VISIBLE_DEVICES shows some, by number."""

    def cuInit(self, flags: int) -> int:  # noqa: N802
        """CUDA_ERROR_NO_DEVICE if none is visible."""
        return 0 if self._visible() else 100

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        """Those that are visible."""
        count._obj.value = self._visible()
        return 0

    def _visible(self) -> int:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
        return len({"0", "1"} & set(shown))


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("1", 1), ("0,1", 2), ("-1", 0)])
def test_gpus_that_cuda_hides_do_not_count(
    visible: str | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", {DRIVER: Driver()}.__getitem__)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_count() == count


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu_count() == 0


# In place of DVC, which ignores SIGINT while a stage runs; the stage may do so or not.
DVC = '''"""Runs `tile` at once; trains until it is told to end."""
import signal, subprocess, sys
STAGE = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, getattr(signal, sys.argv[2]))
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
if __name__ == "__main__" and "train@" in sys.argv[-1]:
    stage = subprocess.Popen([sys.executable, "-c", STAGE, sys.argv[-1], "ACTION"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(stage.wait())
'''


@pytest.mark.parametrize(
    ("number", "action"), [(signal.SIGINT, "SIG_DFL"), (signal.SIGTERM, "SIG_IGN")]
)
def test_a_signal_ends_all_trainings(tmp_path: Path, number: signal.Signals, action: str) -> None:
    project = SlowProject(tmp_path)
    (tmp_path / "dvc.py").write_text(DVC.replace("ACTION", action))
    (tmp_path / "params.yaml").write_text("models: [unet, segnet]\n")
    try:
        training = project.start(sys.executable, "-m", "tools.side_by_side")
        for model in ("unet", "segnet"):
            wait_until((tmp_path / f"train@{model}").exists)
        training.send_signal(number)
        _, stderr = training.communicate(timeout=30)
        assert training.returncode == 128 + number
        assert stderr == f"error: interrupted by {number.name}; run it again to go on\n"
        assert left(project.environment) == []
    finally:
        project.close()
