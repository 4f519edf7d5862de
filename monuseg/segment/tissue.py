"""Where a slide has tissue: glass is not computed, and no nucleus is lost for it."""

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.formats.images import RGB
from monuseg.segment.objects import Mask

# Glass is bright and nearly grey, and there is much of it of one brightness. Pure white is what
# scanners write where they did not look.
BRIGHT, GREY, WHITE = 210, 20, 254
LEAST_GLASS = 0.02  # of all pixels
SPREAD = 2  # grey levels around that brightness

# Tissue is darker than glass in some channel, or of another hue, by more than these grey levels.
# The palest is: what noise, JPEG and uneven light do to glass is less, once averaged.
DARKER = 8
COLOURED = 6
MARGIN = 64.0  # micrometres around it, eight nuclei


def tissue_mask(overview: RGB, um_per_pixel: float) -> Mask:
    """Find what is not glass, with a generous margin: pale and blurred tissue, fat, ink.

    Args:
        overview: (height, width, 3) of a slide, at about 8 um per pixel.
        um_per_pixel: of the overview.

    Returns:
        (height, width); all true if no glass is seen.
    """
    absorbed = _light(overview) - cv2.blur(overview.astype(np.float32), (3, 3))
    tissue = (absorbed.max(axis=2) > DARKER) | (np.ptp(absorbed, axis=2) > COLOURED)
    radius = int(np.ceil(MARGIN / um_per_pixel))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return np.asarray(cv2.dilate(tissue.astype(np.uint8), disc), bool)


def _light(overview: RGB) -> npt.NDArray[np.float32]:
    """The colour of glass, (3,); white where there is too little of it to tell."""
    pixels = overview.reshape(-1, 3)
    darkest, brightest = pixels.min(axis=1), pixels.max(axis=1)
    bright = (darkest >= BRIGHT) & (darkest < WHITE) & (brightest - darkest <= GREY)
    levels = pixels[bright].mean(axis=1).astype(np.int64)
    near = np.convolve(np.bincount(levels, minlength=256), np.ones(2 * SPREAD + 1), "same")
    peaks = np.flatnonzero(near >= max(1, LEAST_GLASS * len(pixels)))
    if not len(peaks):
        return np.full(3, 255, np.float32)
    # The brightest that is common: pale tissue may be more common than glass.
    group = near[peaks[-1] - 2 * SPREAD : peaks[-1] + 1]
    level = peaks[-1] - 2 * SPREAD + int(group.argmax())
    glass = pixels[bright][np.abs(levels - level) <= SPREAD]
    return np.asarray(np.median(glass, axis=0), np.float32)
