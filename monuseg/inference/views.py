"""Test-time augmentation: the mean prediction over turned, mirrored and rescaled copies."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX, RGB
from monuseg.formats.predictions import Probabilities
from monuseg.inference.params import PredictParams
from monuseg.inference.resampling import transposed
from monuseg.inference.sliding_window import Floats, Forward, Pixels, Region
from monuseg.inference.streaming import Stream

# Rows of an image whose windows go through the model together.
ROWS = 2048
# Whether a window is transposed, then turned upside down, then mirrored.
View = tuple[bool, bool, bool]

UPRIGHT: list[View] = [(False, False, False)]
FLIPPED: list[View] = [(False, *flips) for flips in product([False, True], [False, True])]
TURNED: list[View] = [*FLIPPED, *((True, down, across) for _, down, across in FLIPPED)]


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

    def read(y: int, x: int, rows: int, columns: int) -> RGB:
        return image[y : y + rows, x : x + columns]

    stream = Stream(
        augmented(forward, params), read, height, width, params, divisor=divisor, scale=scale
    )
    strips = [Region(y, min(y + ROWS, height), 0, width) for y in range(0, height, ROWS)]
    return np.concatenate([*stream.regions(strips)])


def augmented(forward: Forward, params: PredictParams) -> Forward:
    """The model averaged over the views that block `predict` names."""
    return over_views(forward, views_of(flips=params.flips, rotations=params.rotations))


def views_of(*, flips: bool, rotations: bool) -> list[View]:
    """The views to average over: upright alone, with flips, or all eight."""
    if rotations:
        return TURNED
    return FLIPPED if flips else UPRIGHT


def over_views(forward: Forward, views: Sequence[View]) -> Forward:
    """The mean over views of each window, turned after it was padded and turned back.

    Args:
        forward: the model.
        views: from `views_of`; at least one.

    Returns:
        As `forward`; it calls it once for each view.
    """
    if not views:
        raise ValueError("no view to average over")

    def mean(windows: Pixels) -> Floats:
        # What is turned back alike is added up before.
        sums: dict[tuple[bool, bool], Floats] = {}
        for standing, upside_down, mirrored in views:
            view = windows.swapaxes(1, 2) if standing else windows
            view = view[:, ::-1] if upside_down else view
            answer = forward(np.ascontiguousarray(view[:, :, ::-1] if mirrored else view))
            answer = answer[:, ::-1] if upside_down else answer
            there = sums.get((standing, mirrored))
            sums[standing, mirrored] = (
                np.array(answer) if there is None else np.add(there, answer, out=there)
            )
        total, *others = (_turned_back(one, *how) for how, one in sums.items())
        for one in others:
            total += one
        total /= np.float32(len(views))
        return total

    return mean


def _turned_back(answers: Floats, standing: bool, mirrored: bool) -> Floats:
    if not standing:
        return answers[:, :, ::-1] if mirrored else answers
    lying = np.stack([transposed(answer) for answer in answers])
    return lying[:, ::-1] if mirrored else lying
