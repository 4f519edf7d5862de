"""The networks on OpenVINO, which needs no TensorFlow, against what they are on TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.inference.params import PredictParams
from monuseg.models.shared.backend import refuse_contradictions
from tests.monuseg.models.test_backends import MODELS

LOGITS = """
import json, sys
import numpy as np
from monuseg.inference.params import PredictParams
from monuseg.models.shared import backend

engine, folder, models = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
params = PredictParams.load().model_copy(update={"backend": engine})
runtime = backend.configure(params, 0)
from monuseg.models.shared.registry import architecture
images = np.random.default_rng(2).uniform(-1, 1, (2, 64, 96, 3)).astype(np.float32)
for name, given in models.items():
    found = architecture(name)
    model = found.build(found.params.model_validate({"learning_rate": 0.1} | given), 3)
    weights = f"{folder}/{name}.weights.h5"
    if engine == "tensorflow":
        generator = np.random.default_rng(1)
        # Statistics of normalisation that are not those of a new layer, so that they count.
        model.set_weights([abs(w + generator.normal(0, 0.1, w.shape)) for w in model.get_weights()])
        model.save_weights(weights)
    else:
        model.load_weights(weights)
    run = backend.inference(model, runtime)
    tall = run(images[:1].swapaxes(1, 2).copy())
    np.savez(f"{folder}/{name}-{engine}.npz", both=run(images), tall=tall)
print(runtime, "tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def logits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of <model>-<engine>.npz, and what was printed on OpenVINO."""
    folder = tmp_path_factory.mktemp("logits")
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    printed = ""
    for engine in ("tensorflow", "openvino"):
        done = subprocess.run(
            [sys.executable, "-c", LOGITS, engine, str(folder), json.dumps(MODELS)],
            env=inherited | {"CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout.strip()
    return folder, printed


def test_it_computes_without_tensorflow(logits: tuple[Path, str]) -> None:
    assert logits[1] == "openvino on CPU, float32 False"


@pytest.mark.parametrize("model", MODELS)
def test_the_same_logits_within_float_error(logits: tuple[Path, str], model: str) -> None:
    folder, _ = logits
    with (
        np.load(folder / f"{model}-tensorflow.npz") as expected,
        np.load(folder / f"{model}-openvino.npz") as found,
    ):
        for kind in ("both", "tall"):  # two images, wide; one, tall
            assert found[kind].shape == expected[kind].shape
            spread = np.ptp(expected[kind])
            assert spread > 1
            away = np.abs(found[kind] - expected[kind]) / spread
            # Where two pixels of a pooling window tie within rounding, SegNet unpools to the other.
            assert np.mean(away > 1e-4) < (0.02 if model == "segnet" else 1e-9)


@pytest.mark.parametrize(
    ("key", "value"), [("device", "gpu"), ("xla", "on"), ("precision", "mixed_float16")]
)
def test_what_it_cannot_do_is_refused(key: str, value: str) -> None:
    changed = {"backend": "openvino", "deterministic": False, key: value}
    with pytest.raises(PipelineError, match=f"{key}: {value} contradicts backend: openvino"):
        refuse_contradictions(PredictParams.load().model_copy(update=changed))
