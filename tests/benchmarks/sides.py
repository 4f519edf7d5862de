"""One side of a comparison, in a process of its own: `python -m tests.benchmarks.sides ...`.

Each line on standard input asks for one round; its seconds are printed. So two frameworks take
turns without sharing threads or memory.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product, repeat
from typing import Any

import numpy as np

from monuseg.core.params import parse_yaml
from monuseg.core.paths import PARAMS
from monuseg.formats.tiles import TiledImage
from monuseg.inference.forward import forward_of
from monuseg.inference.params import PredictParams
from monuseg.inference.views import predict_augmented
from monuseg.models.shared import backend
from monuseg.models.shared.registry import architecture
from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import aji, panoptic
from stages.train.params import TrainParams
from tests.benchmarks import mask_by_mask
from tools.preset import PRESETS

CLASSES = 3
BATCH = {"cpu": 8, "gpu": 16}  # by device, as the presets have it
CROP = 256
TORCH_DEVICES = {"cpu": "cpu", "gpu": "cuda"}
SIDE = 1008  # of a whole image: MoNuSeg's 1000, up to a multiple of 16
SIZES = ("monuseg-cpu", "monuseg")  # presets, whose networks are taken
NETWORKS = ("unet", "segnet", "deeplabv3plus")
PITCH = 23  # pixels between nuclei to be scored: 1,849 in an image of 1000, as in the densest
SCORED = 1000  # pixels, of an image whose nuclei are scored
KEPT = 0.95  # of the nuclei
WARM_UP = 2  # rounds that compile
VIEWS = 8
STEPS = 20  # of training in a round

Round = Callable[[], object]


def block(name: str, size: str = SIZES[0]) -> dict[str, Any]:
    """A block of params.yaml with a preset laid over it."""
    below, preset = (
        parse_yaml(file.read_text(encoding="utf-8"))[name]
        for file in (PARAMS, PRESETS / f"{size}.yaml")
    )
    return below | {
        key: below[key] | value if isinstance(value, dict) else value
        for key, value in preset.items()
    }


def params_of(network: str, size: str = SIZES[0]) -> Any:
    """The network's block of a preset."""
    return architecture(network).params.model_validate(block(network, size))


@dataclass(frozen=True)
class Case:
    """What a side of a network runs.

    Attributes:
        network: its name.
        precision: a dtype policy of Keras; bfloat16 is autocast on the other side.
        size: the preset whose network it is.
        device: cpu, where ours trains on TensorFlow, or gpu, where it is JAX.
        free: on a GPU, without `train.deterministic`.
        compiled: of the other side, by torch.compile.
    """

    network: str
    precision: str
    size: str
    device: str = "cpu"
    free: bool = False
    compiled: bool = False

    @property
    def update(self) -> dict[str, Any]:
        """Ours of params.yaml's values that are others."""
        gpu = {"backend": "jax", "device": "gpu", "deterministic": not self.free}
        return {"precision": self.precision, **(gpu if self.device == "gpu" else {})}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(batch, 256, 256, 3) inputs and targets."""
    generator = np.random.default_rng(0)
    shape = (BATCH[case.device], CROP, CROP)
    inputs = generator.normal(size=(*shape, 3)).astype(np.float32)
    return inputs, (generator.random((*shape, CLASSES)) < 0.3).astype(np.float32)


def image() -> np.ndarray:
    """(1, 1008, 1008, 3) inputs."""
    return np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)


def keras_training(case: Case) -> Round:
    """A training step of ours."""
    outputs = {"outputs": ["nucleus", "boundary", "distance"]}
    params = TrainParams.load().model_copy(update=case.update | outputs)
    runtime = backend.configure(params, seed=1)
    from stages.train.loop import compile_for_training

    model = architecture(case.network).build(params_of(case.network, case.size), CLASSES)
    learner = compile_for_training(model, params, 0.003, jit_compile=runtime.jit_compile)
    inputs, targets = batch(case)
    return lambda: float(learner.train_on_batch(inputs, targets))


def keras_forward(case: Case) -> Round:
    """A forward pass of ours over a whole image; on a CPU by the engine of its preset."""
    engine = {} if case.device == "gpu" else {"backend": block("predict")["backend"]}
    params = PredictParams.load().model_copy(update=engine | case.update)
    runtime = backend.configure(params, seed=1)
    model = architecture(case.network).build(params_of(case.network, case.size), CLASSES)
    network = backend.inference(model, runtime)
    inputs = image()
    return lambda: np.asarray(network(inputs)).sum()


def torch_training(case: Case) -> Round:
    """A training step of PyTorch's: the same objective and optimizer."""
    import torch
    from torch.nn import functional

    model, autocast = _torch(case)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 0.003, weight_decay=1e-4)
    arrays = [_channels_first(array) for array in batch(case)]

    def step() -> float:
        # To the device each time, as ours are.
        inputs, targets = (array.to(TORCH_DEVICES[case.device]) for array in arrays)
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


def torch_forward(case: Case) -> Round:
    """A forward pass of PyTorch's over a whole image."""
    import torch

    model, autocast = _torch(case)
    model.eval()
    array = _channels_first(image())

    def forward() -> float:
        with torch.inference_mode(), autocast():
            return float(model(array.to(TORCH_DEVICES[case.device])).float().cpu().sum())

    return forward


def _torch(case: Case) -> tuple[Any, Callable[[], Any]]:
    import torch

    from tests.benchmarks import pytorch_networks

    torch.manual_seed(1)
    torch.set_num_threads(TrainParams.load().threads)
    device = TORCH_DEVICES[case.device]
    made = pytorch_networks.NETWORKS[case.network](params_of(case.network, case.size), CLASSES)
    made = made.to(device=device, memory_format=torch.channels_last)
    mixed = case.precision == "mixed_bfloat16"
    return (
        torch.compile(made) if case.compiled else made,
        lambda: torch.autocast(device, torch.bfloat16, enabled=mixed),
    )


def _channels_first(array: np.ndarray) -> Any:
    import torch

    # A view: in memory the channels stay last, as PyTorch is fastest.
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def label_maps() -> tuple[np.ndarray, np.ndarray]:
    """Two label maps of (1000, 1000): nuclei as discs, and these moved, with a few lost."""
    generator = np.random.default_rng(0)
    truth, prediction = np.zeros((2, SCORED, SCORED), np.uint16)
    rows, columns = np.mgrid[:PITCH, :PITCH] - PITCH // 2
    at = range(0, SCORED - PITCH + 1, PITCH)
    for label, (y, x) in enumerate(product(at, at), start=1):
        for labels, moved in ((truth, (0, 0)), (prediction, generator.integers(-3, 4, 2))):
            inside = np.hypot(rows - moved[0], columns - moved[1]) < generator.uniform(6, 10)
            if labels is truth or generator.random() < KEPT:
                labels[y : y + PITCH, x : x + PITCH][inside] = label
    return truth, prediction


def ours_scoring() -> Round:
    """AJI and PQ of an image by the project."""
    truth, prediction = label_maps()

    def scored() -> tuple[float | None, float | None]:
        table = contingency(truth, prediction)
        return aji(table), panoptic(table).pq

    return scored


def masks_scoring() -> Round:
    """The same by a mask of the whole image a nucleus."""
    truth, prediction = label_maps()
    return lambda: (mask_by_mask.aji(truth, prediction), mask_by_mask.pq(truth, prediction))


def _unet(**changes: str) -> tuple[Any, PredictParams]:
    """U-Net as a function from windows of pixels to probabilities, and how it is applied."""
    params = PredictParams.model_validate(block("predict") | changes)
    runtime = backend.configure(params, seed=1)
    model = architecture("unet").build(params_of("unet"), CLASSES)
    return forward_of(backend.inference(model, runtime), "symmetric"), params


def views(**changes: str) -> Round:
    """An image of 1000 pixels a side in eight views, all in: windows, views, blending."""
    forward, params = _unet(**changes)
    pixels = np.random.default_rng(0).integers(0, 256, (SCORED, SCORED, 3), np.uint8)
    return lambda: predict_augmented(forward, pixels, params, divisor=16).sum()


def passes() -> Round:
    """The eight forward passes of that alone."""
    forward, _ = _unet()
    windows = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    return lambda: [forward(windows) for _ in range(VIEWS)]


def steps(*, real: bool) -> Round:
    """Training steps of U-Net on crops as they come, or on one batch again and again."""
    params = TrainParams.model_validate(block("train"))
    runtime = backend.configure(params, seed=1)
    from stages.train.batches import Batches
    from stages.train.loop import compile_for_training

    model = architecture("unet").build(params_of("unet"), CLASSES)
    learner = compile_for_training(model, params, 0.003, jit_compile=runtime.jit_compile)
    truth, _ = label_maps()
    pixels = np.random.default_rng(0).integers(0, 256, (*truth.shape, 3), np.uint8)
    tile = (0, 0, SCORED, SCORED)
    image = TiledImage("a", 0.25, SCORED, SCORED, pixels, truth, [tile], "liver")
    batches = Batches([image], params, "symmetric")
    first = batches[0]

    def run() -> None:
        made = batches.ahead(0, STEPS) if real else repeat(first, STEPS)
        for inputs, targets in made:
            learner.train_on_batch(inputs, targets)

    return run


def dvc(command: str) -> Round:
    """A command of DVC in this clone."""
    return lambda: subprocess.run(
        [sys.executable, "-m", "dvc", command], check=True, capture_output=True
    )


NETWORK_SIDES = {
    ("keras", "training"): keras_training,
    ("keras", "forward"): keras_forward,
    ("torch", "training"): torch_training,
    ("torch", "forward"): torch_forward,
}
OTHER_SIDES = {
    ("ours", "scoring"): ours_scoring,
    ("masks", "scoring"): masks_scoring,
    ("preset", "views"): views,
    ("keras", "views"): partial(views, backend="tensorflow", precision="float32"),
    ("passes", "views"): passes,
    ("real", "batches"): partial(steps, real=True),
    ("fixed", "batches"): partial(steps, real=False),
    ("repro", "graph"): partial(dvc, "repro"),
    ("status", "graph"): partial(dvc, "status"),
}


def main() -> None:
    """Warm up, say so, then time a round for each line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("side", choices=sorted({side for side, _ in NETWORK_SIDES | OTHER_SIDES}))
    command.add_argument("work", choices=sorted({work for _, work in NETWORK_SIDES | OTHER_SIDES}))
    command.add_argument("network", choices=NETWORKS, nargs="?", default=NETWORKS[0])
    command.add_argument(
        "precision", choices=["float32", "mixed_bfloat16"], nargs="?", default="float32"
    )
    command.add_argument("size", choices=SIZES, nargs="?", default=SIZES[0])
    command.add_argument("--device", choices=list(BATCH), default="cpu")
    command.add_argument("--free", action="store_true", help="not deterministic, on a GPU")
    command.add_argument("--compiled", action="store_true", help="by torch.compile")
    given = command.parse_args()
    if make := OTHER_SIDES.get((given.side, given.work)):
        one_round = make()
    else:
        made_of = (given.network, given.precision, given.size, given.device)
        case = Case(*made_of, free=given.free, compiled=given.compiled)
        one_round = NETWORK_SIDES[given.side, given.work](case)
    for _ in range(WARM_UP):
        one_round()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        one_round()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
