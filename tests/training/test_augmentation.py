"""Crops: image and labels move together, and colours change as the parameters say."""

import numpy as np
import pytest

from stages.params.train import AugmentationParams
from stages.training.augmentation import jitter_colour, random_crop

NONE = AugmentationParams(
    rotate=0, scale=(1, 1), flip=False, stain=0, stain_shift=0, brightness=0, blur=0,
    blur_probability=0,
)  # fmt: skip
STRONG = AugmentationParams(
    rotate=180, scale=(0.7, 1.4), flip=True, stain=0.3, stain_shift=0.05, brightness=0.2, blur=2,
    blur_probability=0.5,
)  # fmt: skip

NO_MAPS = np.zeros((96, 128, 0), np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((96, 128), np.uint16)
    found[20:50, 30:70] = 1
    found[60:90, 80:120] = 300
    return found


def as_image(labels: np.ndarray) -> np.ndarray:
    grey = np.where(labels > 0, 60, 200).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def test_without_augmentation_a_crop_is_cut_out_to_the_pixel(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    crop, cut, _ = random_crop(image, labels, NO_MAPS, (48, 64), 32, NONE, np.random.default_rng(1))
    np.testing.assert_array_equal(crop, image[32:64, 48:80])
    np.testing.assert_array_equal(cut, labels[32:64, 48:80])


@pytest.mark.parametrize("seed", range(8))
def test_image_and_labels_move_together(labels: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    crop, cut, _ = random_crop(as_image(labels), labels, NO_MAPS, (48, 64), 64, STRONG, generator)
    dark = crop[..., 0] < 130
    # Bilinear against nearest: only pixels on an edge may differ.
    assert np.mean(dark != (cut > 0)) < 0.02
    assert set(np.unique(cut)) <= {0, 1, 300}


@pytest.mark.parametrize("maps", [1, 2])
def test_maps_move_with_the_image(labels: np.ndarray, maps: int) -> None:
    image = as_image(labels)
    generator = np.random.default_rng(3)
    crop, _, found = random_crop(image, labels, image[..., :maps], (48, 64), 64, STRONG, generator)
    assert found.dtype == np.uint8
    # OpenCV rounds otherwise for another number of channels.
    np.testing.assert_allclose(found, crop[..., :maps], atol=4)


def test_beyond_the_border_the_image_is_mirrored(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    crop, _, _ = random_crop(image, labels, NO_MAPS, (0, 64), 32, NONE, np.random.default_rng(1))
    np.testing.assert_array_equal(crop[16:], image[:16, 48:80])
    np.testing.assert_array_equal(crop[:16], image[16:0:-1, 48:80])


def test_scale_enlarges_what_is_shown() -> None:
    labels = np.zeros((101, 101), np.uint16)
    labels[40:61, 40:61] = 1
    double = NONE.model_copy(update={"scale": (2.0, 2.0)})
    _, cut, _ = random_crop(
        as_image(labels), labels, NO_MAPS, (50.5, 50.5), 80, double, np.random.default_rng(0)
    )
    assert abs((cut > 0).sum() / (labels > 0).sum() - 4) < 0.2


def test_no_jitter_leaves_pixels_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    unchanged = jitter_colour(image, NONE, np.random.default_rng(1))
    assert np.abs(unchanged.astype(int) - image).max() <= 1  # rounding


@pytest.mark.parametrize(
    "change",
    [
        {"stain": 0.3},
        {"stain_shift": 0.1},
        {"brightness": 0.3},
        {"blur": 3.0, "blur_probability": 1.0},
    ],
)
def test_each_parameter_has_its_own_effect(change: dict[str, float]) -> None:
    image = np.random.default_rng(0).integers(60, 200, (40, 40, 3), np.uint8)
    changed = jitter_colour(image, NONE.model_copy(update=change), np.random.default_rng(1))
    assert np.abs(changed.astype(int) - image).mean() > 1


def test_white_background_stays_nearly_white_when_stains_are_multiplied() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    stained = NONE.model_copy(update={"stain": 0.5})
    assert jitter_colour(white, stained, np.random.default_rng(1)).min() >= 254
