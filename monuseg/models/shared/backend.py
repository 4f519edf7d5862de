"""The only module that knows Keras's backends: it chooses one and sets it up, before Keras loads.

A stage calls `configure` first and imports what imports Keras afterwards, since Keras reads its
backend once, when it is imported.
"""

import importlib.util
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from monuseg.models.shared.runtime import RuntimeParams

# From NVIDIA's Ampere on, bfloat16 is as fast as float16 and needs no loss scaling.
BFLOAT16_CAPABILITY = (8, 0)
# Where Linux says whose a processor is, and which instructions it has.
CPUINFO = Path("/proc/cpuinfo")
# Instructions that make bfloat16 faster than float32: matrices of it (AMX), and those for vectors
# (AVX512_BF16) on AMD's processors. Tiles a second of U-Net's training of width 16 on two cores, in
# bfloat16 and float32: 15.0 and 8.7 on an EPYC (Zen 4), but 4.9 and 8.5 on a Xeon whose AMX is
# hidden from its virtual machine. TensorFlow convolves in bfloat16 without either, by float32.
_AMX = re.compile(r"^flags\s*:.*\bamx_bf16\b", re.MULTILINE)
_AVX512 = re.compile(r"^flags\s*:.*\bavx512_bf16\b", re.MULTILINE)
_INTEL = re.compile(r"^vendor_id\s*:\s*GenuineIntel\b", re.MULTILINE)
# Its dtype policies as OpenVINO's own setting; Keras's then stays float32.
_OPENVINO_PRECISIONS = {"float32": "f32", "mixed_bfloat16": "bf16"}

# Whether TensorFlow convolves with oneDNN. By default it does so only on processors with
# instructions for neural networks (AVX512_VNNI, AMX). On those with AVX2 alone, as in most desktops
# and many servers, these networks then train at half the speed or less (U-Net of width 16: 3.1 s
# per step without, 1.5 s with it, two cores of an EPYC 7003). It changes the last bits too, so it
# must not be left to the machine.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Channels that oneDNN computes at once.
ONEDNN_BLOCK = 16
X86 = ("x86_64", "AMD64")  # as Linux and Windows name it; elsewhere oneDNN is TensorFlow's choice

# What the layers and losses take for granted, as keras.json has it.
KERAS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}

# Variables, as NAME=value, that can change what a backend computes. There are too many to know
# (instructions, precision, autotuning, fusion), and each version has others: so those of XLA, JAX
# and oneDNN all count, and of TensorFlow's, whose beginning Terraform uses too, whole families.
_COMPUTING = re.compile(
    r"(?:XLA|JAX|ONEDNN|DNNL|ATEN|KERAS_(?:MAX|NNX|TORCH)|TF_(?:AUTOTUNE|CONV2D|CUBLAS|CUDNN|CUFFT"
    r"|DETERMINISTIC|DISABLE|ENABLE|JITRT|MATMUL|MKL|ONEDNN|SET|USE|XLA))_"
    r"|(?:NVIDIA|TORCH)_\w*TF32|TF2_BEHAVIOR=(?!1$)"
)
# But these say where it runs, how much memory it takes, what it keeps for later, or what it logs.
_HARMLESS = re.compile(
    rf"{ONEDNN}=1|TF_USE_LEGACY_KERAS=.*|XLA_(?:PYTHON_)?CLIENT_.*"
    r"|XLA_FLAGS=\s*(?:--xla_(?:dump_\w+|gpu_cuda_data_dir)=\S+\s*)*"
    r"|JAX_(?:PLATFORMS|PLATFORM_NAME|\w+_VISIBLE_DEVICES|LOG|DEBUG_LOG|TRACEBACK|\w*_CACHE).*"
    r"|(?:ONEDNN|DNNL)_(?:VERBOSE|JIT_|PRIMITIVE_CACHE).*",
    re.DOTALL,
)


@dataclass(frozen=True)
class Runtime:
    """What `configure` decided.

    Attributes:
        backend: Keras's backend.
        gpu: whether computation runs on a GPU.
        precision: Keras's dtype policy.
        jit_compile: the argument of `Model.compile`.
        threads: of one operation on a CPU.
    """

    backend: str
    gpu: bool
    precision: str
    jit_compile: bool
    threads: int

    def __str__(self) -> str:
        """As a stage prints it."""
        return f"{self.backend} on {'GPU' if self.gpu else 'CPU'}, {self.precision}"


@contextmanager
def _own_keras_json() -> Iterator[None]:
    """In the block Keras reads these settings, and not those of a keras.json of the user's.

    It does so once, when it is imported; TensorFlow, which holds an older Keras, does too. What
    Keras downloads it still keeps where it would, in KERAS_HOME or the user's home.
    """
    home = os.environ.get("KERAS_HOME")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "keras.json").write_text(json.dumps(KERAS), encoding="utf-8")
        os.environ["KERAS_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["KERAS_HOME"]
            if home is not None:
                os.environ["KERAS_HOME"] = home
    with suppress(OSError, RuntimeError):  # no home, or none to write to: Keras takes /tmp
        downloads = Path(home or "~/.keras").expanduser()
        downloads.mkdir(parents=True, exist_ok=True)
        sys.modules["keras"].src.backend.config._KERAS_DIR = str(downloads)


@_own_keras_json()
def configure(params: RuntimeParams, seed: int, *, together: bool = False) -> Runtime:
    """Choose the backend, device, threads, precision and determinism of this process.

    Args:
        params: of the stage.
        seed: of Keras's own random numbers (initial weights).
        together: whether the other processes that MONUSEG_PROCESSES counts do the same; waits for
            them. `devices.spread` is to follow.

    Raises:
        PipelineError: a variable would change what is computed, the backend is not installed, there
            is no GPU although one is required, or two parameters contradict each other.
    """
    refuse_contradictions(params)
    if "keras" in sys.modules:
        raise RuntimeError("configure() must come before Keras is imported")
    os.environ["KERAS_BACKEND"] = params.backend
    settings = Settings.from_environment()
    if not together:
        settings = replace(settings, processes=1)
    gpus, capability = _BACKENDS[params.backend](params, settings)
    if params.device == "gpu" and not gpus:
        raise PipelineError(
            f"params.yaml: {params.key}.device: gpu, but {params.backend} finds none; install it "
            f"with CUDA{_CUDA.get(params.backend, '')}, or set the key to auto or cpu"
        )
    precision: str = params.precision
    if precision == "auto" and gpus:
        precision = "mixed_bfloat16" if capability >= BFLOAT16_CAPABILITY else "mixed_float16"
    elif precision == "auto":
        fast = params.backend in ("tensorflow", "openvino") and convolves_in_bfloat16()
        precision = "mixed_bfloat16" if fast else "float32"
    jit_compile = _jit_compile(params, gpus > 0)
    runtime = Runtime(params.backend, gpus > 0, precision, jit_compile, params.threads)
    import keras  # only now: Keras reads its backend when it is imported

    if params.backend == "openvino":  # draws no random numbers, and has a precision of its own
        return runtime
    keras.config.set_dtype_policy(precision)
    # It seeds TensorFlow too, whatever the backend, and imports it for that if it is installed.
    with _native_messages_withheld():
        keras.utils.set_random_seed(seed)
    return runtime


def convolves_in_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this processor convolves faster in bfloat16 than in float32.

    Args:
        cpuinfo: where Linux describes it; elsewhere there is no such file, and the answer is no.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(_AMX.search(text) or (_AVX512.search(text) and not _INTEL.search(text)))


def versions() -> dict[str, str]:
    """The versions of Keras and of its backend, by name."""
    import keras

    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: str(sys.modules[backend].__version__)}


def inference(model: Any, runtime: Runtime) -> Callable[[Any], Any]:
    """A model as a function from (batch, height, width, 3) to its output, NumPy arrays both.

    Args:
        model: of Keras.
        runtime: what `configure` decided.
    """
    if runtime.backend == "openvino":
        return _OpenVINO(model, runtime)
    model.jit_compile = runtime.jit_compile
    predict: Callable[[Any], Any] = model.predict_on_batch
    return predict


class _OpenVINO:
    """A model compiled for each shape of its input.

    Keras itself leaves precision and threads to OpenVINO, which would take bfloat16 wherever the
    processor has it.
    """

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model = model
        self._settings = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISIONS[runtime.precision],
            "INFERENCE_NUM_THREADS": runtime.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, inputs: Any) -> Any:
        if inputs.shape not in self._compiled:
            self._compiled[inputs.shape] = self._compile(inputs.shape)
        [outputs] = self._compiled[inputs.shape](inputs, share_inputs=True).to_tuple()
        return outputs

    def _compile(self, shape: tuple[int, ...]) -> Any:
        import keras
        import openvino as ov

        from monuseg.models.shared.transposes import sink_transposes

        tensor = type(keras.ops.convert_to_tensor(0.0))
        parameter = ov.opset16.parameter(shape, ov.Type.f32)
        outputs = self._model(tensor(parameter.output(0)), training=False)
        graph = ov.Model([ov.opset16.result(outputs.output)], [parameter])
        sink_transposes(graph)
        return ov.Core().compile_model(graph, "CPU", self._settings)


def fused_batch_normalisation() -> Callable[..., tuple[Any, Any, Any]] | None:
    """Batch normalisation of the last axis in one operation, if Keras's backend has one.

    Returns:
        A function from (batch, height, width, channels) features, gamma, beta and epsilon to the
        normalised features and the mean and biased variance, (channels,) in float32, that they are
        normalised by: those of the batch, or `averages` where they are given. None where Keras's
        own operations are as good.
    """
    import keras

    return _fused_in_tensorflow if keras.backend.backend() == "tensorflow" else None


def _fused_in_tensorflow(
    x: Any, gamma: Any, beta: Any, epsilon: float, averages: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    if x.dtype == tf.bfloat16 and x.shape[-1] % ONEDNN_BLOCK and _tensorflow_has_only_cpus():
        # With such numbers of channels oneDNN's kernel of bfloat16 is slow: it took 232 of the 430
        # ms of a step of DeepLabV3+ of width 20, and 40 of 222 in float32, casts apart. Both
        # compute in float32.
        wide = tf.cast(x, tf.float32)
        outputs, mean, variance = _fused_in_tensorflow(wide, gamma, beta, epsilon, averages)
        return tf.cast(outputs, x.dtype), mean, variance
    none = tf.zeros([0], tf.float32)
    mean, variance = averages or (none, none)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.convert_to_tensor(gamma),
        offset=tf.convert_to_tensor(beta),
        mean=tf.convert_to_tensor(mean),
        variance=tf.convert_to_tensor(variance),
        epsilon=epsilon,
        is_training=averages is None,
    )
    if averages is None:
        # The kernel returns the variance with Bessel's correction; Keras's averages are without.
        count = tf.cast(tf.size(x), tf.float32) / tf.cast(tf.shape(x)[-1], tf.float32)
        variance = variance * ((count - 1.0) / count)
    return outputs, mean, variance


def rectified_bfloat16() -> Callable[[Any], Any] | None:
    """ReLU of bfloat16 values, if there is a faster one than Keras's backend has.

    Returns:
        A function from a tensor of bfloat16 to one of the same shape, with its gradient. None where
        Keras's own is as good.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or not _tensorflow_has_only_cpus():
        return None
    return _rectified_in_tensorflow


def _rectified_in_tensorflow(x: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def relu(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        rectified = tf.bitcast(tf.nn.relu(tf.bitcast(x, tf.int16)), x.dtype)

        def gradient(upstream: Any) -> Any:
            return tf.raw_ops.ReluGrad(gradients=upstream, features=rectified)

        return rectified, gradient

    return relu(x)


def biased_bfloat16() -> Callable[[Any, Any], Any] | None:
    """The sum of bfloat16 features and a bias, if Keras's backend has its gradient wrong.

    TensorFlow's kernel adds up the bias's gradient in bfloat16, in which 256 + 1 is 256: of half a
    million pixels with a gradient of 1, in two threads, the sum is 512.

    Returns:
        A function from (batch, height, width, channels) features and a (channels,) bias to
        features. None where Keras's own is right.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or not _tensorflow_has_only_cpus():
        return None
    return _biased_in_tensorflow


def _biased_in_tensorflow(x: Any, bias: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def biased(x: Any, bias: Any) -> tuple[Any, Callable[[Any], Any]]:
        # This sum is in float32 inside.
        return tf.nn.bias_add(x, bias), lambda upstream: (
            upstream,
            tf.reduce_sum(upstream, axis=(0, 1, 2)),
        )

    return biased(x, tf.convert_to_tensor(bias))


def atrous_convolution() -> Callable[[Any, Any, str, tuple[int, int]], Any] | None:
    """Atrous convolution of stride 1, if there is a faster one than Keras's.

    TensorFlow, as Keras calls it, rearranges the pixels so that an ordinary convolution does it, on
    more pixels than there are. oneDNN has atrous convolution of its own, and its gradient, which
    TensorFlow without it lacks; `configure` sees to it that it is there.

    Returns:
        A function from (batch, height, width, channels) features, a kernel, the padding and the
        rates to features. None where Keras's own is as good.
    """
    import keras

    onednn = platform.machine() in X86 and os.environ.get(ONEDNN) == "1"
    if keras.backend.backend() != "tensorflow" or not onednn:
        return None
    return _atrous_in_tensorflow if _tensorflow_has_only_cpus() else None


def _atrous_in_tensorflow(x: Any, kernel: Any, padding: str, rates: tuple[int, int]) -> Any:
    import tensorflow as tf

    kernel = tf.convert_to_tensor(kernel)
    return tf.nn.conv2d(x, kernel, 1, padding.upper(), dilations=list(rates))


def _tensorflow_has_only_cpus() -> bool:
    """Whether TensorFlow sees no GPU, as there is none or `configure` hid it."""
    import tensorflow as tf

    return not tf.config.get_visible_devices("GPU")


def refuse_contradictions(params: RuntimeParams) -> None:
    """Refuse what cannot work, as far as that is known before a backend is loaded.

    Raises:
        PipelineError: two parameters contradict each other, an environment variable names another
            backend or could change what one computes, or the backend is not installed.
    """
    if params.backend == "tensorflow" and params.deterministic and params.xla == "on":
        raise PipelineError(
            f"params.yaml: {params.key}.xla: on contradicts deterministic: true, with which "
            "Keras on TensorFlow turns XLA off; set one of the two to auto or false"
        )
    if params.backend == "jax" and params.xla == "off":
        raise PipelineError(
            f"params.yaml: {params.key}.xla: off contradicts backend: jax, which computes through "
            "XLA only; set it to auto, or choose another backend"
        )
    if params.backend == "openvino":
        for key, refused in (("device", "gpu"), ("xla", "on"), ("precision", "mixed_float16")):
            if getattr(params, key) == refused:
                raise PipelineError(
                    f"params.yaml: {params.key}.{key}: {refused} contradicts backend: openvino, "
                    "which computes on a CPU in float32 or bfloat16; set it to auto"
                )
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted and wanted != params.backend:
        raise PipelineError(
            f"KERAS_BACKEND={wanted} contradicts params.yaml: {params.key}.backend: "
            f"{params.backend}; unset the variable or change the parameter"
        )
    for setting in (f"{name}={value}" for name, value in sorted(os.environ.items()) if value):
        if _COMPUTING.match(setting) and not _HARMLESS.fullmatch(setting):
            raise PipelineError(
                f"{setting} could change results behind the parameters' back; unset it"
            )
    if importlib.util.find_spec(params.backend) is None:
        raise PipelineError(
            f"params.yaml: {params.key}.backend: {params.backend} is not installed; install it, or "
            "choose another backend"
        )


@contextmanager
def _native_messages_withheld() -> Iterator[None]:
    """Hold back what C++ code writes to standard error, and show it only if the block fails.

    TensorFlow prints a dozen lines, "failed call to cuInit" among them, on every machine without a
    GPU, and does so before any of its log levels takes effect.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _jit_compile(params: RuntimeParams, gpu: bool) -> bool:
    if params.backend == "jax":
        return True  # JAX has no other way
    if params.backend == "tensorflow" and params.deterministic:
        return False  # Keras turns it off itself
    # On a CPU XLA makes these networks several times slower.
    return params.xla == "on" or (params.xla == "auto" and gpu)


def _tensorflow(params: RuntimeParams, settings: Settings) -> tuple[int, tuple[int, int]]:
    if platform.machine() in X86:
        os.environ[ONEDNN] = "1"  # read when TensorFlow is imported
    with _native_messages_withheld():
        import tensorflow as tf

        visible = tf.config.list_physical_devices("GPU")
    tf.config.threading.set_intra_op_parallelism_threads(params.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # Where a processor has AVX2 at most, oneDNN has no fast code for what TensorFlow makes of a
    # convolution, its normalisation and ReLU: a pass took ten times as long (U-Net, EPYC 7003).
    tf.config.optimizer.set_experimental_options({"remapping": False})
    if params.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = _allowed(visible, params, settings)
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return 0, (0, 0)
    details = tf.config.experimental.get_device_details(gpus[0])
    return len(gpus), details.get("compute_capability", (0, 0))


def _jax(params: RuntimeParams, settings: Settings) -> tuple[int, tuple[int, int]]:
    if params.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if params.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # XLA has no other setting for how many threads share an operation on a CPU; left alone it takes
    # one a core, and the last bits would depend on the machine. Read when JAX finds its devices.
    os.environ["PJRT_NPROC"] = str(params.threads)
    # Otherwise it takes three quarters of a GPU's memory at once: no second training would fit.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if settings.processes > 1:  # before anything asks for devices
        jax.distributed.initialize(settings.coordinator, settings.processes, settings.process_index)
    devices = [device for device in jax.local_devices() if device.platform == "gpu"]
    gpus = _allowed(devices, params, settings)
    if not gpus:
        return 0, (0, 0)
    jax.config.update("jax_default_device", gpus[0])
    major, minor = str(gpus[0].compute_capability).split(".")
    return len(gpus), (int(major), int(minor))


def _torch(params: RuntimeParams, settings: Settings) -> tuple[int, tuple[int, int]]:
    if params.deterministic:
        # cuBLAS needs this to be deterministic, and reads it once.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch

    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(params.deterministic)
    gpus = _allowed(list(range(torch.cuda.device_count())), params, settings)
    # Read when Keras is imported; left alone it would take a Mac's GPU too.
    os.environ["KERAS_TORCH_DEVICE"] = "cuda" if gpus else "cpu"
    if not gpus:
        return 0, (0, 0)
    torch.cuda.set_device(gpus[0])
    return len(gpus), torch.cuda.get_device_capability(gpus[0])


def _openvino(params: RuntimeParams, settings: Settings) -> tuple[int, tuple[int, int]]:
    # Else importing OpenVINO tells Google Analytics of it; without this package it does not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    return 0, (0, 0)


def _allowed(gpus: list[Any], params: RuntimeParams, settings: Settings) -> list[Any]:
    """The one GPU to use, or none."""
    if params.device == "cpu" or not gpus:
        return []
    index = settings.device_index or 0
    if index >= len(gpus):
        raise PipelineError(
            f"MONUSEG_DEVICE_INDEX: {index}, but there are {len(gpus)} GPUs; they count from 0"
        )
    return [gpus[index]]


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch, "openvino": _openvino}
# What installs a backend with CUDA, where a file of this project's does.
_CUDA = {"tensorflow": " by requirements-gpu.txt", "jax": " by requirements-gpu-jax.txt"}
