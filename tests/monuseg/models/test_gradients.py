"""Every weight of a kernel gets a gradient, the same whatever instructions a processor uses."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from monuseg.formats.rows import ModelsParams
from monuseg.models.shared.backend import X86
from monuseg.models.shared.registry import architecture
from stages.train.params import TrainParams
from tools import preset

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
NARROW: dict[str, dict[str, object]] = {
    "unet": {"width": 4, "learning_rate": 0.001},
    "segnet": {"width": 4, "levels": 5, "learning_rate": 0.001},
    "deeplabv3plus": {
        "encoder": "light",
        "output_stride": 16,
        "rates": [1, 2, 3],
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


# === Taps that no training would change ===

PRESETS = [preset.NO_PRESET, *sorted(file.stem for file in preset.PRESETS.glob("*.yaml"))]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", PRESETS)
def test_every_tap_of_every_kernel_has_a_gradient_at_the_crop_of(name: str) -> None:
    preset.main(argparse.Namespace(name=name, changes=[]))
    crop = TrainParams.load().crop
    for model in ModelsParams.load().names:
        # The number of filters changes nothing about where taps lie.
        filters = {k: v for k, v in NARROW[model].items() if k == "width" or "filters" in k}
        params = architecture(model).params.load().model_dump() | filters
        assert taps_without_gradient(model, params, crop) == {}


@pytest.mark.parametrize("encoder", ["light", "resnet50", "xception", "efficientnet_lite0"])
@pytest.mark.parametrize("stride", [8, 16])
def test_so_it_has_in_every_encoder_on_the_smallest_crop(encoder: str, stride: int) -> None:
    params = NARROW["deeplabv3plus"] | {"encoder": encoder, "output_stride": stride}
    architecture("deeplabv3plus").params.model_validate(params).require_crop(64)
    assert taps_without_gradient("deeplabv3plus", params, 64) == {}


@pytest.mark.parametrize("stride", [8, 16])
def test_the_crops_refused_are_those_that_leave_taps_without(stride: int) -> None:
    # Features 7 pixels wide at stride 16, and 6.
    params = NARROW["deeplabv3plus"] | {"rates": [2, 4, 6], "output_stride": stride}
    assert taps_without_gradient("deeplabv3plus", params, 112) == {}
    found = taps_without_gradient("deeplabv3plus", params, 96)
    assert found == {"pyramid_atrous3_convolution/kernel": 8}  # all but the middle one


def taps_without_gradient(name: str, params: dict[str, object], crop: int) -> dict[str, int]:
    """How many of a kernel's places have gradient 0 in all its filters, by kernel."""
    keras.utils.set_random_seed(1)
    found = architecture(name)
    model = found.build(found.params.model_validate(params), 1)
    noise = np.random.default_rng(1)
    inputs = noise.random((2, crop, crop, 3), dtype=np.float32)
    pulls = noise.standard_normal((2, crop, crop, 1), dtype=np.float32)
    kernels = [weight for weight in model.trainable_weights if len(weight.shape) == 4]
    with tf.GradientTape() as tape:
        objective = tf.reduce_sum(model(inputs, training=True) * pulls)
    gradients = tape.gradient(objective, [kernel.value for kernel in kernels])
    missing = {
        kernel.path: int((~np.any(gradient.numpy(), axis=(2, 3))).sum())
        for kernel, gradient in zip(kernels, gradients, strict=True)
    }
    return {kernel: count for kernel, count in missing.items() if count}
