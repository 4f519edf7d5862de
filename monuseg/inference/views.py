"""Test-time augmentation: the mean prediction over turned, mirrored and rescaled copies."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX
from monuseg.formats.predictions import Probabilities
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Floats, Forward, Pixels, predict_image

Value = TypeVar("Value", bound=np.generic)
# From (height, width, 3) to (height, width, classes).
PredictImage = Callable[[Pixels], Floats]

# Quarter turns, and whether mirrored afterwards: half a turn and a mirror give the other flip.
UPRIGHT = [(0, False)]
FLIPPED = [(0, False), (0, True), (2, True), (2, False)]
TURNED = list(product(range(4), (False, True)))


def predict_augmented(
    forward: Forward, image: Pixels, params: PredictParams, *, divisor: int, scale: float = 1.0
) -> Probabilities:
    """Predict the probabilities of each pixel of an image, as block `predict` says.

    Args:
        forward: the model.
        image: (height, width, 3).
        params: windows and views.
        divisor: must divide height and width of the model's input.
        scale: the model's pixels per pixel of the image, from `monuseg.formats.scale`. The model
            sees the image at its own resolution; the probabilities are those of the image's pixels.

    Returns:
        (height, width, classes), rounded to what a predictions folder keeps: whoever decides on
        them decides alike, whether they were stored or not.

    Raises:
        PipelineError: the image would be too large at the model's resolution.
    """
    height, width = image.shape[:2]
    if scale != 1 and height * width * scale**2 > PIXELS_MAX:
        raise PipelineError(
            f"{width} x {height} pixels become {round(width * scale)} x {round(height * scale)} at "
            f"the model's resolution, but at most {PIXELS_MAX} are allowed; cut it into smaller "
            "images, or correct its resolution"
        )
    predict = partial(
        predict_image,
        forward,
        window=params.window,
        overlap=params.overlap,
        divisor=divisor,
        batch_size=params.batch_size,
    )
    views = views_of(flips=params.flips, rotations=params.rotations)
    # Together with the views' scales: each view is resampled once there and once back.
    scales = [scale * one for one in params.scales]
    return mean_over_views(predict, image, views=views, scales=scales).astype(np.float16)


def views_of(*, flips: bool, rotations: bool) -> list[tuple[int, bool]]:
    """The (quarter turns, mirrored) to average over: upright alone, with flips, or all eight."""
    if rotations:
        return TURNED
    return FLIPPED if flips else UPRIGHT


def mean_over_views(
    predict: PredictImage,
    image: Pixels,
    *,
    views: Sequence[tuple[int, bool]],
    scales: Sequence[float],
) -> Floats:
    """The mean over all views and scales, each mapped back to the image's own pixels.

    Args:
        predict: predicts one whole image.
        image: (height, width, 3).
        views: from `views_of`.
        scales: sizes of the image relative to its own.

    Returns:
        (height, width, classes).
    """
    height, width = image.shape[:2]
    total: Floats | None = None
    for scale in scales:
        resized = _resized(image, round(height * scale), round(width * scale))
        for turns, mirrored in views:
            there = predict(np.ascontiguousarray(_turned(resized, turns, mirrored)))
            prediction = _resized(_turned_back(there, turns, mirrored), height, width)
            total = prediction if total is None else np.add(total, prediction, out=total)
    if total is None:
        raise ValueError("no view to average over")
    total /= np.float32(len(views) * len(scales))
    return total


def _turned(array: npt.NDArray[Value], turns: int, mirrored: bool) -> npt.NDArray[Value]:
    turned = np.rot90(array, turns)
    return turned[:, ::-1] if mirrored else turned


def _turned_back(array: npt.NDArray[Value], turns: int, mirrored: bool) -> npt.NDArray[Value]:
    return np.rot90(array[:, ::-1] if mirrored else array, -turns)


def _resized(array: npt.NDArray[Value], height: int, width: int) -> npt.NDArray[Value]:
    height, width = max(1, height), max(1, width)
    if array.shape[:2] == (height, width):
        return array
    smaller = height * width < array.shape[0] * array.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(array), (width, height), interpolation=interpolation)
    # OpenCV drops the last axis where it is 1.
    return np.asarray(resized, array.dtype).reshape(height, width, array.shape[2])
