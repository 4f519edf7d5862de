"""What the numbers of a ground-truth image mean: instances, a binary mask, or neither."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX

Kind = Literal["label-map", "binary-mask"]

FOREGROUND = 255
# A number is an instance's if most of its pixels are connected: other nuclei may cut one into
# pieces. So must most numbers be, since an editor's slips leave stray pixels.
CONNECTED_MIN = 0.8
INSTANCES_MIN = 0.75
# Grey values so near to black or white are what JPEG leaves; smoothed edges have all greys alike.
RINGING, RINGING_MIN = 32, 0.5
SHOWN_MAX = 5


def as_ground_truth(
    values: npt.NDArray[np.integer], *, name: str
) -> tuple[Kind, npt.NDArray[np.uint8] | npt.NDArray[np.uint16]]:
    """Decide what the numbers of a ground-truth image mean, by how they lie.

    - One number beside 0: a binary mask. It is an instance only where it has more than 8 bits, is
      not the largest number, nor 255, and is one area: a label map with one nucleus.
    - Several numbers beside 0: instances, if at least three quarters of the numbers are each one
      connected area (80 % of its pixels) that touches itself more than it touches others. Classes
      are many areas each; soft and smoothed edges are thin lines of many greys.
    - 0 alone: a label map of more than 8 bits, else a binary mask.

    Args:
        values: (height, width) whole numbers, 0 background.
        name: what an error calls the file.

    Returns:
        "label-map" and uint16 with 1..n in the order of the numbers; or "binary-mask" and uint8
        with 0 and 255.

    Raises:
        PipelineError: they are neither, or more than 65,535 instances, or no pixel is 0.
    """
    numbers = np.unique(values)
    if numbers[0] < 0 or (numbers[0] > 0 and len(numbers) > 1):
        raise PipelineError(
            f"{name}: its least number is {numbers[0]}, but 0 must be the background; save it so"
        )
    instances = int(np.count_nonzero(numbers))
    if instances > LABELS_MAX:
        raise PipelineError(f"{name}: more than {LABELS_MAX} instances; cut it into smaller images")
    dense = (np.searchsorted(numbers, values) + int(numbers[0] > 0)).astype(np.uint16)
    wide = values.dtype.itemsize > 1
    connected, calm = _layout(dense, instances, CONNECTED_MIN if instances > 1 else 1)
    if instances > 1:
        if np.mean(connected & calm) < INSTANCES_MIN:
            raise PipelineError(f"{name}: {_neither(values, numbers, connected, calm)}")
        return "label-map", dense
    limits = (FOREGROUND, np.iinfo(values.dtype).max if wide else FOREGROUND)
    if wide and numbers[-1] not in limits and connected.all():
        return "label-map", dense
    return "binary-mask", np.where(dense > 0, np.uint8(FOREGROUND), np.uint8(0))


def _layout(
    dense: npt.NDArray[np.uint16], instances: int, least: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Of each number 1..n: whether it is one connected area, and touches itself more than others.

    Areas are connected by edges or corners, and at least so much of a number must be. Touching is
    counted in pairs of pixels with a common edge; pairs with the background do not count.
    """
    from skimage.measure import label  # not above: outlines need no SciPy, which takes long to load

    areas = label(dense, connectivity=2)
    sizes = np.bincount(areas.ravel())
    owners = np.zeros(len(sizes), np.uint16)
    owners[areas.ravel()] = dense.ravel()
    largest = np.zeros(instances + 1, np.int64)
    np.maximum.at(largest, owners[1:], sizes[1:])
    own, foreign = (np.zeros(instances + 1, np.int64) for _ in range(2))
    for one, next_to in ((dense[:-1], dense[1:]), (dense[:, :-1], dense[:, 1:])):
        for side in (one, next_to):
            own += np.bincount(side[one == next_to], minlength=instances + 1)
            differ = (one != next_to) & (one > 0) & (next_to > 0)
            foreign += 2 * np.bincount(side[differ], minlength=instances + 1)
    totals = np.bincount(dense.ravel(), minlength=instances + 1)
    return (largest >= least * totals)[1:], (own >= foreign)[1:]


def _neither(
    values: npt.NDArray[np.integer],
    numbers: npt.NDArray[np.integer],
    connected: npt.NDArray[np.bool_],
    calm: npt.NDArray[np.bool_],
) -> str:
    """Why numbers are neither instances nor a mask, and what helps."""
    several = numbers[1:][~connected & calm]
    if len(several) > np.count_nonzero(~calm):
        shown = ", ".join(str(number) for number in several[:SHOWN_MAX])
        more = ", ..." if len(several) > SHOWN_MAX else ""
        return (
            f"the numbers {shown}{more} mark several areas each, as classes do; save one number "
            "per nucleus, or a mask of 0 and 255"
        )
    greys = values[(values > 0) & (values < FOREGROUND)]
    dark, light = greys < RINGING, greys > FOREGROUND - RINGING
    if values.dtype == np.uint8 and light.any() and np.mean(dark | light) > RINGING_MIN:
        return (
            "grey values near 0 and 255, as JPEG or smoothing leaves them in a mask; export the "
            "mask without either from where it was drawn"
        )
    return (
        f"{len(numbers)} values that are neither instances nor two, as in a mask with soft or "
        "resized edges; save 0 and 255, or one number per nucleus"
    )
