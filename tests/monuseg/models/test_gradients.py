"""Gradients do not depend on which of its instructions a processor is asked to use."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monuseg.models.shared.backend import X86

# By how much of a variable's largest gradient one may be off: float32, summed in another order.
TOLERANCE = 1e-3

GRADIENTS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from monuseg.models.shared import registry
tf.config.threading.set_intra_op_parallelism_threads(1)
keras.utils.set_random_seed(1)
gradients = {}
for name, values in json.loads(sys.argv[1]).items():
    architecture = registry.architecture(name)
    params = architecture.params.model_validate(values)
    model = architecture.build(params, 1)
    architecture.initialise(model, params)
    noise = np.random.default_rng(1)
    inputs = noise.random((2, 64, 64, 3), dtype=np.float32)
    pulls = noise.standard_normal((2, 64, 64, 1), dtype=np.float32)
    with tf.GradientTape() as tape:
        # Statistics of normalisation as they are, so that no difference is magnified by them.
        objective = tf.reduce_sum(model(inputs, training=False) * pulls)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(objective, model.trainable_variables)
    ):
        gradients[f"{name}/{variable.path}"] = gradient.numpy()
np.savez(sys.argv[2], **gradients)
"""

# Fewer filters than a register of AVX2 holds, where kernels have remainders to treat.
NARROW = {
    "unet": {"width": 4, "learning_rate": 0.001},
    "segnet": {"width": 4, "levels": 5, "learning_rate": 0.001},
    "deeplabv3plus": {
        "encoder": "light",
        "output_stride": 16,
        "width": 4,
        "aspp_filters": 8,
        "low_level_filters": 4,
        "decoder_filters": 8,
        "weights": "none",
        "learning_rate": 0.001,
    },
}


@pytest.mark.skipif(platform.machine() not in X86, reason="these are instructions of x86")
def test_they_are_the_same_with_the_instructions_of_older_processors(tmp_path: Path) -> None:
    plain, older = (
        gradients(tmp_path / f"{name}.npz", environment)
        for name, environment in (
            ("plain", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
            ("older", {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
        )
    )
    assert plain.keys() == older.keys()
    assert {name.split("/")[0] for name in plain} == set(NARROW)
    off = {
        name: float(np.abs(older[name] - plain[name]).max() / np.abs(plain[name]).max())
        for name in plain
    }
    assert {name: value for name, value in off.items() if not value <= TOLERANCE} == {}


def gradients(file: Path, environment: dict[str, str]) -> dict[str, np.ndarray]:
    """Gradients of all three networks by variable, computed in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS, json.dumps(NARROW), str(file)],
        env=os.environ
        | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(file) as arrays:
        return dict(arrays)
