"""Nuclei without training: haematoxylin above a threshold."""

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from stages.dataset.images import RGB
from stages.inference.nuclei import Mask, without_small

HAEMATOXYLIN = 0  # channel of `rgb2hed`


def nucleus_mask(image: RGB, *, sigma: float, min_area: int) -> Mask:
    """Where an H&E image holds much haematoxylin, which stains nuclei.

    Colour deconvolution by the stain vectors of Ruifrok & Johnston (2001), a Gaussian, and the
    threshold of Otsu (1979) of this image's values.

    Args:
        image: (height, width, 3) RGB.
        sigma: of the Gaussian, in pixels.
        min_area: objects of fewer pixels are dropped.

    Returns:
        (height, width) mask; empty where the image is of one colour.
    """
    haematoxylin = ndimage.gaussian_filter(rgb2hed(image)[..., HAEMATOXYLIN], sigma)
    return without_small(np.asarray(haematoxylin > threshold_otsu(haematoxylin)), min_area)
