"""Tests of `stages.tile.tiles.rescaled`."""

import numpy as np
import pytest
from scipy import ndimage

from stages.tile.tiles import rescaled


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.8, 1.25, 1.3, 1.6, 3.0])
def test_nuclei_stay_where_the_pixels_show_them(scale: float) -> None:
    # Discs in a grid, and an image that is bright where they are.
    labels = np.zeros((400, 400), np.uint16)
    y, x = np.mgrid[:400, :400]
    jitter = np.random.default_rng(1).uniform(-12, 12, (64, 2))
    for n, (down, right) in enumerate(jitter):
        row, column = 25 + 50 * (n // 8) + down, 25 + 50 * (n % 8) + right
        labels[(y - row) ** 2 + (x - column) ** 2 < 12**2] = n + 1
    image = np.repeat(np.where(labels > 0, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    size = round(400 * scale)
    pixels, found = rescaled(image, labels, size, size)
    assert pixels.shape == (size, size, 3)
    assert found.shape == (size, size)
    assert found.dtype == np.uint16
    numbers = np.arange(1, 65)
    assert np.unique(found).tolist() == [0, *numbers]
    before, after = (
        np.array(ndimage.center_of_mass(one > 0, one, numbers)) for one in (labels, found)
    )
    # Centres of pixels lie at a half.
    shift = (after + 0.5) / scale - (before + 0.5)
    assert np.abs(shift.mean(0)).max() < 0.1
    # And with the pixels: what is brighter than the middle is a nucleus.
    bright = pixels[..., 0] > 127
    assert (bright & (found > 0)).sum() / (bright | (found > 0)).sum() > 0.9


def test_labels_are_renumbered_in_their_order_where_nuclei_vanish() -> None:
    labels = np.zeros((30, 30), np.uint16)
    labels[:12, :12] = 5
    labels[14, 14] = 6  # beside the centre of its 3 x 3
    labels[15:, 15:] = 65_535
    _, found = rescaled(np.zeros((30, 30, 3), np.uint8), labels, 10, 10)
    assert np.unique(found).tolist() == [0, 1, 2]
    assert found[0, 0] == 1
    assert found[9, 9] == 2


def test_an_image_without_background_keeps_all_its_nuclei() -> None:
    labels = np.repeat(np.array([[3, 9]], np.uint16), 8, axis=1).repeat(8, axis=0)
    _, found = rescaled(np.zeros((8, 16, 3), np.uint8), labels, 4, 8)
    assert found.tolist() == [[1] * 4 + [2] * 4] * 4


def test_an_image_of_no_nucleus_and_one_that_becomes_a_pixel() -> None:
    _, found = rescaled(np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5), np.uint16), 1, 1)
    assert found.tolist() == [[0]]
