"""One step of training on each of Keras's backends, from the same weights, ends the same."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ["jax", "torch"]
# Most of JAX's time for one step is XLA's, which compiles it; without optimisation a fraction.
QUICK_JAX = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
# Of a weight's change. A rounding error decides where a value is nearly 0, for ReLU, or two in a
# window are nearly equal, for pooling; then a gradient is that of another pixel. A layer computed
# otherwise is off by its whole change.
TYPICAL_ERROR = 1e-4
LARGEST_ERROR = 0.05
MODELS: dict[str, dict[str, object]] = {
    "unet": {"width": 4},
    "segnet": {"width": 4, "levels": 5},
    "deeplabv3plus": {
        "encoder": "light",
        "output_stride": 8,
        "width": 4,
        "rates": [1, 2, 3],
        "aspp_filters": 8,
        "low_level_filters": 4,
        "decoder_filters": 8,
        "weights": "none",
    },
}

STEP = """
import json, sys
import keras
import numpy as np
from monuseg.models.shared.registry import architecture
from stages.train.losses import cross_entropy_dice

keras.utils.set_random_seed(1)
folder, models = sys.argv[1], json.loads(sys.argv[2])
random = np.random.default_rng(1)
# Few pixels, so that there is hardly one whose gradient a rounding error decides.
images = random.uniform(-1, 1, (2, 32, 64, 3)).astype(np.float32)
targets = (random.random((2, 32, 64, 1)) > 0.7).astype(np.float32)
for name, params in models.items():
    found = architecture(name)
    model = found.build(found.params.model_validate({"learning_rate": 0.1} | params), 1)
    if len(sys.argv) > 3:
        with np.load(f"{sys.argv[3]}/{name}.npz") as given:
            model.set_weights([given[f"before{i}"] for i in range(len(model.weights))])
    before = model.get_weights()
    # Plain descent: what is compared is gradients, and Adam's first step is only their signs.
    model.compile(keras.optimizers.SGD(0.1), cross_entropy_dice(1.0))
    objective = float(model.train_on_batch(images, targets))
    np.savez(
        f"{folder}/{name}.npz",
        objective=objective,
        **{f"before{i}": weight for i, weight in enumerate(before)},
        **{f"after{i}": weight for i, weight in enumerate(model.get_weights())},
    )
"""


Steps = Callable[[str], Path]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """A folder of <model>.npz by backend: weights before and after a step, and the objective.

    All begin with the weights that TensorFlow begins with.
    """

    @functools.cache
    def run(backend: str) -> Path:
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed")
        folder = tmp_path_factory.mktemp(backend)
        given = [] if backend == "tensorflow" else [str(run("tensorflow"))]
        done = subprocess.run(
            [sys.executable, "-c", STEP, str(folder), json.dumps(MODELS), *given],
            env=os.environ | {"KERAS_BACKEND": backend} | QUICK_JAX,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return folder

    return run


@pytest.mark.parametrize("model", MODELS)
def test_a_step_on_tensorflow_moves_the_weights(steps: Steps, model: str) -> None:
    with np.load(steps("tensorflow") / f"{model}.npz") as step:
        assert np.isfinite(step["objective"])
        moved = [
            not np.array_equal(step[f"before{i}"], step[f"after{i}"])
            for i in range(len(step.files) // 2)
        ]
    assert all(moved)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_ends_the_same_within_float_error(steps: Steps, backend: str, model: str) -> None:
    with (
        np.load(steps("tensorflow") / f"{model}.npz") as expected,
        np.load(steps(backend) / f"{model}.npz") as found,
    ):
        assert sorted(expected.files) == sorted(found.files)
        np.testing.assert_allclose(found["objective"], expected["objective"], rtol=1e-5)
        errors = []
        for i in range(len(expected.files) // 2):
            before = expected[f"before{i}"]
            np.testing.assert_array_equal(found[f"before{i}"], before)
            step, found_step = expected[f"after{i}"] - before, found[f"after{i}"] - before
            errors.append(np.abs(found_step - step).max() / np.abs(step).max())
    assert np.median(errors) < TYPICAL_ERROR
    assert max(errors) < LARGEST_ERROR
