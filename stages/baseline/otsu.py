"""Nuclei without training: haematoxylin above a threshold."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from monuseg.formats.images import RGB, read_rgb
from monuseg.formats.manifest import SplitRecord
from monuseg.formats.predictions import write_probabilities
from stages.baseline.params import BaselineParams

HAEMATOXYLIN = 0  # channel of `rgb2hed`


def nucleus_mask(image: RGB, *, sigma: float, min_area: int) -> npt.NDArray[np.bool_]:
    """Find where an H&E image has much haematoxylin, which stains nuclei.

    Colour deconvolution by the stain vectors of Ruifrok & Johnston (2001), a Gaussian, and
    Otsu's threshold (1979) for this image's values.

    Args:
        image: (height, width, 3) RGB.
        sigma: of the Gaussian, in pixels.
        min_area: objects of fewer pixels are dropped.

    Returns:
        (height, width) mask; empty if the image has a single colour.
    """
    haematoxylin = ndimage.gaussian_filter(rgb2hed(image)[..., HAEMATOXYLIN], sigma)
    mask = np.asarray(haematoxylin > threshold_otsu(haematoxylin))
    # Objects are connected by edges, not by corners.
    return np.asarray(remove_small_objects(mask, max_size=min_area - 1, connectivity=1))


def write_mask(record: SplitRecord, *, raw: Path, folder: Path, params: BaselineParams) -> None:
    """Write the mask of one image as hard 0/1 predictions.

    The params are in pixels of the tiles; an image of another resolution keeps its own pixels.
    """
    image = read_rgb(raw / f"{record.id}.tif")
    scaled_area = round(params.min_area / record.scale**2)
    mask = nucleus_mask(image, sigma=params.sigma / record.scale, min_area=scaled_area)
    write_probabilities(folder, record.id, mask[..., np.newaxis].astype(np.float16))
