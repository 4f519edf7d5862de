"""A training process that is killed, and run again, ends in the bytes of one that was not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monuseg.formats import tiles
from stages.train.checkpoint import INDEX
from tests.repository import PACKAGES

REPOSITORY = Path(__file__).resolve().parents[1]
OUTS = ("data/models/unet.weights.h5", "data/models/unet.json", "metrics/history/unet.csv")
EPOCHS = 40
KILLED_AFTER = 2
# Bytes. Output is read no further than the line that it is killed at, so that the process can run
# ahead by what a pipe of this size holds, under 35 lines, and never to its end.
PIPE = 4096
SMALL = [
    f"train.epochs={EPOCHS}", "train.steps_per_epoch=1", "train.batch_size=2", "train.crop=32",
    "train.threads=1", "unet.width=2", "models=[unet]",
]  # fmt: skip
# Seconds; far above what any step takes, so that a process that hangs fails the test.
PATIENCE = 600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a few tiles, and params for a training of seconds."""
    project = tmp_path / "project"
    project.mkdir()
    for package in PACKAGES:
        (project / package).symlink_to(REPOSITORY / package)
    for name in ("params.yaml", "requirements-compute.txt"):
        shutil.copy(REPOSITORY / name, project)
    for split, images in (("train", "ab"), ("validation", "c")):
        write_tiles(project / "data/tiles" / split, images)
    subprocess.run(
        [sys.executable, "-m", "tools.preset", "default", *SMALL], cwd=project, check=True
    )
    return project


def write_tiles(folder: Path, images: str) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(images))
    rows: list[dict[str, object]] = []
    for image in images:
        labels = np.zeros((64, 64), np.uint16)
        labels[10:30, 20:50] = 1
        pixels = generator.integers(0, 256, (64, 64, 3), np.uint8)
        pixels[labels > 0] //= 2
        tiles.write_image(folder, image, pixels, labels, 64)
        rows += tiles.tile_rows(image, "liver", 0.25, labels, 64, 64)
    pd.DataFrame(rows, columns=tiles.COLUMNS).to_csv(folder / tiles.INDEX, index=False)


def started(folder: Path, pipe: int = -1) -> subprocess.Popen[bytes]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MONUSEG_", "KERAS_", "DVC_"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", "unet"],
        cwd=folder, env=inherited | {"MONUSEG_CHECKPOINT_SECONDS": "0"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pipesize=pipe,
    )  # fmt: skip


def saved(folder: Path) -> dict[str, Any] | None:
    """What the folder's checkpoint says of the training, if there is one."""
    for index in (folder / ".scratch/training").glob(f"unet-*/{INDEX}"):
        values: dict[str, Any] = json.loads(index.read_text().splitlines()[1])["values"]
        return values
    return None


def test_killed_and_run_again_it_ends_in_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    uninterrupted = tmp_path / "uninterrupted"
    shutil.copytree(folder, uninterrupted)
    with started(folder, PIPE) as killed:
        # Each line of standard output is an epoch, whose state is saved after it.
        assert killed.stdout is not None
        for _ in killed.stdout:
            values = saved(folder)
            if values and values["epoch"] >= KILLED_AFTER:
                break
        killed.kill()
        killed.communicate(timeout=PATIENCE)
    assert killed.returncode < 0, "it ended before it could be killed"
    assert not any((folder / out).exists() for out in OUTS)
    values = saved(folder)
    assert values is not None
    done = values["epoch"]

    with started(uninterrupted) as whole, started(folder) as again:
        whole_said, whole_errors = whole.communicate(timeout=PATIENCE)
        again_said, again_errors = again.communicate(timeout=PATIENCE)
    assert (whole.returncode, whole_errors) == (0, b"")
    assert (again.returncode, again_errors) == (0, b"")
    assert f"resuming at epoch {done + 1} of {EPOCHS}\n".encode() in again_said
    assert again_said.count(b"\nepoch ") == EPOCHS - done
    assert whole_said.count(b"\nepoch ") == EPOCHS
    for out in OUTS:
        assert (folder / out).read_bytes() == (uninterrupted / out).read_bytes(), out
    for project in (folder, uninterrupted):
        assert [path.name for path in (project / ".scratch/training").iterdir()] == ["lock"]
