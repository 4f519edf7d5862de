"""Train all models at the same time: `python -m tools.side_by_side`, or `make train-parallel`.

`dvc repro` runs one stage after the other, and three of it side by side fail on a lock
(https://github.com/treeverse/dvc/issues/11054). What works: everything before training once, then
one `dvc repro --single-item` a model. Where there are several GPUs, each model gets one.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.formats.rows import ModelsParams
from tools.dvc import DVC

LAST_SHARED_STAGE = "tile"

# NVIDIA's driver library, on Linux and in its subsystem on Windows.
DRIVER = "libcuda.so.1"

PATIENCE = 3.0  # seconds that processes have to end after each signal


def main(arguments: argparse.Namespace) -> None:
    """Bring the tiles up to date, then train every model in a process of its own.

    Raises:
        PipelineError: a stage failed.
    """
    models = ModelsParams.load().names
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        running[LAST_SHARED_STAGE] = _started(LAST_SHARED_STAGE)
        _check(running)
        gpus = gpu_count()
        for index, model in enumerate(models):
            running[f"train@{model}"] = _started(
                "--single-item", f"train@{model}", environment=environment(index, gpus)
            )
        _check(running)
    except KeyboardInterrupt:
        _end(running.values())
        raise


def environment(index: int, gpus: int) -> dict[str, str]:
    """This process's environment, with a GPU for the model of that index where there are several.

    A GPU that the user chose by MONUSEG_DEVICE_INDEX is that of all models.

    Args:
        index: of the model in the list `models`.
        gpus: how many there are.
    """
    if gpus < 2 or os.environ.get("MONUSEG_DEVICE_INDEX"):
        return dict(os.environ)
    return {**os.environ, "MONUSEG_DEVICE_INDEX": str(index % gpus)}


def gpu_count() -> int:
    """How many NVIDIA GPUs a framework will find; none is imported for it.

    The driver counts them as it does for a framework: CUDA_VISIBLE_DEVICES may hide some, by number
    or identifier, which `nvidia-smi` lists nevertheless.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def _started(*options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # Else a dvc gives up after 3 s, with its model trained, while another one hashes files.
        [*DVC, "--wait-for-lock", "repro", *options],
        env=environment,
        start_new_session=True,  # a group of its own, so that the stage can be signalled too
    )


def _check(running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait for all; raise PipelineError if one has failed."""
    failed = [stage for stage, process in running.items() if process.wait() != 0]
    if failed:
        raise PipelineError(f"{failed[0]} failed; what it said stands above")


def _end(running: Iterable[subprocess.Popen[bytes]]) -> None:
    """End each dvc and its stage, as gently as they let."""
    # DVC waits for its stage on SIGINT and then tidies up its own locks; on SIGTERM it just ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + PATIENCE
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
