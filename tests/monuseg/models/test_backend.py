"""Choosing a backend, in processes of their own: Keras can be imported only once."""

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.models.shared.backend import ONEDNN, X86, refuse_contradictions
from stages.train.params import TrainParams

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
        ("{}", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "TF_ENABLE_ONEDNN_OPTS=0 could change results"),
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


@pytest.mark.parametrize(
    "setting",
    [
        # Each changed the weights or predictions of a small U-Net, when it was let through.
        "ONEDNN_MAX_CPU_ISA=SSE41",
        "DNNL_MAX_CPU_ISA=AVX2",
        "ONEDNN_DEFAULT_FPMATH_MODE=BF16",
        "DNNL_DEFAULT_FPMATH_MODE=ANY",
        "TF_SET_ONEDNN_FPMATH_MODE=BF16",
        "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1",
        "TF_XLA_FLAGS=--tf_xla_auto_jit=2",
        # Not on this machine's CPU, but their own descriptions say that they may.
        "XLA_FLAGS=--xla_dump_to=/tmp --xla_cpu_enable_fast_math=true",
        "TF_DETERMINISTIC_OPS=1",
        "TF_ENABLE_AUTO_MIXED_PRECISION=1",
        "TF_CUDNN_USE_AUTOTUNE=0",
        "TF2_BEHAVIOR=0",
        "JAX_ENABLE_X64=1",
        "JAX_DEFAULT_MATMUL_PRECISION=bfloat16",
        "NVIDIA_TF32_OVERRIDE=0",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1",
        "ATEN_CPU_CAPABILITY=default",
        "KERAS_MAX_EPOCHS=1",
        "KERAS_MAX_STEPS_PER_EPOCH=1",
        "KERAS_NNX_ENABLED=1",
        "KERAS_TORCH_DEVICE=meta",
    ],
)
def test_variables_that_could_change_results_are_refused(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = setting.partition("=")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(PipelineError) as caught:
        refuse_contradictions(TrainParams.load())
    assert str(caught.value).startswith(f"{setting} could change results behind the parameters'")
    monkeypatch.setenv(name, "")  # as good as unset
    refuse_contradictions(TrainParams.load())


@pytest.mark.parametrize(
    "setting",
    [
        "TF_ENABLE_ONEDNN_OPTS=1",
        "TF_CPP_MIN_LOG_LEVEL=3",
        "TF_FORCE_GPU_ALLOW_GROWTH=true",
        "TF_GPU_ALLOCATOR=cuda_malloc_async",
        "TF_NUM_INTRAOP_THREADS=1",  # `configure` sets it after TensorFlow read it
        "TF_USE_LEGACY_KERAS=1",
        "TF2_BEHAVIOR=1",
        "TF_CLI_CONFIG_FILE=/home/a/.terraformrc",  # Terraform's
        "TF_VAR_use=1",
        "TF_BUILD=True",  # Azure Pipelines'
        "XLA_FLAGS=--xla_gpu_cuda_data_dir=/usr/lib/cuda --xla_dump_to=/tmp/x",
        "XLA_PYTHON_CLIENT_MEM_FRACTION=.4",
        "XLA_CLIENT_MEM_FRACTION=.4",  # as newer versions of JAX have it
        "JAX_ROCM_VISIBLE_DEVICES=0",
        "JAX_PLATFORMS=cpu",
        "JAX_COMPILATION_CACHE_DIR=/tmp/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0",
        "JAX_TRACEBACK_FILTERING=off",
        "ONEDNN_VERBOSE=1",
        "KERAS_HOME=/tmp/keras",
        "OMP_NUM_THREADS=1",
        "CUDA_VISIBLE_DEVICES=0",
    ],
)
def test_variables_that_change_no_result_are_let_through(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = setting.partition("=")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv(name, value)
    refuse_contradictions(TrainParams.load())


TRAINED = """
import hashlib
from monuseg.models.shared import backend
from stages.train.params import TrainParams
runtime = backend.configure(TrainParams.load(), 1)
import keras
import numpy as np
from monuseg.models.shared.registry import architecture
from stages.train.losses import cross_entropy_dice
unet = architecture("unet")
model = unet.build(unet.params.model_validate({"width": 2, "learning_rate": 0.1}), 1)
random = np.random.default_rng(1)
images = random.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
targets = (random.random((2, 32, 32, 1)) > 0.7).astype(np.float32)
model.compile(keras.optimizers.Adam(0.01), cross_entropy_dice(1.0))
model.train_on_batch(images, targets)
print(hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest())
print(keras.src.backend.config.keras_home())
"""


def test_a_keras_json_of_the_users_changes_no_weight(tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    inherited |= {"CUDA_VISIBLE_DEVICES": "-1", "HOME": str(tmp_path / "no file")}
    (tmp_path / "no file").mkdir()
    files = {
        # Each key at a value that changes the weights or ends in an error, if it counts.
        "other": '{"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first", '
        '"backend": "jax", "nnx_enabled": true}',
        "invalid": "[]",
    }
    for name, text in files.items():
        (tmp_path / name / ".keras").mkdir(parents=True)
        (tmp_path / name / ".keras/keras.json").write_text(text)
    environments = {
        "no file": {},
        "other": {"HOME": str(tmp_path / "other")},
        "invalid": {"KERAS_HOME": str(tmp_path / "invalid/.keras")},
    }
    weights = set()
    for name, given in environments.items():
        done = subprocess.run(
            [sys.executable, "-c", TRAINED],
            env=inherited | given,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        digest, downloads = done.stdout.splitlines()
        weights.add(digest)
        # Pretrained weights stay where they were, and the file as it was.
        assert Path(downloads) == tmp_path / name / ".keras"
        assert Path(downloads).is_dir()
    assert len(weights) == 1
    for name, text in files.items():
        assert (tmp_path / name / ".keras/keras.json").read_text() == text


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
