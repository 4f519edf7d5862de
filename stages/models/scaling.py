"""How uint8 RGB pixels become a network's inputs; named, because weights depend on it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Inputs = npt.NDArray[np.float32]

UINT8_MIDDLE = np.float32(127.5)


def _symmetric(pixels: Pixels) -> Inputs:
    return pixels.astype(np.float32) / UINT8_MIDDLE - np.float32(1)


SCALINGS: dict[str, Callable[[Pixels], Inputs]] = {
    "symmetric": _symmetric,  # to [-1, 1]
}
