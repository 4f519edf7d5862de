"""From the maps that a network predicts to individual nuclei."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX, Labels
from monuseg.formats.predictions import BOUNDARY, DISTANCE, NUCLEUS

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# What shows where one nucleus ends and the next begins: the shape of the mask, or an output that
# the network learned for it. Each is named after the class that it needs; "shape" needs none.
Separation = Literal["shape", "boundary", "distance"]

# Two pixels that meet only at a corner are not connected in a nucleus, but are in the background.
EDGES = ndimage.generate_binary_structure(2, 1)
EDGES_AND_CORNERS = ndimage.generate_binary_structure(2, 2)

# In pixels. The mask of a pale nucleus, dark only at its rim, has a hole; a ring of nuclei around a
# lumen or stroma has a larger one. Closing those too costs 0.005 AJI on the classical masks.
LARGEST_HOLE = 200


@dataclass(frozen=True)
class NucleiSettings:
    """How nuclei are told apart.

    Attributes:
        threshold: of P(nucleus); a pixel that reaches it belongs to a nucleus.
        smoothing: sigma in pixels of the Gaussian on the map whose hills are the nuclei: with
            "shape" the distance to the background, otherwise an output of the network.
        min_distance: with "shape", centres of touching nuclei are farther apart, in pixels.
        min_area: nuclei of fewer pixels are dropped.
        min_probability: nuclei whose mean P(nucleus) is lower are dropped.
        separation: see `Separation`.
        marker_threshold: with "boundary" and "distance", each connected part of the map that
            reaches it is one nucleus.
    """

    threshold: float
    smoothing: float
    min_distance: int
    min_area: int
    separation: Separation = "shape"
    marker_threshold: float = 0.5
    min_probability: float = 0.0

    def at(self, scale: float) -> Self:
        """The same lengths and areas, in pixels of an image of another resolution.

        Args:
            scale: pixels of these settings per pixel of the image, along an axis.
        """
        if scale == 1:
            return self
        return replace(
            self,
            smoothing=self.smoothing / scale,
            min_distance=max(1, round(self.min_distance / scale)),
            min_area=max(1, round(self.min_area / scale**2)),
        )


def above(probability: npt.NDArray[np.floating], threshold: float) -> Mask:
    """Where the probability reaches the threshold; the same answer for float16 and float32."""
    return np.asarray(probability, np.float32) >= np.float32(threshold)


def separations(classes: Sequence[str]) -> list[Separation]:
    """The ways of telling nuclei apart that a network with these outputs allows."""
    return [name for name in get_args(Separation) if name == "shape" or name in classes]


def nuclei_from_predictions(
    predictions: npt.NDArray[np.floating],
    classes: Sequence[str],
    settings: NucleiSettings,
    scale: float = 1.0,
) -> Labels:
    """Label the nuclei of one image by a watershed from one marker per nucleus.

    Args:
        predictions: (height, width, classes).
        classes: names of the channels.
        settings: see `NucleiSettings`; in pixels of the images that they were chosen on.
        scale: such pixels per pixel of this image, from `monuseg.formats.scale`.

    Returns:
        (height, width) uint16 labels 1..n without gaps, each nucleus connected; 0 is background.

    Raises:
        PipelineError: the settings need a class that is not there, or there are more nuclei than a
            16-bit label map holds.
    """
    if settings.separation not in separations(classes):
        raise PipelineError(
            f"nuclei cannot be told apart by {settings.separation!r}: the outputs are "
            f"{', '.join(classes)}"
        )
    settings = settings.at(scale)
    maps = {name: predictions[..., channel] for channel, name in enumerate(classes)}
    mask = filled(above(maps[NUCLEUS], settings.threshold), max(1, round(LARGEST_HOLE / scale**2)))
    mask = without_small(mask, settings.min_area)
    hills = _hills(mask, maps, settings.separation)
    if settings.smoothing:
        hills = ndimage.gaussian_filter(hills, settings.smoothing)
    hills = np.where(mask, hills, np.float32(0))
    if settings.separation == "shape":
        markers = _peaks(hills, mask, settings.min_distance)
    else:
        markers = _summits(hills, mask, settings.marker_threshold)
    labels = _large_enough(_flooded(hills, markers, mask), settings.min_area)
    return certain(labels, maps[NUCLEUS], settings.min_probability)


def _flooded(hills: Floats, markers: npt.NDArray[np.int32], mask: Mask) -> npt.NDArray[np.int32]:
    """The watershed from markers, which does not depend on what other objects there are.

    Of marker pixels of one height, scikit-image floods first which its heap happens to have on top,
    and that depends on all others. Here it is the first in the image: heights differ by less than
    those of any two pixels that differ, which are of single precision.
    """
    levels = -hills.astype(np.float64)
    places = np.flatnonzero(markers)
    levels.ravel()[places] *= 1 + np.arange(len(places), 0, -1) * 2.0**-50
    return np.asarray(watershed(levels, markers, mask=mask))


def filled(mask: Mask, largest: int = LARGEST_HOLE) -> Mask:
    """Close holes of up to `largest` pixels, except those that touch the border."""
    background, _ = ndimage.label(~mask, EDGES_AND_CORNERS)
    hole = np.bincount(background.ravel()) <= largest
    hole[0] = False  # 0 is the mask itself
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        hole[edge] = False
    return np.asarray(mask | hole[background])


def without_small(mask: Mask, min_area: int) -> Mask:
    """Drop connected objects of fewer than `min_area` pixels."""
    objects, _ = ndimage.label(mask, EDGES)
    kept = np.bincount(objects.ravel()) >= min_area
    kept[0] = False
    return np.asarray(kept[objects])


def certain(
    labels: Labels, probability: npt.NDArray[np.floating], min_probability: float
) -> Labels:
    """Drop nuclei of low mean probability.

    A threshold decides pixel by pixel, so a pale smear just above it passes, although it is more
    often a false positive than a nucleus.

    Args:
        labels: (height, width) 1..n without gaps.
        probability: (height, width) P(nucleus).
        min_probability: a nucleus with a lower mean is dropped; 0 keeps all.

    Returns:
        The others, renumbered 1..m in the same order.
    """
    if not min_probability:
        return labels
    places = np.flatnonzero(labels)
    of = labels.ravel()[places]
    total = np.bincount(of, probability.ravel()[places].astype(np.float64), minlength=1)
    return _only(labels, total >= min_probability * np.bincount(of, minlength=1))


def _hills(mask: Mask, maps: dict[str, npt.NDArray[np.floating]], separation: Separation) -> Floats:
    """A map that is high in the middle of each nucleus and low between neighbours."""
    if separation == "shape":
        return _distance_to_background(mask)
    if separation == DISTANCE:
        return np.asarray(maps[DISTANCE], np.float32)
    # Certainly a nucleus and certainly not near its edge.
    return np.asarray(maps[NUCLEUS], np.float32) * (1 - np.asarray(maps[BOUNDARY], np.float32))


def _summits(hills: Floats, mask: Mask, threshold: float) -> npt.NDArray[np.int32]:
    """Number the connected parts of the mask that reach a threshold.

    An object of which no pixel reaches it becomes a marker as a whole.
    """
    markers, count = ndimage.label(mask & (hills >= np.float32(threshold)), EDGES)
    objects, _ = ndimage.label(mask, EDGES)
    marked = np.zeros(objects.max() + 1, bool)
    marked[objects[markers > 0]] = True
    rest = np.where(marked[objects], 0, objects)
    return np.asarray(np.where(rest > 0, rest + count, markers), np.int32)


def _distance_to_background(mask: Mask) -> Floats:
    """The Euclidean distance of every pixel to the nearest one outside the mask, in pixels."""
    # The frame stands for background beyond the image: a nucleus cut by the border gets its centre
    # inside, and a mask without any background has a distance too.
    # Not OpenCV's transform: its last bits vary with the array's place in memory (measured with
    # 5.0), so that either of two equal peaks could become the centre.
    nearest = ndimage.distance_transform_edt(
        np.pad(mask, 1), return_distances=False, return_indices=True
    )
    # SciPy would compute it for the background as well, which takes two thirds of its time.
    places = np.array(np.nonzero(mask)) + 1
    distance = np.zeros(mask.shape, np.float32)
    distance[mask] = np.sqrt(((nearest[:, places[0], places[1]] - places) ** 2).sum(axis=0))
    return distance


def _peaks(height: Floats, mask: Mask, min_distance: int) -> npt.NDArray[np.int32]:
    """One numbered pixel per nucleus: peaks with nothing higher of their object in `min_distance`.

    Of equal peaks that close to each other, the first stays. What other objects are nearby does not
    matter.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * min_distance + 1,) * 2)
    objects, _ = ndimage.label(mask, EDGES)
    peaks = np.zeros(mask.shape, bool)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        own = objects[box] == number
        alone = np.where(own, height[box], np.float32(0))
        peaks[box] |= own & (alone >= cv2.dilate(alone, disc))
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
    """Which points stay if each, in order, drops later ones of its object within `min_distance`."""
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
    """Keep labels of at least `min_area` pixels, renumbered 1..n in the same order."""
    return _only(labels, np.bincount(labels.ravel()) >= max(1, min_area))


def _only(labels: npt.NDArray[np.integer], kept: Mask) -> Labels:
    """Keep labels where `kept`, (1 + largest label,), is true, numbered 1..n in the same order."""
    kept[0] = False
    count = int(kept.sum())
    if count > LABELS_MAX:
        raise PipelineError(
            f"{count} nuclei, but a 16-bit label map holds {LABELS_MAX}; raise min_area or "
            "min_distance"
        )
    renumbered: Labels = np.where(kept, np.cumsum(kept), 0).astype(np.uint16)
    return np.asarray(renumbered[labels])
