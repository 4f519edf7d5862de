"""Which GPU a model gets; the real run is in test_pipeline.py."""

import os
import stat
from pathlib import Path

import pytest

from stages.side_by_side import environment, gpu_count


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
