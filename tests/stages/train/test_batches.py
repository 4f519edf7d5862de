"""Batches are a pure function of (seed, global step)."""

from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from stages.train.augmentation import jitter_colour, random_crop
from stages.train.batches import Batch, Batches
from stages.train.params import SamplingParams, TrainParams

PARAMS = TrainParams.load().model_copy(update={"batch_size": 3, "crop": 32})


def test_a_batch_has_the_declared_shapes_and_ranges(images: list[TiledImage]) -> None:
    inputs, targets = Batches(images, PARAMS, "symmetric")[0]
    assert inputs.shape == (3, 32, 32, 3)
    assert targets.shape == (3, 32, 32, 1)
    assert inputs.dtype == targets.dtype == np.float32
    assert -1 <= inputs.min() < inputs.max() <= 1
    assert set(np.unique(targets)) == {0.0, 1.0}


def test_a_step_gives_the_same_batch_whatever_was_asked_before(images: list[TiledImage]) -> None:
    direct = Batches(images, PARAMS, "symmetric")[7]
    batches = Batches(images, PARAMS, "symmetric")
    for step in (3, 9, 0):
        batches[step]
    for expected, found in zip(direct, batches[7], strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("workers", [1, 3])
def test_made_ahead_they_come_in_order_and_are_the_same(
    images: list[TiledImage], workers: int
) -> None:
    batches = Batches(images, PARAMS, "symmetric", workers=workers)
    ahead = list(batches.ahead(5, 15))
    assert len(ahead) == 10
    for step, (inputs, _) in enumerate(ahead, start=5):
        np.testing.assert_array_equal(inputs, batches[step][0])


def test_each_worker_prepares_a_batch_of_its_own(
    images: list[TiledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are in preparation at once, or the barrier is never passed."""
    batches = Batches(images, PARAMS, "symmetric", workers=3)
    at_once = Barrier(3)
    original = Batches.__getitem__

    def waiting(self: Batches, step: int) -> Batch:
        at_once.wait(timeout=60)
        return original(self, step)

    monkeypatch.setattr(Batches, "__getitem__", waiting)
    assert len(list(batches.ahead(0, 6))) == 6


def test_steps_crops_and_seeds_differ(images: list[TiledImage]) -> None:
    batches = Batches(images, PARAMS, "symmetric")
    first = batches[0][0]
    assert not np.array_equal(first, batches[1][0])
    assert not np.array_equal(first[0], first[1])
    other = Batches(images, PARAMS.model_copy(update={"seed": 2}), "symmetric")
    assert not np.array_equal(first, other[0][0])


def test_large_images_are_seen_more_often(images: list[TiledImage]) -> None:
    large = TiledImage(
        "large", 0.25, 96, 112, np.zeros((96, 112, 3), np.uint8), images[0].labels,
        [(0, 0, 48, 112), (48, 0, 48, 112), (0, 0, 96, 112)], "liver",
    )  # fmt: skip
    params = PARAMS.model_copy(update={"batch_size": 200})
    inputs, _ = Batches([images[0], large], params, "symmetric")[0]
    black = np.mean(inputs.reshape(200, -1).mean(axis=1) < -0.9)
    assert 0.65 < black < 0.85  # 3 of 4 tiles


def test_as_committed_a_crop_is_around_any_point_of_any_tile(images: list[TiledImage]) -> None:
    """The rule before there were others, restated: what `train.sampling` adds draws nothing."""
    tiled = [replace(images[0], windows=[(0, 0, 48, 112), (48, 0, 48, 112)]), images[1]]
    inputs, targets = Batches(tiled, PARAMS, "symmetric")[11]
    tiles = [(tiled[0], (0, 0, 48, 112)), (tiled[0], (48, 0, 48, 112)), (tiled[1], (0, 0, 96, 112))]
    for place in range(3):
        generator = np.random.default_rng([PARAMS.seed, 11, place])
        image, (y, x, height, width) = tiles[generator.integers(3)]
        centre = (generator.uniform(y, y + height), generator.uniform(x, x + width))
        pixels, labels, _ = random_crop(
            image.image, image.labels, np.zeros((96, 112, 0), np.uint8), centre, 32,
            PARAMS.augmentation, generator,
        )  # fmt: skip
        pixels = jitter_colour(pixels, PARAMS.augmentation, generator)
        np.testing.assert_allclose(inputs[place], pixels / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(targets[place, ..., 0], labels > 0)


def test_crops_around_nuclei_have_one_in_the_middle(images: list[TiledImage]) -> None:
    def in_the_middle(nuclei: float) -> float:
        sampling = SamplingParams(organs="area", nuclei=nuclei)
        params = PARAMS.model_copy(update={"batch_size": 200, "sampling": sampling})
        _, targets = Batches(images, params, "symmetric")[0]
        return float(np.mean(targets[:, 15:17, 15:17, 0].max(axis=(1, 2))))

    assert in_the_middle(1.0) > 0.98
    assert in_the_middle(0.0) < 0.5
