"""Stain normalisation: images come to look as if one laboratory had stained them all."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from monuseg.formats.images import RGB

Floats = npt.NDArray[np.float64]

# Optical density of haematoxylin and eosin in red, green and blue, and the 99th percentile of the
# amount of each: the reference slide of Macenko et al.'s own code.
REFERENCE_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
REFERENCE_DENSITY = np.array([1.9705, 1.0308])

# The paper's beta, the mean optical density below which a pixel is glass, and its alpha, the
# percentage of pixels that are cut off at either end as noise.
GLASS = 0.15
TAIL = 1.0
# Nothing can be estimated from fewer pixels of tissue than this, or from stains whose cosine is
# larger than this (a third of the angle between the reference's two stains).
LEAST_TISSUE = 1000
SAME_STAIN = 0.99
LEAST_DENSITY = 0.05


def normalised(image: RGB) -> RGB:
    """Replace an image's own stains with those of the reference.

    Macenko et al., "A method for normalizing histology slides for quantitative analysis", 2009,
    https://doi.org/10.1109/ISBI.2009.5193250: the two stains are the extreme directions in the
    plane of most variance of optical density.

    Args:
        image: (height, width, 3).

    Returns:
        (height, width, 3); the image itself if it has too little tissue, or only one stain.
    """
    density = optical_density(image)
    # The mean over all three channels: eosin alone absorbs little red light.
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


def optical_density(image: RGB) -> Floats:
    """How strongly the slide absorbs light at each pixel, by the law of Beer and Lambert.

    Args:
        image: (height, width, 3) RGB.

    Returns:
        (height * width, 3) natural logarithms of incident over transmitted light in red, green and
        blue, without unit: 0 for a value of 255, ln 256 for 0.
    """
    density: Floats = -np.log((image.reshape(-1, 3).astype(np.float64) + 1) / 256)
    return density


def estimated_stains(density: Floats) -> Floats | None:
    """Estimate the directions of haematoxylin and eosin in optical density.

    Args:
        density: (pixels, 3) optical density of tissue.

    Returns:
        (2, 3) unit vectors, haematoxylin first; None if they cannot be told apart.
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
    # Haematoxylin absorbs more of the red light.
    stains = stains[np.argsort(-stains[:, 0])]
    if (stains < 0).all(axis=1).any() or abs(stains[0] @ stains[1]) > SAME_STAIN:
        return None
    return np.asarray(stains)


def _as_it_is(image: RGB) -> RGB:
    return image


# By the values of `train.stain_normalisation`.
AS_IT_IS = "none"
NORMALISATIONS: dict[str, Callable[[RGB], RGB]] = {AS_IT_IS: _as_it_is, "macenko": normalised}
