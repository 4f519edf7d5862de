"""AJI and PQ as codes of the field compute them: a mask of the whole image a nucleus.

The same values as `monuseg.scoring`, which makes one table of overlaps in a single pass instead.
"""

import numpy as np
import numpy.typing as npt

MATCH = 0.5  # IoU above which two nuclei are the same
Masks = list[npt.NDArray[np.uint8]]


def masks_of(labels: npt.NDArray[np.integer]) -> Masks:
    """A mask of the whole image for each label but 0."""
    return [(labels == label).astype(np.uint8) for label in np.unique(labels) if label]


def overlaps(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]
) -> tuple[Masks, Masks, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The masks of both, and pixels in the intersection and the union of each pair that meets."""
    true, made = masks_of(truth), masks_of(prediction)
    place = {label: index for index, label in enumerate(np.unique(prediction[prediction > 0]))}
    intersection = np.zeros((len(true), len(made)), np.int64)
    union = np.zeros_like(intersection)
    for row, mask in enumerate(true):
        for label in np.unique(prediction[mask > 0]):
            if label:
                column = place[label]
                both = mask + made[column]
                intersection[row, column] = (both == 2).sum()
                union[row, column] = (both > 0).sum()
    return true, made, intersection, union


def aji(truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]) -> float:
    """Each true nucleus with the prediction of highest IoU; what is left counts as union."""
    true, made, intersection, union = overlaps(truth, prediction)
    iou = intersection / np.maximum(union, 1)
    best = iou.argmax(axis=1)
    met = [row for row in range(len(true)) if iou[row, best[row]] > 0]
    inside = sum(intersection[row, best[row]] for row in met)
    outside = sum(union[row, best[row]] for row in met)
    outside += sum(true[row].sum(dtype=np.int64) for row in range(len(true)) if row not in met)
    used = {best[row] for row in met}
    outside += sum(
        mask.sum(dtype=np.int64) for column, mask in enumerate(made) if column not in used
    )
    return float(inside / outside)


def pq(truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]) -> float:
    """Sum of the IoU of matches, over matches and half of all that has none."""
    true, made, intersection, union = overlaps(truth, prediction)
    iou = intersection / np.maximum(union, 1)
    matches = iou[iou > MATCH]
    return float(matches.sum() / (len(matches) + (len(true) + len(made) - 2 * len(matches)) / 2))
