"""How uint8 RGB pixels become a network's inputs; named, because weights depend on it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Inputs = npt.NDArray[np.float32]

UINT8_MIDDLE = np.float32(127.5)
# Mean of ImageNet in blue, green, red, as keras.applications' "caffe" mode subtracts it.
IMAGENET_MEAN = np.array([103.939, 116.779, 123.68], np.float32)


def _symmetric(pixels: Pixels) -> Inputs:
    return pixels.astype(np.float32) / UINT8_MIDDLE - np.float32(1)


def _caffe(pixels: Pixels) -> Inputs:
    scaled: Inputs = pixels[..., ::-1].astype(np.float32) - IMAGENET_MEAN
    return scaled


SCALINGS: dict[str, Callable[[Pixels], Inputs]] = {
    "symmetric": _symmetric,  # to [-1, 1]
    "caffe": _caffe,  # blue, green, red, less ImageNet's mean: Keras's weights of ResNet-50
}
