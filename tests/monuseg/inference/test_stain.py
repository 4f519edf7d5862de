"""Stain normalisation on images of known stains."""

import numpy as np
import pytest
from skimage.color import rgb_from_hed

from monuseg.inference.stain import (
    GAIN,
    REFERENCE_STAINS,
    Normalisation,
    estimated_stains,
    fitted,
    normalised,
    optical_density,
    white_point,
)

OTHER_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston's
# Copied, so that a change of the module's is noticed: trained networks rest on it.
MEDIAN_STAINS = np.array([[0.55, 0.74, 0.40], [0.13, 0.82, 0.56]])
MEDIAN_DENSITY = np.array([2.55, 1.13])


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
    amounts *= MEDIAN_DENSITY / np.percentile(amounts.reshape(-1, 2), 99, axis=0)
    pixels = 256 * np.exp(-amounts @ MEDIAN_STAINS) - 1
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


def test_the_colour_of_the_light_does_not_matter() -> None:
    image = stained(OTHER_STAINS)
    light = np.array([250, 238, 226])
    tinted = np.rint((image + 1.0) * (light + 1) / 256 - 1).clip(0, 255).astype(np.uint8)
    np.testing.assert_allclose(white_point(tinted), light, atol=1)
    away = np.abs(normalised(tinted).astype(int) - normalised(image))
    assert away.mean() < 3
    assert normalised(tinted)[:10].min() >= 250  # glass becomes white


def test_light_is_white_where_no_glass_is_seen() -> None:
    np.testing.assert_array_equal(white_point(stained(OTHER_STAINS)[10:]), 255)


def test_what_a_part_tells_holds_pixel_by_pixel() -> None:
    image = stained(OTHER_STAINS)
    normalise = fitted(image)
    np.testing.assert_array_equal(normalise(image)[20:50, 30:70], normalise(image[20:50, 30:70]))


def test_each_pixel_is_rounded_as_double_precision_says() -> None:
    states = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(states, states, states), axis=-1).reshape(1, -1, 3)
    generator = np.random.default_rng(0)
    for _ in range(10):
        stains = generator.uniform(0, 1, (2, 3))
        stains /= np.linalg.norm(stains, axis=1, keepdims=True)
        white, gain = generator.uniform(200, 255, 3), generator.uniform(*GAIN, 2)
        mixing = np.linalg.pinv(stains) * gain @ REFERENCE_STAINS
        density = np.maximum(np.log1p(white) - np.log1p(colours.astype(np.float64)), 0)
        expected = np.clip(np.rint(256 * np.exp(-density @ mixing) - 1), 0, 255)
        np.testing.assert_array_equal(Normalisation(white, stains, gain)(colours), expected)


def test_hardly_any_stain_is_not_blown_up() -> None:
    """A pale image's haematoxylin would need 15 times its amount to look like the reference's."""
    normalise = fitted(stained(REFERENCE_STAINS, strength=0.35))
    assert isinstance(normalise, Normalisation)
    np.testing.assert_array_equal(normalise.gain, GAIN[1])


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
