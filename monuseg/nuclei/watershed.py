"""From the maps that a network predicts to individual nuclei."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar, get_args

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
Value = TypeVar("Value", bound=np.generic)

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
    pixels = _Pixels.of(mask, settings.min_area)
    heights = _heights(pixels, maps, settings)
    if settings.separation == "shape":
        markers = _peaks(heights, pixels, settings.min_distance)
    else:
        markers = _summits(heights, pixels, settings.marker_threshold)
    found = _large_enough(_flooded(heights, markers, pixels), settings.min_area)
    if settings.min_probability:
        probability = pixels.at(maps[NUCLEUS])
        found = _only(found, _certain(found, probability, settings.min_probability))
    return pixels.image(found)


@dataclass(frozen=True)
class _Pixels:
    """The pixels of a mask, row by row: a few of the image, and all that is worked on.

    Attributes:
        shape: of the image.
        places: (n,) their flat indices.
        objects: (n,) the connected object that each is in, from 1, perhaps with gaps.
    """

    shape: tuple[int, int]
    places: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int32]

    @classmethod
    def of(cls, mask: Mask, min_area: int) -> Self:
        """The pixels of the objects of at least `min_area`."""
        objects, _ = ndimage.label(mask, EDGES)
        places = np.flatnonzero(mask)
        own = objects.ravel()[places]
        large = (np.bincount(own) >= min_area)[own]
        height, width = mask.shape
        return cls((height, width), places[large], own[large])

    def at(self, image: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """(n,) values of an image, (height, width)."""
        return np.asarray(image.reshape(-1)[self.places])

    def image(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """(height, width) of (n,) values; 0 elsewhere."""
        made = np.zeros(self.shape, values.dtype)
        made.ravel()[self.places] = values
        return made


def _flooded(
    heights: Floats, markers: npt.NDArray[np.int32], pixels: _Pixels
) -> npt.NDArray[np.int32]:
    """The watershed from markers, which does not depend on what other objects there are.

    So an object with one marker is that marker's, and only others are flooded.

    Args:
        heights: (n,) of the pixels.
        markers: (n,) the number of the marker that each is in; 0 is none.
        pixels: of the objects.

    Returns:
        (n,) the number of the marker whose water reaches each pixel first; 0 where there is none.
    """
    of = pixels.objects
    marked = np.flatnonzero(markers)
    owner, number = of[marked], markers[marked]
    one = np.zeros(of.max(initial=0) + 1, np.int32)
    one[owner] = number
    several = np.zeros(len(one), bool)
    several[owner[number != one[owner]]] = True
    labels = one[of]
    shared = np.flatnonzero(several[of])
    for part, places, shape in _canvases(pixels.places[shared], of[shared], pixels.shape):
        here = shared[part]
        labels[here] = _watershed(heights[here], markers[here], places, shape)
    return labels


def _canvases(
    places: npt.NDArray[np.int64], objects: npt.NDArray[np.int32], shape: tuple[int, int]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], tuple[int, int]]]:
    """Objects, cut out and laid out one below the other, those of about one width together.

    Args:
        places: (n,) flat indices of their pixels in an image, in ascending order.
        objects: (n,) the object of each.
        shape: of the image.

    Yields:
        Of each canvas which of the n pixels it has, their flat indices there, also in ascending
        order within an object, and its shape.
    """
    if not len(places):
        return
    rows, columns = np.divmod(places, shape[1])
    _, number = np.unique(objects, return_inverse=True)
    count = number.max() + 1
    top, left = np.full(count, shape[0]), np.full(count, shape[1])
    bottom, right = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.minimum.at(top, number, rows)
    np.minimum.at(left, number, columns)
    np.maximum.at(bottom, number, rows + 1)
    np.maximum.at(right, number, columns + 1)
    kind = np.frexp(right - left)[1]
    widths = 1 << kind.astype(np.int64)
    lengths = bottom - top + 1  # a row of background between two
    if (widths * lengths).sum() > shape[0] * shape[1]:  # they lie around each other
        yield np.arange(len(places)), places, shape
        return
    for width in np.unique(widths).tolist():
        chosen = widths == width
        start = np.cumsum(np.where(chosen, lengths, 0)) - lengths
        part = np.flatnonzero(chosen[number])
        own = number[part]
        there = (rows[part] - top[own] + start[own]) * width + columns[part] - left[own]
        yield part, there, (int(lengths[chosen].sum()), width)


def _watershed(
    heights: Floats,
    markers: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> npt.NDArray[np.int32]:
    """The watershed of pixels at places of a canvas.

    Of marker pixels of one height, scikit-image floods first which its heap happens to have on top,
    and that depends on all others. Here it is the first in the image: heights differ by less than
    those of any two pixels that differ, which are of single precision.
    """
    mask, basins = np.zeros(shape, bool), np.zeros(shape, np.int32)
    mask.ravel()[places] = True
    basins.ravel()[places] = markers
    # From the inside of a marker no water flows. The heap need not hold it.
    still = (basins > 0) | ~mask
    inner = cv2.erode(still.view(np.uint8), EDGES.astype(np.uint8)).view(bool) & (basins > 0)
    levels = np.zeros(shape)
    levels.ravel()[places] = -heights.astype(np.float64)
    rim = np.flatnonzero((basins > 0) & ~inner)
    levels.ravel()[rim] *= 1 + np.arange(len(rim), 0, -1) * 2.0**-50
    flooded = watershed(levels, np.where(inner, 0, basins), mask=mask & ~inner)
    return np.where(inner, basins, flooded).ravel()[places]


def filled(mask: Mask, largest: int = LARGEST_HOLE) -> Mask:
    """Close holes of up to `largest` pixels, except those that touch the border."""
    background, _ = ndimage.label(~mask, EDGES_AND_CORNERS)
    sizes = np.bincount(background.ravel())
    hole = sizes <= largest
    hole[0] = False  # 0 is the mask itself
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        hole[edge] = False
    sizes[0] = 0
    # Nearly all of the background is one part, which need not be looked up.
    largest_part = int(sizes.argmax())
    places = np.flatnonzero((background != largest_part) & ~mask)
    closed = mask.copy()
    closed.ravel()[places] = hole[background.ravel()[places]]
    if hole[largest_part]:
        closed |= background == largest_part
    return closed


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
    return _only(labels, _certain(of, probability.ravel()[places], min_probability))


def _certain(
    of: npt.NDArray[np.integer], probability: npt.NDArray[np.floating], min_probability: float
) -> Mask:
    """Which nuclei, (1 + largest label,), have a high mean probability, from their pixels."""
    total = np.bincount(of, probability.astype(np.float64), minlength=1)
    return np.asarray(total >= min_probability * np.bincount(of, minlength=1))


def _heights(
    pixels: _Pixels, maps: dict[str, npt.NDArray[np.floating]], settings: NucleiSettings
) -> Floats:
    """Of each pixel the height of a map that is high in the middle of a nucleus, low between."""
    if settings.separation == "shape":
        hills = _distance_to_background(pixels.image(np.ones(len(pixels.places), bool)))
    elif not settings.smoothing:
        names = [NUCLEUS, BOUNDARY, DISTANCE]
        return _learned(
            {name: pixels.at(maps[name]) for name in names if name in maps}, settings.separation
        )
    else:
        hills = _learned(maps, settings.separation)
    if settings.smoothing:
        hills = ndimage.gaussian_filter(hills, settings.smoothing)
    return pixels.at(hills)


def _learned(maps: dict[str, npt.NDArray[np.floating]], separation: Separation) -> Floats:
    """The heights that a network learned."""
    if separation == DISTANCE:
        return np.asarray(maps[DISTANCE], np.float32)
    # Certainly a nucleus and certainly not near its edge.
    return np.asarray(maps[NUCLEUS], np.float32) * (1 - np.asarray(maps[BOUNDARY], np.float32))


def _summits(heights: Floats, pixels: _Pixels, threshold: float) -> npt.NDArray[np.int32]:
    """Number the connected parts of the objects that reach a threshold.

    An object of which no pixel reaches it becomes a marker as a whole.

    Returns:
        (n,) the number of each pixel's marker; 0 is none.
    """
    high = heights >= np.float32(threshold)
    parts, count = ndimage.label(pixels.image(high), EDGES)
    markers = np.asarray(pixels.at(parts), np.int32)
    marked = np.zeros(pixels.objects.max(initial=0) + 1, bool)
    marked[pixels.objects[high]] = True
    rest = ~marked[pixels.objects]
    markers[rest] = pixels.objects[rest] + count
    return markers


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


def _peaks(heights: Floats, pixels: _Pixels, min_distance: int) -> npt.NDArray[np.int32]:
    """One numbered pixel per nucleus: peaks with nothing higher of their object in `min_distance`.

    Of equal peaks that close to each other, the first stays. What other objects are nearby does not
    matter.

    Returns:
        (n,) the number of each pixel's marker; 0 is none.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * min_distance + 1,) * 2)
    height, objects = pixels.image(heights), pixels.image(pixels.objects)
    peaks = np.zeros(pixels.shape, bool)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is None:  # it was too small
            continue
        own = objects[box] == number
        alone = np.where(own, height[box], np.float32(0))
        peaks[box] |= own & (alone >= cv2.dilate(alone, disc))
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-height[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    kept = _spaced(np.column_stack([rows, columns]), objects[rows, columns], min_distance)
    markers = np.zeros(pixels.shape, np.int32)
    markers[rows[kept], columns[kept]] = np.arange(1, kept.sum() + 1)
    return pixels.at(markers)


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
    return _only(labels, np.bincount(labels.ravel(), minlength=1) >= max(1, min_area))


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
