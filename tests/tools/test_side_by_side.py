"""Which GPU a model gets; the real run is in test_pipeline.py."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.processes import SlowProject, left, wait_until
from tools.side_by_side import environment, gpu_count


def test_each_model_gets_a_gpu_where_there_are_several() -> None:
    given = [environment(index, 2)["MONUSEG_DEVICE_INDEX"] for index in range(3)]
    assert given == ["0", "1", "0"]


@pytest.mark.parametrize("gpus", [0, 1])
def test_without_a_choice_the_environment_stays(gpus: int) -> None:
    assert environment(2, gpus) == dict(os.environ)


def test_gpus_are_counted_as_the_driver_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_count() == 0
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: B (UUID: y)'\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    assert gpu_count() == 2


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
