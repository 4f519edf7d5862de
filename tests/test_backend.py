"""Choosing a backend, in processes of their own: Keras can be imported only once."""

import importlib.util
import os
import subprocess
import sys

import pytest

CONFIGURE = """
import sys, json
from stages import backend
from stages.command import parser, run
from stages.params.train import TrainParams
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
    if importlib.util.find_spec("jax"):
        pytest.skip("JAX is installed here")
    done = configure('{"backend": "jax"}')
    assert done.returncode == 1
    assert "params.yaml: train.backend: jax is not installed" in done.stderr
