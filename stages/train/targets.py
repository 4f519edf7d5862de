"""What a network learns to predict from a label map."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from monuseg.formats.images import Labels
from monuseg.formats.predictions import BOUNDARY, DISTANCE, NUCLEUS

# Maps are kept as bytes: an image's floats would take four times the memory.
FULL = 255
SHARES = np.arange(FULL + 1, dtype=np.float32) / np.float32(FULL)
Maps = npt.NDArray[np.uint8]


def maps_of(labels: Labels, outputs: Sequence[str], boundary_width: int) -> Maps:
    """Maps of one image to be learned besides its mask; they separate touching nuclei.

    "boundary" is a band along the edge of every nucleus, half of it inside and half outside, since
    a line of one pixel is too thin to be learned (Chen et al., "DCAN", 2017,
    https://arxiv.org/abs/1604.02677). "distance" is how far a pixel lies from the edge of its
    nucleus over the largest such distance in that nucleus (Naylor et al., 2019,
    https://doi.org/10.1109/TMI.2018.2865709, who leave it in pixels): 1 in the middle of small and
    large nuclei alike, so that one threshold gives a marker in each. Where the image's border cuts
    a nucleus there is no edge.

    Args:
        labels: (height, width); 0 is background.
        outputs: names of the network's outputs; each but "nucleus" gets a map.
        boundary_width: of the band, in pixels.

    Returns:
        (height, width, maps) from 0 to 255, in the order of `outputs`.
    """
    names = [name for name in outputs if name != NUCLEUS]
    maps = np.zeros((*labels.shape, len(names)), np.uint8)
    if not names or not labels.any():
        return maps
    # Distances to the nearest pixel with an edge, counted from the edge itself: a pixel beside it
    # is half a pixel away.
    inside = ndimage.distance_transform_edt(_without_edge(labels)) + 0.5
    for place, name in enumerate(names):
        if name == BOUNDARY:
            outside = ndimage.distance_transform_edt(labels == 0) - 0.5
            away = np.where(labels > 0, inside, outside)
            maps[..., place] = np.where(away < boundary_width / 2, FULL, 0)
        elif name == DISTANCE:
            largest = ndimage.maximum(inside, labels, np.arange(labels.max() + 1))
            relative = np.where(labels > 0, inside / np.asarray(largest)[labels], 0)
            maps[..., place] = np.rint(relative * FULL)
        else:
            raise ValueError(f"no target is called {name!r}")
    return maps


def target_of(labels: Labels, maps: Maps) -> npt.NDArray[np.float32]:
    """(height, width, outputs) from 0 to 1: the mask, then the maps of `maps_of`."""
    mask = (labels > 0).view(np.uint8) * np.uint8(FULL)
    merged = cv2.merge([mask, *cv2.split(maps)]) if maps.shape[-1] else mask
    target = np.asarray(cv2.LUT(merged, SHARES), np.float32)
    return target.reshape(*labels.shape, -1)


def _without_edge(labels: Labels) -> npt.NDArray[np.bool_]:
    """The pixels of nuclei whose four neighbours belong to the same nucleus."""
    padded = np.pad(labels, 1, mode="edge")
    same = labels > 0
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        same &= neighbour == labels
    return same
