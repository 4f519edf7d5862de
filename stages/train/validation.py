"""Scores of a network in training on whole validation images, each pixel once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monuseg.formats.tiles import TiledImage
from monuseg.inference.sliding_window import Forward, predict_image

# Images up to this side go through at once, so that validation costs one pass per pixel.
WINDOW = 1024
OVERLAP = 128
THRESHOLD = 0.5
# Keeps the logarithm finite, as Keras's own cross-entropy does.
EPSILON = 1e-7


@dataclass(frozen=True)
class ValidationScores:
    """Mean over images: binary cross-entropy and accuracy of pixels, and Dice of the mask."""

    loss: float
    accuracy: float
    dice: float


def validate(forward: Forward, images: Sequence[TiledImage], divisor: int) -> ValidationScores:
    """Score a network's first class against the nuclei of whole images.

    An image without nuclei in which none are found scores a Dice of 1.

    Args:
        forward: the network.
        images: of the validation split; at least one.
        divisor: must divide height and width of the network's input.
    """
    scores = []
    for image in images:
        pixels = np.ascontiguousarray(image.image[: image.height, : image.width])
        truth = image.labels[: image.height, : image.width] > 0
        probability = predict_image(
            forward, pixels, window=WINDOW, overlap=OVERLAP, divisor=divisor
        )[..., 0]
        predicted = probability > THRESHOLD
        clipped = np.clip(probability, EPSILON, 1 - EPSILON, dtype=np.float64)
        overlap, total = np.sum(truth & predicted), np.sum(truth) + np.sum(predicted)
        scores.append(
            (
                -np.mean(np.log(np.where(truth, clipped, 1 - clipped))),
                np.mean(truth == predicted),
                2 * overlap / total if total else 1.0,
            )
        )
    return ValidationScores(*(float(score) for score in np.mean(scores, axis=0)))
