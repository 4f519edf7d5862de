"""Training a model on several devices together, of one process or several; on JAX alone."""

import pickle
from typing import Literal, TypeVar

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from monuseg.models.shared.backend import Runtime

Value = TypeVar("Value")


def spread(devices: int | Literal["all"], runtime: Runtime) -> int:
    """Let what Keras trains from now on share each batch between devices of one kind.

    Every device holds all weights and computes its part of a batch; sums over the batch, as of
    losses, gradients and normalisation, go over all parts, so that results are those of one device
    to rounding. With several processes (MONUSEG_PROCESSES) each brings as many devices.

    Args:
        devices: how many, in all processes together; with 1 nothing is changed.
        runtime: from `configure`; on JAX, if `devices` is not 1.

    Returns:
        How many there are.

    Raises:
        PipelineError: there are fewer, or they cannot be divided between the processes.
    """
    settings = Settings.from_environment()
    if devices == 1 and settings.processes == 1:
        return 1
    if runtime.backend != "jax":
        raise PipelineError(
            f"MONUSEG_PROCESSES: {settings.processes}: several processes need params.yaml: "
            "train.backend: jax; change one of the two"
        )
    import jax
    import keras

    platform, begin = ("gpu", settings.device_index or 0) if runtime.gpu else ("cpu", 0)
    here = len(jax.local_devices(backend=platform)[begin:])
    each, rest = (here, 0) if devices == "all" else divmod(devices, settings.processes)
    if rest or each > here:
        raise PipelineError(
            f"params.yaml: train.devices: {devices}, but {settings.processes} process(es) with "
            f"{here} {platform.upper()}(s) cannot share so many evenly; change it, or "
            "MONUSEG_PROCESSES"
        )
    if not runtime.gpu and each > runtime.threads:
        raise PipelineError(
            f"params.yaml: train.threads: {runtime.threads} are too few for {each} devices of one "
            "processor, which wait for each other in a thread each; set it to as many"
        )
    if each * settings.processes > 1:
        chosen: list[str] = []
        for process in range(settings.processes):
            own = [one for one in jax.devices(platform) if one.process_index == process]
            chosen += [f"{one.platform}:{one.id}" for one in own[begin : begin + each]]
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
        )
    return each * settings.processes


def on_one_device() -> None:
    """Take `spread` back for what is built from now on, as by one of several processes alone."""
    import keras

    keras.distribution.set_distribution(None)


def from_first_process(value: Value) -> Value:
    """What the first process of a training has; all of its processes are to call this."""
    import keras

    if keras.backend.backend() != "jax" or Settings.from_environment().processes == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    own = np.frombuffer(pickle.dumps(value), np.uint8)
    length = int(broadcast_one_to_all(np.int32(len(own))))
    content = np.resize(own, length)  # of the others only the length counts
    received: Value = pickle.loads(bytes(np.asarray(broadcast_one_to_all(content))))  # noqa: S301
    return received
