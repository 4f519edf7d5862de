"""Validation scores of whole images."""

from dataclasses import replace

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from stages.train.validation import validate


def truth_of(image: TiledImage, error: float = 0.0):
    """A network that knows the truth of an image, but for a share of its rows."""

    def forward(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[1:3]
        answer = np.zeros((1, height, width, 1), np.float32)
        known = (image.labels > 0).astype(np.float32)
        known[: round(error * image.height)] = 0
        answer[0, : image.height, : image.width, 0] = known[: image.height, : image.width]
        return answer

    return forward


def test_the_truth_scores_one(images: list[TiledImage]) -> None:
    scores = validate(truth_of(images[0]), images[:1], divisor=16)
    assert scores.dice == 1
    assert scores.accuracy == 1
    assert scores.loss == pytest.approx(0, abs=1e-6)


def test_padding_does_not_count(images: list[TiledImage]) -> None:
    image = images[0]
    labels = np.pad(image.labels, ((0, 40), (0, 40)), constant_values=5)
    pixels = np.pad(image.image, ((0, 40), (0, 40), (0, 0)))
    padded = replace(image, image=pixels, labels=labels)
    assert validate(truth_of(image), [padded], divisor=16).dice == 1


def test_dice_is_the_mean_over_images(images: list[TiledImage]) -> None:
    half = truth_of(images[0], 0.5)
    truth = images[0].labels > 0
    found = truth.copy()
    found[: round(0.5 * images[0].height)] = False
    expected = 2 * (truth & found).sum() / (truth.sum() + found.sum())
    assert validate(half, images[:1], divisor=16).dice == pytest.approx(expected)


def test_nothing_found_where_there_is_nothing_is_right(images: list[TiledImage]) -> None:
    empty = replace(images[0], labels=np.zeros_like(images[0].labels))
    assert validate(truth_of(empty), [empty], divisor=16).dice == 1
