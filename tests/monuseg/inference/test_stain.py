"""Stain normalisation on images of known stains."""

import numpy as np
import pytest
from skimage.color import rgb_from_hed

from monuseg.inference.stain import (
    REFERENCE_STAINS,
    estimated_stains,
    normalised,
    optical_density,
)

OTHER_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston's
# The reference of Macenko et al.'s own code; copied, so that a change of the module's is noticed.
MACENKO_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
MACENKO_DENSITY = np.array([1.9705, 1.0308])


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


def reference() -> np.ndarray:
    """An image stained as the reference: haematoxylin alone in its upper half, eosin below."""
    amounts = np.zeros((100, 100, 2))
    amounts[:50, :, 0] = np.random.default_rng(0).uniform(0.4, 1, (50, 100))
    amounts[50:, :, 1] = np.random.default_rng(1).uniform(0.4, 1, (50, 100))
    amounts *= MACENKO_DENSITY / np.percentile(amounts.reshape(-1, 2), 99, axis=0)
    pixels = 256 * np.exp(-amounts @ MACENKO_STAINS) - 1
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def change(image: np.ndarray) -> np.ndarray:
    """By how many grey levels normalisation changes each value of an image."""
    return np.abs(normalised(image).astype(int) - image)


def test_optical_density_is_0_for_white_and_largest_for_black() -> None:
    image = np.array([[[255, 127, 0], [63, 255, 31]]], np.uint8)
    expected = np.log(2) * np.array([[0, 1, 8], [2, 0, 3]])
    np.testing.assert_allclose(optical_density(image), expected, rtol=1e-15)


def test_the_stains_of_an_image_are_found() -> None:
    for stains in (OTHER_STAINS, REFERENCE_STAINS, rgb_from_hed[:2]):
        tissue = optical_density(stained(stains))
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


def test_a_normalised_reference_stays_as_it_is() -> None:
    assert change(reference()).max() <= 3


def test_glass_does_not_count_as_tissue() -> None:
    image = reference()
    glass = np.random.default_rng(0).integers(250, 256, image.shape, np.uint8)
    assert change(np.concatenate([image, glass]))[: len(image)].mean() <= 6


def test_a_few_pixels_of_ink_do_not_decide_the_stains() -> None:
    tissue = optical_density(reference())
    expected = estimated_stains(tissue)
    for ink in ((1.5, 0.2, 0.1), (0.1, 0.2, 1.5)):
        inked = tissue.copy()
        inked[:50] = ink
        found = estimated_stains(inked)
        assert found is not None
        assert np.all(np.sum(found * expected, axis=1) > 0.97)


def test_a_value_above_the_largest_is_white_not_black() -> None:
    image = reference()
    image[:2] = (255, 255, 180)  # yellow, which no amounts of the two stains give
    assert normalised(image)[:2, :, 0].min() >= 200


def test_a_stain_that_adds_light_is_no_stain() -> None:
    tissue = optical_density(reference())
    assert estimated_stains(tissue) is not None
    assert estimated_stains(-tissue) is None


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
