"""Crops get the stains of training images drawn at random."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from monuseg.inference.stain import REFERENCE, REFERENCE_STAINS, Appearance, appearance, normalised
from stages.train.batches import Batches
from stages.train.params import TrainParams
from stages.train.stains import RandomStains, random_stains
from tests.monuseg.inference.test_stain import OTHER_STAINS, stained

BLUE = np.array([[0.65, 0.70, 0.29], [0.2, 0.9, 0.38]])
LABORATORIES = [stained(REFERENCE_STAINS), stained(OTHER_STAINS, 1.3), stained(BLUE, 0.8)]
WHITE = np.full((120, 120, 3), 255, np.uint8)  # without tissue


def found(image: np.ndarray) -> Appearance:
    estimated = appearance(image)
    assert estimated is not None
    return estimated


def nearest(image: np.ndarray) -> int:
    """The laboratory whose stains an image's are closest to."""
    own = found(image)
    away = [np.abs(own.stains - found(other).stains).sum() for other in LABORATORIES]
    return int(np.argmin(away))


@pytest.mark.parametrize("is_normalised", [False, True])
def test_a_crop_comes_in_the_stains_of_any_training_image(is_normalised: bool) -> None:
    stains = random_stains(LABORATORIES, 1.0, normalised=is_normalised)
    crop = normalised(LABORATORIES[1]) if is_normalised else LABORATORIES[1]
    generator = np.random.default_rng(0)
    drawn = [nearest(stains(crop, 1, generator)) for _ in range(30)]
    assert min(drawn.count(place) for place in range(3)) >= 5


def test_how_much_stain_a_crop_gets_is_its_targets() -> None:
    """By Beer and Lambert, from what the images were made of: amounts of 1.3 become 0.8."""
    own, target = found(LABORATORIES[1]), found(LABORATORIES[2])
    stains = RandomStains([own, None, target], 1.0, normalised=False)
    generator = np.random.default_rng(1)
    made = [stains(LABORATORIES[1], 0, generator) for _ in range(8)]
    closest = min(made, key=lambda each: np.abs(each.astype(int) - LABORATORIES[2]).mean())
    # The same tissue was drawn for both, so the made image is the other, but for the estimate.
    assert np.abs(closest.astype(int) - LABORATORIES[2]).mean() < 4
    assert np.abs(LABORATORIES[1].astype(int) - LABORATORIES[2]).mean() > 20


def test_no_stain_is_gained_without_bound() -> None:
    faint = Appearance(REFERENCE.white, REFERENCE.stains, REFERENCE.density / 100)
    stains = RandomStains([REFERENCE, faint], 1.0, normalised=False)
    generator = np.random.default_rng(0)
    palest = max(stains(LABORATORIES[0], 0, generator).mean() for _ in range(10))
    assert palest < WHITE.mean() - 20


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_share_of_crops_that_change(share: float) -> None:
    stains = random_stains(LABORATORIES, share, normalised=True)
    generator = np.random.default_rng(0)
    crop = normalised(LABORATORIES[1])[:32, :32]
    changed = sum(bool((stains(crop, 1, generator) != crop).any()) for _ in range(400))
    assert changed / 400 == pytest.approx(share, abs=0.07)


def test_an_image_without_tissue_is_neither_changed_nor_a_target() -> None:
    stains = random_stains([WHITE, LABORATORIES[1]], 1.0, normalised=False)
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(stains(WHITE, 0, generator), WHITE)
    for _ in range(10):
        assert np.abs(stains(LABORATORIES[1], 1, generator).astype(int) - LABORATORIES[1]).max() < 3


def test_without_a_share_no_number_is_drawn() -> None:
    stains = random_stains(LABORATORIES, 0.0, normalised=True)
    generator, untouched = np.random.default_rng(0), np.random.default_rng(0)
    assert stains(LABORATORIES[0], 0, generator) is LABORATORIES[0]
    assert generator.random() == untouched.random()


def test_batches_are_of_crops_in_these_stains(images: list[TiledImage]) -> None:
    """The same places, as stains are drawn after them."""
    params = TrainParams.load()
    quiet: dict[str, Any] = {
        "stain": 0, "stain_shift": 0, "brightness": 0, "blur_probability": 0,
    }  # fmt: skip
    params = params.model_copy(
        update={
            "batch_size": 4,
            "crop": 64,
            "augmentation": params.augmentation.model_copy(update=quiet),
        }
    )
    seen = [replace(images[0], image=LABORATORIES[1], labels=np.zeros((120, 120), np.uint16))]
    own, target = found(LABORATORIES[1]), found(LABORATORIES[2])

    def batch(stains: RandomStains | None) -> np.ndarray:
        return Batches(seen, params, "symmetric", stains=stains)[0][0]

    as_they_are = batch(None)
    np.testing.assert_array_equal(batch(random_stains([WHITE], 0.0, normalised=False)), as_they_are)
    others = batch(RandomStains([own], 1.0, normalised=False))
    assert np.abs(others - as_they_are).mean() < 2 * 1 / 255
    others = batch(RandomStains([own, target], 1.0, normalised=False))
    assert np.abs(others - as_they_are).mean() > 2 * 10 / 255
