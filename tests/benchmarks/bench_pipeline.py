"""How long the parts of the pipeline take that images or crops pass one by one: `make bench`.

On a synthetic slide of the size of MoNuSeg's images; not part of `make test`, since times are of a
machine.
"""

from typing import Any

import numpy as np
import pytest

from monuseg.formats.predictions import NUCLEUS
from monuseg.formats.tiles import TiledImage
from monuseg.models.unet import network as unet
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.scoring.instances import score_nuclei
from stages.baseline.otsu import nucleus_mask
from stages.baseline.params import BaselineParams
from stages.download.synthetic.slide import Slide, draw_slide
from stages.masks.rasterise import rasterise
from stages.train.batches import Batches
from stages.train.loop import compile_for_training
from stages.train.params import TrainParams

Benchmark = Any  # pytest-benchmark's fixture

SIDE = 1000  # pixels, as MoNuSeg's images
SETTINGS = NucleiSettings(threshold=0.5, smoothing=2.0, min_distance=5, min_area=30)
CPU_SIZE = TrainParams.load().model_copy(update={"batch_size": 8, "crop": 256})


@pytest.fixture(scope="module")
def slide() -> Slide:
    return draw_slide("breast", SIDE, SIDE, 1.0, np.random.default_rng(0))


@pytest.fixture(scope="module")
def labels(slide: Slide) -> np.ndarray:
    return rasterise([[one] for one in slide.outlines], SIDE, SIDE, "official")[0]


@pytest.fixture(scope="module")
def batches(slide: Slide, labels: np.ndarray) -> Batches:
    windows = [(0, 0, SIDE, SIDE)]
    image = TiledImage("slide", 0.25, SIDE, SIDE, slide.image, labels, windows, "liver")
    return Batches([image], CPU_SIZE, "symmetric")


def test_draw_a_slide(benchmark: Benchmark) -> None:
    benchmark(lambda: draw_slide("breast", SIDE, SIDE, 1.0, np.random.default_rng(0)))


@pytest.mark.parametrize("rasterisation", ["official", "center"])
def test_rasterise_an_image(benchmark: Benchmark, slide: Slide, rasterisation: Any) -> None:
    benchmark(rasterise, [[one] for one in slide.outlines], SIDE, SIDE, rasterisation)


def test_baseline_of_an_image(benchmark: Benchmark, slide: Slide) -> None:
    params = BaselineParams.load()
    benchmark(nucleus_mask, slide.image, sigma=params.sigma, min_area=params.min_area)


def test_nuclei_of_an_image(benchmark: Benchmark, labels: np.ndarray) -> None:
    mask = (labels > 0).astype(np.float32)[..., np.newaxis]
    benchmark(nuclei_from_predictions, mask, [NUCLEUS], SETTINGS)


def test_score_an_image(benchmark: Benchmark, labels: np.ndarray) -> None:
    mask = (labels > 0).astype(np.float32)[..., np.newaxis]
    prediction = nuclei_from_predictions(mask, [NUCLEUS], SETTINGS)
    benchmark(score_nuclei, labels, prediction)


def test_batch_of_eight_crops(benchmark: Benchmark, batches: Batches) -> None:
    benchmark(lambda: batches[0])


def test_training_step_of_unet_at_cpu_size(benchmark: Benchmark, batches: Batches) -> None:
    model = unet.build(unet.Params(width=16, learning_rate=0.003), classes=1)
    compile_for_training(model, CPU_SIZE, 0.003, jit_compile=False)
    inputs, targets = batches[0]
    model.train_on_batch(inputs, targets)  # compiles
    benchmark.pedantic(model.train_on_batch, (inputs, targets), rounds=5)
