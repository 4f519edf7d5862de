"""From a map of P(nucleus) to single nuclei."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from stages.dataset.images import LABELS_MAX, Labels
from stages.errors import PipelineError

Mask = npt.NDArray[np.bool_]

# Two pixels that meet only at a corner are not connected in a nucleus, but are in the background.
EDGES = ndimage.generate_binary_structure(2, 1)
EDGES_AND_CORNERS = ndimage.generate_binary_structure(2, 2)

# Pixels. A pale nucleus is dark at its rim and has a hole in its middle; a ring of nuclei round a
# lumen or stroma has a larger one. Closing those too costs 0.005 AJI on the classical masks.
LARGEST_HOLE = 200


@dataclass(frozen=True)
class NucleiSettings:
    """How nuclei are told apart.

    Attributes:
        threshold: of P(nucleus); a pixel at it is in.
        smoothing: sigma of the Gaussian on the distance transform, in pixels.
        min_distance: the centres of two nuclei that touch are farther apart, in pixels.
        min_area: nuclei of fewer pixels are dropped.
    """

    threshold: float
    smoothing: float
    min_distance: int
    min_area: int


def above(probability: npt.NDArray[np.floating], threshold: float) -> Mask:
    """Where the probability reaches the threshold; the same answer for float16 and float32."""
    return np.asarray(probability, np.float32) >= np.float32(threshold)


def nuclei_from_probability(
    probability: npt.NDArray[np.floating], settings: NucleiSettings
) -> Labels:
    """Label the nuclei of one image by a watershed on the smoothed distance to the background.

    Args:
        probability: (height, width) P(nucleus).
        settings: see `NucleiSettings`.

    Returns:
        (height, width) uint16 labels 1..n without gaps, each one connected; 0 is background.

    Raises:
        PipelineError: there are more nuclei than a 16-bit label map holds.
    """
    mask = without_small(filled(above(probability, settings.threshold)), settings.min_area)
    distance = _distance_to_background(mask)
    if settings.smoothing:
        distance = ndimage.gaussian_filter(distance, settings.smoothing)
    markers = _markers(np.where(mask, distance, 0), mask, settings.min_distance)
    return _large_enough(watershed(-distance, markers, mask=mask), settings.min_area)


def filled(mask: Mask, largest: int = LARGEST_HOLE) -> Mask:
    """The mask with its holes of up to `largest` pixels closed, but none that meets the border."""
    background, _ = ndimage.label(~mask, EDGES_AND_CORNERS)
    hole = np.bincount(background.ravel()) <= largest
    hole[0] = False  # 0 is the mask itself
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        hole[edge] = False
    return np.asarray(mask | hole[background])


def without_small(mask: Mask, min_area: int) -> Mask:
    """The mask without its connected objects of fewer than `min_area` pixels."""
    objects, _ = ndimage.label(mask, EDGES)
    kept = np.bincount(objects.ravel()) >= min_area
    kept[0] = False
    return np.asarray(kept[objects])


def _distance_to_background(mask: Mask) -> npt.NDArray[np.float32]:
    """The Euclidean distance of every pixel to the nearest one outside the mask, in pixels."""
    # The frame stands for background beyond the image: a nucleus cut by the border gets its centre
    # inside, and a mask without any background has a distance too.
    # Not OpenCV's transform: its last bits vary with where the array lies in memory (measured with
    # 5.0), and of two equal peaks another one would then become the centre.
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.asarray(distance, np.float32)


def _markers(
    height: npt.NDArray[np.float32], mask: Mask, min_distance: int
) -> npt.NDArray[np.int32]:
    """One numbered pixel a nucleus: peaks with nothing higher within `min_distance`.

    Of equal peaks that near the first stays. An object whose peaks are all below another
    object's near by keeps its highest one.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * min_distance + 1,) * 2)
    peaks = mask & (height >= cv2.dilate(height, disc))
    objects, count = ndimage.label(mask, EDGES)
    without = np.ones(count + 1, bool)
    without[objects[peaks]] = False
    # A pixel's four neighbours in the mask are of its object, so each object has such a peak.
    peaks |= mask & without[objects] & (height >= cv2.dilate(height, EDGES.astype(np.uint8)))
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-height[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    kept = _spaced(np.column_stack([rows, columns]), objects[rows, columns], min_distance)
    markers = np.zeros(mask.shape, np.int32)
    markers[rows[kept], columns[kept]] = np.arange(1, kept.sum() + 1)
    return markers


def _spaced(
    points: npt.NDArray[np.int64], objects: npt.NDArray[np.int32], min_distance: int
) -> Mask:
    """Which points stay when each, in order, drops the later ones of its object that are near."""
    kept = np.ones(len(points), bool)
    if not len(points):
        return kept
    pairs = cKDTree(points).query_pairs(min_distance, output_type="ndarray")
    pairs = pairs[objects[pairs[:, 0]] == objects[pairs[:, 1]]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    for first, second in pairs.tolist():
        if kept[first]:
            kept[second] = False
    return kept


def _large_enough(labels: npt.NDArray[np.integer], min_area: int) -> Labels:
    """The labels of at least `min_area` pixels, numbered 1..n in their order."""
    kept = np.bincount(labels.ravel()) >= max(1, min_area)
    kept[0] = False
    count = int(kept.sum())
    if count > LABELS_MAX:
        raise PipelineError(
            f"{count} nuclei, but a 16-bit label map holds {LABELS_MAX}; raise the least area or "
            "distance of nuclei"
        )
    renumbered: Labels = np.where(kept, np.cumsum(kept), 0).astype(np.uint16)
    return np.asarray(renumbered[labels])
