"""Choosing a backend, in processes of their own: Keras can be imported only once."""

import importlib.util
import os
import platform
import subprocess
import sys

import pytest

from monuseg.models.shared.backend import ONEDNN, X86

CONFIGURE = """
import sys, json
from monuseg.models.shared import backend
from monuseg.core.command import parser, run
from stages.train.params import TrainParams
changes = json.loads(sys.argv[1])
def main(arguments):
    params = TrainParams.load()
    params = TrainParams.model_validate({**params.model_dump(), **changes})
    print(json.dumps(vars(backend.configure(params, 1)), sort_keys=True))
sys.argv[1:] = []
run(main, parser("").parse_args())
"""


def configure(changes: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", CONFIGURE, changes],
        env=inherited | {"CUDA_VISIBLE_DEVICES": "-1"} | environment,
        capture_output=True,
        text=True,
    )


def test_without_a_gpu_auto_means_float32_on_the_cpu_without_xla() -> None:
    done = configure("{}")
    assert done.stdout.strip() == (
        '{"backend": "tensorflow", "gpu": false, "jit_compile": false, "precision": "float32"}'
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        ('{"device": "gpu"}', {}, "params.yaml: train.device: gpu, but tensorflow finds none"),
        ("{}", {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND=jax contradicts params.yaml: train"),
        ("{}", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "TF_ENABLE_ONEDNN_OPTS=0 would change results"),
        ('{"xla": "on"}', {}, "params.yaml: train.xla: on contradicts deterministic: true"),
    ],
)
def test_contradictions_end_in_one_line(
    changes: str, environment: dict[str, str], message: str
) -> None:
    done = configure(changes, **environment)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_backend_that_is_not_installed_is_named() -> None:
    if importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is installed here")
    done = configure('{"backend": "torch"}')
    assert done.returncode == 1
    assert "params.yaml: train.backend: torch is not installed" in done.stderr


def test_jax_is_quiet_and_reserves_no_memory_unless_told_to() -> None:
    script = CONFIGURE + 'import os\nprint(os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"])\n'
    for given, found in (({}, "false"), ({"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}, "true")):
        done = subprocess.run(
            [sys.executable, "-c", script, '{"backend": "jax"}'],
            env={k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | given,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines() == [
            '{"backend": "jax", "gpu": false, "jit_compile": true, "precision": "float32"}',
            found,
        ]
        assert done.stderr == ""


ONEDNN_IS_ON = """
from monuseg.models.shared import backend
from stages.train.params import TrainParams
backend.configure(TrainParams.load(), 1)
from tensorflow.python.framework import test_util
print(test_util.IsMklEnabled())
"""


def test_tensorflow_convolves_by_onednn_whatever_the_processor() -> None:
    if platform.machine() not in X86:
        pytest.skip("elsewhere than on x86 this is TensorFlow's choice")
    inherited = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", ONEDNN)}
    done = subprocess.run(
        [sys.executable, "-c", ONEDNN_IS_ON],
        env=inherited | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True"
