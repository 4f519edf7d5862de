"""Training with averaged weights and a slower layer, interrupted, on each of Keras's backends."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = ["tensorflow", "jax", "torch"]

# As a stage has it: compiled where the backend compiles. JAX then takes over the arrays that it is
# called with, for prediction too, and whoever else still holds one is left with nothing.
TRAIN = """
import hashlib, json, sys
from pathlib import Path
import keras
import numpy as np
from keras import layers
from stages.train.params import TrainParams
from stages.train.batches import Batches
from stages.train.checkpoint import opened
from stages.train.loop import compile_for_training, fit
from tests.stages.train.conftest import disc_image

folder = Path(sys.argv[1])
params = TrainParams.load().model_copy(update={
    "epochs": 3, "steps_per_epoch": 3, "batch_size": 2, "crop": 32, "ema_momentum": 0.7,
})
images = [disc_image("a", 1), disc_image("b", 2)]

def trained(checkpoint, progress=lambda row: None):
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    x = layers.BatchNormalization(name="normalisation")(x)
    logits = layers.Conv2D(1, 3, padding="same", name="logits")(layers.ReLU(name="relu")(x))
    model = keras.Model(image, logits, name="small")
    compile_for_training(
        model, params, 0.01, jit_compile=keras.backend.backend() == "jax",
        shares={"first": 0.5},
    )
    return fit(
        model, Batches(images[:1], params, "symmetric", workers=2), images[1:], params,
        scaling="symmetric", divisor=1, progress=progress, checkpoint=checkpoint,
    )

def told(done):
    digest = hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in done.weights))
    return {"weights": digest.hexdigest(), "history": done.history, "epoch": done.epoch}

class Stopped(Exception):
    pass

def stop(row):
    if row["epoch"] == 2:
        raise Stopped

straight = told(trained(None))
try:
    with opened(folder, "small", "0" * 64, 0) as checkpoint:
        trained(checkpoint, stop)
except Stopped:
    pass
with opened(folder, "small", "0" * 64, 0) as checkpoint:
    resumed = told(trained(checkpoint))
print(json.dumps({"straight": straight, "resumed": resumed}))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_averaged_weights_are_scored_saved_and_resumed(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "resuming at epoch 2 of 3" in done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["resumed"] == found["straight"]
    objectives = [row["objective"] for row in found["straight"]["history"]]
    assert objectives == sorted(objectives, reverse=True)
