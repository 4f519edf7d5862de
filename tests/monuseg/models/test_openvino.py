"""The networks on OpenVINO, which needs no TensorFlow, against what they are on TensorFlow."""

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

name, given, folder, engine = json.loads(sys.argv[1])
params = PredictParams.load().model_copy(update={"backend": engine})
runtime = backend.configure(params, 0)
from monuseg.models.shared.registry import architecture
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
images = np.random.default_rng(2).uniform(-1, 1, (2, 64, 96, 3)).astype(np.float32)
np.savez(
    f"{folder}/{name}-{engine}.npz", both=run(images), tall=run(images[:1].swapaxes(1, 2).copy())
)
print(runtime, "tensorflow" in sys.modules)
"""


def logits(model: str, folder: Path, engine: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Of two images of 64 x 96 pixels, of the first one turned, and what was printed."""
    import json

    arguments = json.dumps([model, MODELS[model], str(folder), engine])
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", LOGITS, arguments],
        env=inherited | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / f"{model}-{engine}.npz") as found:
        return found["both"], found["tall"], done.stdout.strip()


@pytest.mark.parametrize("model", MODELS)
def test_the_same_logits_within_float_error_and_without_tensorflow(
    model: str, tmp_path: Path
) -> None:
    both, tall, _ = logits(model, tmp_path, "tensorflow")
    found_both, found_tall, printed = logits(model, tmp_path, "openvino")
    assert printed == "openvino on CPU, float32 False"
    assert np.ptp(both) > 1
    for expected, found in ((both, found_both), (tall, found_tall)):
        assert found.shape == expected.shape
        away = np.abs(found - expected) / np.ptp(expected)
        # Where two pixels of a pooling window tie within rounding, SegNet unpools to the other.
        assert np.mean(away > 1e-4) < (0.02 if model == "segnet" else 1e-9)


@pytest.mark.parametrize(
    ("key", "value"), [("device", "gpu"), ("xla", "on"), ("precision", "mixed_float16")]
)
def test_what_it_cannot_do_is_refused(key: str, value: str) -> None:
    changed = {"backend": "openvino", "deterministic": False, key: value}
    with pytest.raises(PipelineError, match=f"{key}: {value} contradicts backend: openvino"):
        refuse_contradictions(PredictParams.load().model_copy(update=changed))
