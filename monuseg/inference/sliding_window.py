"""Probabilities of a whole image from overlapping windows, blended smoothly."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from monuseg.formats.tiles import pad, window_starts

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
# From (windows, height, width, 3) uint8 to (windows, height, width, classes) probabilities.
Forward = Callable[[Pixels], Floats]


def predict_image(
    forward: Forward,
    image: Pixels,
    *,
    window: int,
    overlap: int,
    divisor: int,
    batch_size: int = 1,
) -> Floats:
    """Predict the probabilities of each pixel of an image.

    An image that fits in one window goes through at once. A larger one is covered by windows whose
    predictions are averaged with weights that fall off linearly over the overlap, so that pixels
    without context count least and no seam shows.

    Args:
        forward: the model.
        image: (height, width, 3).
        window: side of a window in pixels; rounded up to a multiple of `divisor`.
        overlap: pixels that neighbouring windows share, below `window`.
        divisor: must divide height and width of a window; missing pixels are mirrored.
        batch_size: windows per call of `forward`.

    Returns:
        (height, width, classes).
    """
    height, width = image.shape[:2]
    # One shape for all windows: a backend compiles the model anew for each shape.
    rows, columns = (min(_up_to(window, divisor), _up_to(n, divisor)) for n in (height, width))
    places = [
        (y, x)
        for y in window_starts(height, rows, rows - overlap)
        for x in window_starts(width, columns, columns - overlap)
    ]
    padded = pad(image, rows, columns)
    if len(places) == 1:  # nothing to blend, which takes a twentieth of the time of a fast network
        [probability] = forward(padded[np.newaxis])
        return np.asarray(probability[:height, :width])
    weight = np.outer(_ramp(rows, overlap), _ramp(columns, overlap))[..., np.newaxis]
    weights = np.zeros((*padded.shape[:2], 1), np.float32)
    total = np.zeros(0, np.float32)
    # Added as they come: the answers of all windows together take more memory than the image's.
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        answers = forward(np.stack([padded[y : y + rows, x : x + columns] for y, x in batch]))
        if first == 0:
            total = np.zeros((*padded.shape[:2], answers.shape[-1]), np.float32)
        for (y, x), probability in zip(batch, answers, strict=True):
            total[y : y + rows, x : x + columns] += probability * weight
            weights[y : y + rows, x : x + columns] += weight
    np.divide(total, weights, out=total)
    return total[:height, :width]


def _up_to(length: int, divisor: int) -> int:
    """`length` rounded up to a multiple of `divisor`."""
    return -(-length // divisor) * divisor


def _ramp(length: int, overlap: int) -> Floats:
    """Weights along an axis: 1 in the middle, falling towards both ends, above 0 everywhere."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    return np.minimum(distance / (overlap + 1), 1).astype(np.float32)
