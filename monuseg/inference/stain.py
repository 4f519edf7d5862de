"""Stain normalisation: every image as if one laboratory had stained it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from monuseg.formats.images import RGB

Floats = npt.NDArray[np.float64]

# Haematoxylin and eosin in optical density of red, green, blue, and how dense each is at its
# 99th percentile: the reference slide of Macenko et al.'s own code.
REFERENCE_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
REFERENCE_DENSITY = np.array([1.9705, 1.0308])

# Mean optical density below which a pixel is glass, and the percentage of pixels cut off at either
# end as noise: beta and alpha of the paper.
GLASS = 0.15
TAIL = 1.0
# With less tissue than this, or with stains nearer to each other than this (cosine), nothing can
# be estimated: a thousand pixels, and a third of the angle between the reference's two stains.
LEAST_TISSUE = 1000
SAME_STAIN = 0.99
LEAST_DENSITY = 0.05


def normalised(image: RGB) -> RGB:
    """The image with the reference's stains in place of its own.

    Macenko et al., "A method for normalizing histology slides for quantitative analysis", 2009,
    https://doi.org/10.1109/ISBI.2009.5193250: the two stains are the extreme directions in the
    plane of most variance of optical density.

    Args:
        image: (height, width, 3).

    Returns:
        (height, width, 3); the image itself where it has too little tissue, or only one stain.
    """
    density = -np.log((image.reshape(-1, 3).astype(np.float64) + 1) / 256)
    # Of all three channels: eosin alone takes little of the red light.
    stains = estimated_stains(density[density.mean(axis=1) > GLASS])
    if stains is None:
        return image
    amounts = np.linalg.lstsq(stains.T, density.T, rcond=None)[0]
    dense = np.percentile(amounts, 100 - TAIL, axis=1)
    if (dense < LEAST_DENSITY).any():
        return image
    scaled = amounts * (REFERENCE_DENSITY / dense)[:, np.newaxis]
    pixels = 256 * np.exp(-scaled.T @ REFERENCE_STAINS) - 1
    made: RGB = np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(image.shape)
    return made


def estimated_stains(density: Floats) -> Floats | None:
    """Haematoxylin and eosin of an image.

    Args:
        density: (pixels, 3) optical density of tissue.

    Returns:
        (2, 3) unit vectors; None where they cannot be told.
    """
    if len(density) < LEAST_TISSUE:
        return None
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, [2, 1]]  # most variance first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)  # the sign of an eigenvector is free
    projected = density @ plane
    angles = np.arctan2(projected[:, 1], projected[:, 0])
    extremes = np.percentile(angles, [TAIL, 100 - TAIL])
    stains = np.array([np.cos(extremes), np.sin(extremes)]).T @ plane.T
    # Haematoxylin takes more of the red light.
    stains = stains[np.argsort(-stains[:, 0])]
    if (stains < 0).all(axis=1).any() or abs(stains[0] @ stains[1]) > SAME_STAIN:
        return None
    return np.asarray(stains)


def _as_it_is(image: RGB) -> RGB:
    return image


# By the values of `train.stain_normalisation`.
NORMALISATIONS: dict[str, Callable[[RGB], RGB]] = {"none": _as_it_is, "macenko": normalised}
