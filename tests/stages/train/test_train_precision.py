"""Stage `train` says what it computes in, and records it beside the weights."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT, SetParams
from tests.test_resume import write_tiles

SMALL = {
    "train.precision": "mixed_bfloat16",
    "train.device": "cpu",
    "train.epochs": 1,
    "train.steps_per_epoch": 2,
    "train.batch_size": 2,
    "train.crop": 32,
    "train.warmup": 0.5,
    "unet.width": 2,
    "unet.learning_rate": 0.01,
}


def test_the_precision_is_printed_and_recorded(
    project: Path, set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    set_params(dict(SMALL))
    shutil.copy(ROOT / "requirements-compute.txt", project)
    for split, images in (("train", "ab"), ("validation", "c")):
        write_tiles(project / "data/tiles" / split, images)
    done = subprocess.run(
        [sys.executable, "-m", "stages.train", "unet"],
        env=os.environ | {"MONUSEG_SCRATCH": str(project / "scratch")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, row = done.stdout.splitlines()
    assert said.endswith("1 validation images, tensorflow on CPU, mixed_bfloat16")
    # One step of warm-up, then all of the learning rate, which is the last step's.
    assert row.startswith("epoch 1, learning_rate 0.01, ")
    card = json.loads((project / "data/models/unet.json").read_text())
    assert card["precision"] == "mixed_bfloat16"
    kinds = set()
    with h5py.File(project / "data/models/unet.weights.h5") as file:
        file.visititems(lambda _, item: kinds.add(getattr(item, "dtype", None)))
    assert kinds == {None, np.dtype("float32")}  # None: of groups
