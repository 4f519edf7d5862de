"""Nuclei made from label maps."""

import tracemalloc
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from monuseg.segment.objects import Objects
from monuseg.segment.outputs.target import Target

# Noise has every way in which pixels can touch: along edges, at corners, around holes.
noise = arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def labels_of(noise: np.ndarray) -> np.ndarray:
    """Number the parts that are connected by edges, row by row."""
    return ndimage.label(noise)[0]


def blobs(height: int, width: int, *, seed: int = 0, smooth: float = 2.0) -> np.ndarray:
    random = np.random.default_rng(seed).random((height, width))
    return labels_of(ndimage.gaussian_filter(random, smooth) > 0.52)


def objects_of(labels: np.ndarray) -> Objects:
    """The nuclei of a label map without gaps."""
    boxes, masks = [], []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        boxes.append([*(side.start for side in box), *(side.stop for side in box)])
        masks.append(labels[box] == number)
    values = np.arange(1, len(masks) + 1, dtype=np.float32) / np.float32(len(masks) + 1)
    found = np.array(boxes, np.int64).reshape(-1, 4)
    return Objects(found, masks, values, 2 * values)


def some_of(objects: Objects, part: slice) -> Objects:
    return Objects(
        objects.boxes[part],
        objects.masks[part],
        objects.probability[part],
        objects.haematoxylin[part],
    )


def in_blocks(labels: np.ndarray, size: int = 7) -> Iterator[Objects]:
    """The same in several blocks, an empty one among them; can be iterated over once."""
    objects = objects_of(labels)
    for first in range(0, len(objects), size):
        yield some_of(objects, slice(first, first + size))
        yield Objects.none()


def target(labels: np.ndarray, um_per_pixel: float | None = 0.25, **others: object) -> Target:
    height, width = labels.shape
    return Target("slide", width, height, um_per_pixel, "identity", **others)


def striped(blocks: int, across: int = 32) -> Iterator[Objects]:
    """Very many nuclei, made as they are asked for: a row of discs in each block."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21)).astype(bool)
    columns = 24 * np.arange(across)
    for row in range(blocks):
        corners = np.stack([np.full(across, 24 * row), columns], axis=1)
        values = np.full(across, 0.5, np.float32)
        yield Objects(np.hstack([corners, corners + 21]), [disc] * across, values, values)


def peak(function: Callable[[], object]) -> int:
    """The most memory that a call takes, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
