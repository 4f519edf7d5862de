"""Train all models at the same time: `python -m stages.side_by_side`, or `make train-parallel`.

`dvc repro` runs one stage after the other, and three of it side by side fail on a lock
(https://github.com/treeverse/dvc/issues/11054). What works: everything before training once, then
one `dvc repro --single-item` a model. Where there are several GPUs, each model gets one.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from types import FrameType

from stages.command import parser, run
from stages.errors import PipelineError
from stages.params.models import ModelsParams

LAST_SHARED_STAGE = "tile"


def main(arguments: argparse.Namespace) -> None:
    """Bring the tiles up to date, then train every model in a process of its own.

    Raises:
        PipelineError: a stage failed.
    """
    models = ModelsParams.load().names
    _ended(subprocess.Popen(_repro(LAST_SHARED_STAGE)), LAST_SHARED_STAGE)
    gpus = gpu_count()
    running = {
        model: subprocess.Popen(
            _repro("--single-item", f"train@{model}"),
            env=environment(index, gpus),
            start_new_session=True,  # a group of its own, so that DVC's child can be ended too
        )
        for index, model in enumerate(models)
    }
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        failed = [model for model, process in running.items() if process.wait() != 0]
    except KeyboardInterrupt:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in running.values():
            process.wait()
        raise PipelineError("interrupted; run it again to train what is not trained") from None
    if failed:
        raise PipelineError(f"train@{failed[0]} failed; what it said stands above")


def environment(index: int, gpus: int) -> dict[str, str]:
    """This process's environment, with a GPU for the model of that index where there are several.

    Args:
        index: of the model in the list `models`.
        gpus: how many there are.
    """
    if gpus < 2:
        return dict(os.environ)
    return {**os.environ, "MONUSEG_DEVICE_INDEX": str(index % gpus)}


def gpu_count() -> int:
    """How many NVIDIA GPUs the driver lists; no framework is imported for it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    listed = subprocess.run([command, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _repro(*options: str) -> list[str]:
    return [sys.executable, "-m", "dvc", "repro", *options]


def _ended(process: subprocess.Popen[bytes], stage: str) -> None:
    if process.wait() != 0:
        raise PipelineError(f"{stage} failed; what it said stands above")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
