"""Stain normalisation on images of known stains."""

import numpy as np
import pytest
from skimage.color import rgb_from_hed

from monuseg.inference.stain import REFERENCE_STAINS, estimated_stains, normalised

OTHER_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston's


def stained(stains: np.ndarray, strength: float = 1.0, seed: int = 0) -> np.ndarray:
    """An image of purple blobs on pink, with some glass."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:120, :120]
    nuclei = (np.sin(rows / 6) * np.sin(columns / 7) > 0.3).astype(float)
    haematoxylin = nuclei * generator.uniform(0.8, 1.6, nuclei.shape)
    eosin = (1 - nuclei) * generator.uniform(0.4, 1.0, nuclei.shape)
    amounts = strength * np.stack([haematoxylin, eosin], axis=-1)
    amounts[:10] = 0  # glass
    unit = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    return np.clip(np.rint(256 * np.exp(-amounts @ unit) - 1), 0, 255).astype(np.uint8)


def density(image: np.ndarray) -> np.ndarray:
    return -np.log((image.reshape(-1, 3).astype(float) + 1) / 256)


def test_the_stains_of_an_image_are_found() -> None:
    for stains in (OTHER_STAINS, REFERENCE_STAINS, rgb_from_hed[:2]):
        tissue = density(stained(stains))
        found = estimated_stains(tissue[tissue.mean(axis=1) > 0.15])
        assert found is not None
        unit = stains / np.linalg.norm(stains, axis=1, keepdims=True)
        assert np.all(np.sum(found * unit, axis=1) > 0.99)  # within 8 degrees


@pytest.mark.parametrize("strength", [0.7, 1.3])
def test_slides_of_two_laboratories_come_to_look_alike(strength: float) -> None:
    one, other = stained(REFERENCE_STAINS), stained(OTHER_STAINS, strength)
    before = np.abs(one.astype(int) - other).mean()
    after = np.abs(normalised(one).astype(int) - normalised(other)).mean()
    assert after < 0.4 * before


def test_glass_stays_white() -> None:
    assert normalised(stained(OTHER_STAINS))[:10].min() >= 250


@pytest.mark.parametrize(
    "image",
    [
        np.full((50, 50, 3), 255, np.uint8),
        np.full((50, 50, 3), 0, np.uint8),
        np.full((50, 50, 3), (180, 90, 160), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.repeat(np.random.default_rng(0).integers(0, 256, (60, 60, 1), np.uint8), 3, axis=2),
    ],
    ids=["white", "black", "one colour", "one pixel", "grey"],
)
def test_what_has_no_two_stains_stays_as_it_is(image: np.ndarray) -> None:
    np.testing.assert_array_equal(normalised(image), image)


def test_the_same_image_gives_the_same_bytes() -> None:
    image = stained(OTHER_STAINS)
    np.testing.assert_array_equal(normalised(image), normalised(image.copy()))
    assert normalised(image).dtype == np.uint8
