"""What stage `train` does to images before it trains on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from monuseg.formats.tiles import TiledImage
from monuseg.inference.stain import NORMALISATIONS
from stages.train.__main__ import normalised


def test_training_images_are_normalised_and_nothing_else_of_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(60, 220, (64, 64, 3), np.uint8)
    image = TiledImage(
        "a", 0.25, 64, 64, pixels, np.ones((64, 64), np.uint16), [(0, 0, 64, 64)], "liver"
    )
    (found,) = normalised([image], "macenko", tmp_path)
    np.testing.assert_array_equal(found.image, NORMALISATIONS["macenko"](pixels))
    assert not np.array_equal(found.image, pixels)
    assert replace(found, image=pixels).labels is image.labels
    (same,) = normalised([image], "none", tmp_path)
    np.testing.assert_array_equal(same.image, pixels)
