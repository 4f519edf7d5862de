"""Resolutions: which are plausible, and by how much an image is resampled to look like another."""

from typing import Final

# The source of a resolution that nobody states, in the manifest.
ASSUMED: Final = "default"
# Between an oil-immersion objective with a fine sensor and an overview scan; a number outside is
# damaged, or of something else, as a magnification. The densities of screens and printers (72, 96
# and 300 dots an inch, which programs write unasked) are 85 um and more.
PLAUSIBLE = (0.05, 10.0)  # micrometres per pixel
# Resampling by less only blurs: slides of one scanner setting differ by this much anyway.
TOLERANCE = 0.1


def scale_of(um_per_pixel: float, reference: float) -> float:
    """Pixels at the reference's resolution per pixel of an image, along an axis.

    Args:
        um_per_pixel: micrometres per pixel of the image.
        reference: those of what it is brought to, such as a model's training images.

    Returns:
        Above 1 where the image is coarser; exactly 1 if they differ by at most `TOLERANCE`.
    """
    scale = um_per_pixel / reference
    return scale if abs(scale - 1) > TOLERANCE else 1.0
