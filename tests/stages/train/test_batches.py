"""Batches are a pure function of (seed, global step)."""

import gc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest

from monuseg.formats.tiles import (
    COLUMNS,
    HELD,
    INDEX,
    OnDemand,
    TiledImage,
    read_tiles,
    tile_rows,
    write_image,
)
from stages.train.augmentation import jitter_colour, random_crop
from stages.train.batches import Batch, Batches
from stages.train.params import SamplingParams, TrainParams
from stages.train.sampling import Sampler
from stages.train.targets import FULL, maps_of
from tests.stages.train.conftest import disc_image

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


def test_the_parts_of_several_processes_are_the_whole(images: list[TiledImage]) -> None:
    params = PARAMS.model_copy(update={"batch_size": 6})
    parts = [Batches(images, params, "symmetric", part=(index, 3))[4] for index in range(3)]
    for whole, *shares in zip(Batches(images, params, "symmetric")[4], *parts, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(shares))


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
    side = 180  # three times the area of the other's 96 x 112
    large = TiledImage(
        "large", 0.25, side, side, np.zeros((side, side, 3), np.uint8),
        np.zeros((side, side), np.uint16), [(0, 0, side, side)], "liver",
    )  # fmt: skip
    params = PARAMS.model_copy(update={"batch_size": 200})
    inputs, _ = Batches([images[0], large], params, "symmetric")[0]
    black = np.mean(inputs.reshape(200, -1).mean(axis=1) < -0.9)
    assert 0.65 < black < 0.85  # 3 of 4 pixels


def test_as_committed_a_crop_is_around_any_pixel_of_any_image(images: list[TiledImage]) -> None:
    """The rule restated: what else `train.sampling` can do draws nothing."""
    inputs, targets = Batches(images, PARAMS, "symmetric")[11]
    for place in range(3):
        generator = np.random.default_rng([PARAMS.seed, 11, place])
        image = images[generator.integers(2 * 96 * 112) // (96 * 112)]
        centre = (generator.uniform(0, 96), generator.uniform(0, 112))
        pixels, labels, _ = random_crop(
            image.image, image.labels, np.zeros((96, 112, 0), np.uint8), centre, 32,
            PARAMS.augmentation, generator,
        )  # fmt: skip
        pixels = jitter_colour(pixels, PARAMS.augmentation, generator)
        np.testing.assert_allclose(inputs[place], pixels / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(targets[place, ..., 0], labels > 0)


def test_maps_from_disk_are_those_of_the_whole_image(
    images: list[TiledImage], tmp_path: Path
) -> None:
    """Crops neither turned, scaled nor bent, around points that `Sampler` draws."""
    outputs = ["nucleus", "boundary", "distance"]
    still = {"rotate": 0.0, "scale": (1.0, 1.0), "flip": False, "elastic": 0.0}
    params = PARAMS.model_copy(
        update={
            "outputs": outputs,
            "batch_size": 40,
            "sampling": SamplingParams(organs="area", nuclei=0.5),
            "augmentation": PARAMS.augmentation.model_copy(update=still),
        }
    )
    _, targets = Batches(images, params, "symmetric", scratch=tmp_path)[0]
    sampler = Sampler(images, params.sampling, tmp_path)
    for place in range(40):
        number, centre = sampler.draw(np.random.default_rng([params.seed, 0, place]))
        maps = maps_of(images[number].labels, outputs, params.boundary_width)
        wide = np.pad(maps, ((48, 48), (48, 48), (0, 0)), mode="reflect") / FULL
        start = np.array(centre) - 16 + 48
        y, x = np.floor(start).astype(int)
        near = wide[y : y + 33, x : x + 33]
        corners = [near[:-1, :-1], near[1:, :-1], near[:-1, 1:], near[1:, 1:]]
        # Between its four neighbours, up to rounding.
        assert (targets[place, ..., 1:] >= np.min(corners, axis=0) - 1 / FULL).all()
        assert (targets[place, ..., 1:] <= np.max(corners, axis=0) + 1 / FULL).all()
    assert targets[..., 1:].any()


def test_only_a_few_images_are_open_at_a_time(tmp_path: Path) -> None:
    """Of 100 images on disk, as many as are held, however many batches are drawn."""
    rows = []
    for number in range(100):
        image = disc_image(str(number), number, 40, 40)
        write_image(tmp_path, image.id, image.image, image.labels, 40)
        rows += tile_rows(image.id, "liver", 0.25, image.labels, 40, 40)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / INDEX, index=False)
    params = PARAMS.model_copy(
        update={
            "batch_size": 100,
            "outputs": ["nucleus", "distance"],
            "sampling": SamplingParams(organs="area", nuclei=0.5),
        }
    )

    def mapped() -> Counter[str]:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        own = [line.split(maxsplit=5)[-1] for line in lines if str(tmp_path) in line]
        return Counter("scratch" if "deleted" in name else "tiles" for name in own)

    batches = Batches(read_tiles(tmp_path), params, "symmetric", scratch=tmp_path)
    for step in range(5):
        batches[step]
    found = mapped()
    # An image and its labels; its maps and its nuclei.
    assert 0 < found["tiles"] <= 2 * (HELD + 1)
    assert 0 < found["scratch"] <= 2 * (HELD + 1)
    del batches
    gc.collect()
    assert not mapped()
    # The files of scratch have no names: nothing is left, whenever the process ends.
    assert len(list(tmp_path.iterdir())) == 201


def test_an_image_read_anew_gives_the_same_batch(images: list[TiledImage], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"outputs": ["nucleus", "boundary"]})
    one = OnDemand(lambda place: replace(images[place]), len(images), held=1)
    expected = Batches(images, params, "symmetric", scratch=tmp_path)[3]
    for first, second in zip(expected, Batches(one, params, "symmetric")[3], strict=True):
        np.testing.assert_array_equal(first, second)


def test_crops_around_nuclei_have_one_in_the_middle(images: list[TiledImage]) -> None:
    def in_the_middle(nuclei: float) -> float:
        sampling = SamplingParams(organs="area", nuclei=nuclei)
        params = PARAMS.model_copy(update={"batch_size": 200, "sampling": sampling})
        _, targets = Batches(images, params, "symmetric")[0]
        return float(np.mean(targets[:, 15:17, 15:17, 0].max(axis=(1, 2))))

    assert in_the_middle(1.0) > 0.98
    assert in_the_middle(0.0) < 0.5
