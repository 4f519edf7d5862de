"""One side of a comparison, in a process of its own: `python -m tests.benchmarks.sides ...`.

Each line on standard input asks for one round; its seconds are printed. So two frameworks take
turns without sharing threads or memory.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from monuseg.core.params import parse_yaml
from monuseg.inference.params import PredictParams
from monuseg.models.shared import backend
from monuseg.models.shared.registry import architecture
from stages.train.params import TrainParams
from tools.preset import PRESETS

CLASSES = 3
BATCH, CROP = 8, 256
SIDE = 1008  # of a whole image: MoNuSeg's 1000, up to a multiple of 16
PRESET = parse_yaml((PRESETS / "monuseg-cpu.yaml").read_text(encoding="utf-8"))
NETWORKS = ("unet", "segnet", "deeplabv3plus")
WARM_UP = 2  # rounds that compile

Round = Callable[[], object]


def params_of(network: str) -> Any:
    """The network's block of the preset for two CPU cores."""
    return architecture(network).params.model_validate(PRESET[network])


def batch() -> tuple[np.ndarray, np.ndarray]:
    """(8, 256, 256, 3) inputs and (8, 256, 256, 3) targets."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(BATCH, CROP, CROP, 3)).astype(np.float32)
    return inputs, (generator.random((BATCH, CROP, CROP, CLASSES)) < 0.3).astype(np.float32)


def image() -> np.ndarray:
    """(1, 1008, 1008, 3) inputs."""
    return np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)


def keras_training(network: str, precision: str) -> Round:
    """A training step of ours."""
    params = TrainParams.load().model_copy(
        update={"precision": precision, "outputs": ["nucleus", "boundary", "distance"]}
    )
    runtime = backend.configure(params, seed=1)
    from stages.train.loop import compile_for_training

    model = architecture(network).build(params_of(network), CLASSES)
    compile_for_training(model, params, 0.003, jit_compile=runtime.jit_compile)
    inputs, targets = batch()
    return lambda: float(model.train_on_batch(inputs, targets))


def keras_forward(network: str, precision: str) -> Round:
    """A forward pass of ours over a whole image."""
    backend.configure(PredictParams.load().model_copy(update={"precision": precision}), seed=1)
    model = architecture(network).build(params_of(network), CLASSES)
    inputs = image()
    return lambda: np.asarray(model.predict_on_batch(inputs)).sum()


def torch_training(network: str, precision: str) -> Round:
    """A training step of PyTorch's: the same objective and optimizer."""
    import torch
    from torch.nn import functional

    model, autocast = _torch(network, precision)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 0.003, weight_decay=1e-4)
    inputs, targets = (_channels_first(array) for array in batch())

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            logits = model(inputs)
        logits = logits.float()
        probability = torch.sigmoid(logits)
        overlap = (probability * targets).sum((0, 2, 3))
        dice = 2 * overlap / (probability.sum((0, 2, 3)) + targets.sum((0, 2, 3)) + 1)
        loss = functional.binary_cross_entropy_with_logits(logits, targets) + (1 - dice).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss)

    return step


def torch_forward(network: str, precision: str) -> Round:
    """A forward pass of PyTorch's over a whole image."""
    import torch

    model, autocast = _torch(network, precision)
    model.eval()
    inputs = _channels_first(image())

    def forward() -> float:
        with torch.inference_mode(), autocast():
            return float(model(inputs).float().sum())

    return forward


def _torch(network: str, precision: str) -> tuple[Any, Callable[[], Any]]:
    import torch

    from tests.benchmarks import pytorch_networks

    torch.manual_seed(1)
    torch.set_num_threads(TrainParams.load().threads)
    made = pytorch_networks.NETWORKS[network](params_of(network), CLASSES)
    mixed = precision == "mixed_bfloat16"
    return made.to(memory_format=torch.channels_last), lambda: torch.autocast(
        "cpu", torch.bfloat16, enabled=mixed
    )


def _channels_first(array: np.ndarray) -> Any:
    import torch

    # A view: in memory the channels stay last, as PyTorch is fastest.
    return torch.from_numpy(array).permute(0, 3, 1, 2)


SIDES = {
    ("keras", "training"): keras_training,
    ("keras", "forward"): keras_forward,
    ("torch", "training"): torch_training,
    ("torch", "forward"): torch_forward,
}


def main() -> None:
    """Warm up, say so, then time a round for each line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("framework", choices=["keras", "torch"])
    command.add_argument("work", choices=["training", "forward"])
    command.add_argument("network", choices=NETWORKS)
    command.add_argument("precision", choices=["float32", "mixed_bfloat16"])
    given = command.parse_args()
    one_round = SIDES[given.framework, given.work](given.network, given.precision)
    for _ in range(WARM_UP):
        one_round()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        one_round()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
