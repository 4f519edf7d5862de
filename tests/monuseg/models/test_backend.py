"""Choosing a backend, in processes of their own: Keras can be imported only once."""

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.inference.params import PredictParams
from monuseg.models.shared.backend import (
    ONEDNN,
    X86,
    convolves_in_bfloat16,
    refuse_contradictions,
)
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


# Of `convolves_in_bfloat16`, so that a test does not depend on the processor.
FAST = """
from monuseg.models.shared import backend
backend.convolves_in_bfloat16 = lambda: True
"""


def configure(
    changes: str, script: str = CONFIGURE, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", script, changes],
        env=inherited | {"CUDA_VISIBLE_DEVICES": "-1"} | environment,
        capture_output=True,
        text=True,
    )


def test_on_a_cpu_auto_is_without_xla_and_in_bfloat16_where_that_is_fast() -> None:
    for fast, precision in ((True, "mixed_bfloat16"), (False, "float32")):
        script = FAST.replace("True", str(fast)) + CONFIGURE
        done = configure('{"precision": "auto"}', script)
        assert done.stdout.strip() == (
            '{"backend": "tensorflow", "gpu": false, "jit_compile": false, '
            f'"precision": "{precision}", "threads": 2}}'
        )
        assert done.stderr == ""


def test_the_default_run_is_in_float32_on_every_processor() -> None:
    params = TrainParams.load(), PredictParams.load()
    assert [block.precision for block in params] == ["float32", "float32"]


FLAGS = "processor\t: 0\nflags\t\t: fpu avx512f {}\nbugs\t\t: spectre_v1\n"


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("vendor_id\t: AuthenticAMD\n" + FLAGS.format("avx512_bf16 avx512_vbmi"), True),
        ("vendor_id\t: GenuineIntel\n" + FLAGS.format("avx512_bf16 avx512_fp16"), False),
        ("vendor_id\t: GenuineIntel\n" + FLAGS.format("avx512_bf16 amx_bf16"), True),
        (FLAGS.format("amx_bf16 amx_tile amx_int8"), True),
        (FLAGS.format("avx512_vnni"), False),
        (FLAGS.format("avx512_bf16x xamx_bf16"), False),
        ("processor\t: 0\nmodel name\t: avx512_bf16\n", False),
        (None, False),
    ],
)
def test_processors_that_are_fast_in_bfloat16_are_known(
    text: str | None, fast: bool, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    assert convolves_in_bfloat16(file) is fast


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        (
            '{"device": "gpu"}',
            {},
            "params.yaml: train.device: gpu, but tensorflow finds none; install it with CUDA by "
            "requirements-gpu.txt, or set the key to auto or cpu",
        ),
        (
            '{"device": "gpu", "backend": "jax"}',
            {},
            "but jax finds none; install it with CUDA by requirements-gpu-jax.txt, or set",
        ),
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
    script = FAST + CONFIGURE + 'import os\nprint(os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"])\n'
    for given, found in (({}, "false"), ({"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}, "true")):
        done = subprocess.run(
            [sys.executable, "-c", script, '{"backend": "jax", "precision": "auto"}'],
            env={k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | given,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines() == [
            '{"backend": "jax", "gpu": false, "jit_compile": true, "precision": "float32", '
            '"threads": 2}',
            found,
        ]
        assert done.stderr == ""


SUMS = """
import hashlib, sys
from monuseg.models.shared import backend
from stages.train.params import TrainParams
changes = {"backend": "jax", "device": "cpu", "threads": int(sys.argv[1])}
backend.configure(TrainParams.load().model_copy(update=changes), 1)
import jax
import numpy as np
values = np.random.default_rng(1).normal(size=(1 << 18, 4)).astype(np.float32)
sums = jax.jit(lambda x: (x.sum(), x.T @ x))(values)
print(hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in sums)).hexdigest())
"""


def test_threads_decide_jax_sums_and_the_machine_does_not() -> None:
    def sums(threads: int, **environment: str) -> str:
        inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        done = subprocess.run(
            [sys.executable, "-c", SUMS, str(threads)],
            env=inherited | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # XLA takes NPROC, and else the cores, for the number of threads if it is not told.
    assert sums(3) == sums(3, NPROC="1", PJRT_NPROC="7") != sums(1)


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
