"""Drawn tiles to train on."""

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage


def disc_image(name: str, seed: int, height: int = 96, width: int = 112) -> TiledImage:
    """An image of dark discs on a bright ground, as one tile."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint16)
    rows, columns = np.mgrid[:height, :width]
    for number in range(1, 9):
        y, x, radius = generator.uniform([0, 0, 6], [height, width, 12])
        labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = number
    tone = np.where(labels > 0, 90, 210)[..., np.newaxis] + generator.normal(0, 8, (1, 1, 3))
    image = np.clip(tone + generator.normal(0, 10, (height, width, 3)), 0, 255).astype(np.uint8)
    return TiledImage(name, 0.25, height, width, image, labels, [(0, 0, height, width)], "liver")


@pytest.fixture(scope="session")
def images() -> list[TiledImage]:
    return [disc_image("a", 1), disc_image("b", 2)]
