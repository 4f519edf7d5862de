"""A Keras model as a function from pixels to probabilities."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from monuseg.inference.sliding_window import Forward
from monuseg.models.shared.scaling import SCALINGS


def forward_of(model: Any, scaling: str) -> Forward:
    """A function from (windows, height, width, 3) uint8 pixels to the model's probabilities.

    Args:
        model: a Keras model that returns logits; their sigmoids are the probabilities.
        scaling: how pixels become its inputs; see `monuseg.models.shared.scaling`.
    """
    scale = SCALINGS[scaling]

    def forward(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probability: npt.NDArray[np.float32] = expit(model.predict_on_batch(scale(pixels)))
        return probability

    return forward
