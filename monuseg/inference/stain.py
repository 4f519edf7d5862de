"""Stain normalisation: images come to look as if one laboratory had stained them all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.formats.images import RGB

Floats = npt.NDArray[np.float64]

# Optical density of haematoxylin and eosin in red, green and blue, and the 99th percentile of the
# amount of each: medians over the 30 training images of MoNuSeg, which move least by it. (Macenko
# et al.'s own reference is a slide paler than most of these.)
REFERENCE_STAINS = np.array([[0.55, 0.74, 0.40], [0.13, 0.82, 0.56]])
REFERENCE_DENSITY = np.array([2.55, 1.13])

# The paper's beta, the mean optical density below which a pixel is glass, and its alpha, the
# percentage of pixels that are cut off at either end as noise.
GLASS = 0.15
TAIL = 1.0
# Nothing can be estimated from fewer pixels of tissue than this, or from stains whose cosine is
# larger than this (a third of the angle between the reference's two stains).
LEAST_TISSUE = 1000
SAME_STAIN = 0.99
LEAST_DENSITY = 0.05
# No stain is strengthened or weakened by more: the 44 images of MoNuSeg need 0.4 to 1.9. Beyond it,
# what was taken for a stain is ink or pigment, or there is hardly any of it.
GAIN = (0.4, 2.5)
# Bright and nearly grey pixels are glass, whose colour is the light's. With fewer than this share
# of them, as in an image full of tissue, the light is taken as white.
BRIGHT, GREY = 200, 30
LEAST_GLASS = 0.001

PART = 1 << 16  # pixels worked on at once, whose values stay in a processor's cache
# What single precision is off by at most, in units of its last bit: sixteen times a half, while the
# few operations that a value goes through have less than half of that.
LAST_BITS = 2.0**-20


@dataclass(frozen=True)
class Appearance:
    """What makes images of one laboratory look alike, after Macenko et al.

    Attributes:
        white: (3,) red, green and blue of glass.
        stains: (2, 3) optical density of haematoxylin and eosin, unit vectors.
        density: (2,) 99th percentile of the amount of each.
    """

    white: Floats
    stains: Floats
    density: Floats


REFERENCE = Appearance(np.full(3, 255.0), REFERENCE_STAINS, REFERENCE_DENSITY)


@dataclass(frozen=True)
class Normalisation:
    """Replaces the stains of an image with others on white glass, pixel by pixel.

    Attributes:
        white: (3,) red, green and blue of glass.
        stains: (2, 3) optical density of the image's haematoxylin and eosin, unit vectors.
        gain: (2,) of the amount of each.
        target: (2, 3) the stains that replace them.
    """

    white: Floats
    stains: Floats
    gain: Floats
    target: Floats = field(default_factory=REFERENCE_STAINS.copy)

    @classmethod
    def between(cls, own: Appearance, other: Appearance = REFERENCE) -> Self:
        """From an image's own stains to another's, none of them gained beyond `GAIN`."""
        gain = np.clip(other.density / own.density, *GAIN)
        return cls(own.white, own.stains, gain, other.stains)

    def __call__(self, image: RGB) -> RGB:
        """(height, width, 3) as if stained with `target`."""
        pixels = np.ascontiguousarray(image).reshape(-1, 3)
        made = np.empty_like(pixels)
        for start in range(0, len(pixels), PART):
            part = slice(start, start + PART)
            self._replace(pixels[part], made[part])
        return made.reshape(image.shape)

    def _replace(self, pixels: RGB, made: RGB) -> None:
        """Some pixels, (n, 3): in single precision, and what is close to a half in double.

        Those are one in fifty; so all are rounded as if all had been computed in double precision.
        """
        mixing = np.linalg.pinv(self.stains) * self.gain @ self.target
        table = _densities(self.white)
        density = cv2.LUT(pixels[np.newaxis], table[np.newaxis].astype(np.float32))
        values = cv2.transform(density, -mixing.T.astype(np.float32))[0]
        np.exp(values, out=values)
        values *= 256
        values -= 1
        np.clip(values, 0, 255, out=values)
        whole = np.rint(values)
        made[:] = whole
        off = 256 * LAST_BITS * (1 + table.max() * np.abs(mixing).sum(axis=0).max())
        values -= whole
        close = np.flatnonzero(np.abs(values, out=values) > 0.5 - off)
        exact = 256 * np.exp(-optical_density(pixels[close // 3], self.white) @ mixing) - 1
        chosen = exact[np.arange(len(close)), close % 3]
        made.ravel()[close] = np.clip(np.rint(chosen), 0, 255)


def normalised(image: RGB) -> RGB:
    """Replace an image's own stains with those of the reference.

    Args:
        image: (height, width, 3).

    Returns:
        (height, width, 3); the image itself if it has too little tissue, or only one stain.
    """
    return fitted(image)(image)


def fitted(image: RGB) -> Callable[[RGB], RGB]:
    """How the stains of an image, or of what a part of it shows, become those of the reference.

    Args:
        image: (height, width, 3); of a slide, some of its tissue.

    Returns:
        A function from (height, width, 3) to the same; it changes nothing if there is too little
        tissue, or only one stain.
    """
    own = appearance(image)
    return _as_it_is if own is None else Normalisation.between(own)


def appearance(image: RGB) -> Appearance | None:
    """Estimate light and stains of an image.

    Macenko et al., "A method for normalizing histology slides for quantitative analysis", 2009,
    https://doi.org/10.1109/ISBI.2009.5193250: the two stains are the extreme directions in the
    plane of most variance of optical density.

    Args:
        image: (height, width, 3); of a slide, some of its tissue.

    Returns:
        None if there is too little tissue, or only one stain.
    """
    white = white_point(image)
    density = optical_density(image, white)
    # The mean over all three channels: eosin alone absorbs little red light.
    # (Not NumPy's mean, which is slow where an axis is short; so below.)
    mean = (density[:, 0] + density[:, 1] + density[:, 2]) / 3
    stains = estimated_stains(density[mean > GLASS])
    if stains is None:
        return None
    amounts = density @ np.linalg.pinv(stains)
    dense = np.percentile(amounts, 100 - TAIL, axis=0)
    return None if (dense < LEAST_DENSITY).any() else Appearance(white, stains, dense)


def white_point(image: RGB) -> Floats:
    """The colour of glass, (3,): 255 each where too little of it is seen.

    Args:
        image: (height, width, 3).
    """
    pixels = image.reshape(-1, 3)
    darkest = np.minimum(np.minimum(pixels[:, 0], pixels[:, 1]), pixels[:, 2])
    brightest = np.maximum(np.maximum(pixels[:, 0], pixels[:, 1]), pixels[:, 2])
    glass = pixels[(darkest >= BRIGHT) & (brightest - darkest <= GREY)]
    if len(glass) < LEAST_GLASS * len(pixels):
        return np.full(3, 255.0)
    return np.asarray(np.percentile(glass, 100 - TAIL, axis=0))


def optical_density(image: RGB, white: npt.ArrayLike = 255) -> Floats:
    """How strongly the slide absorbs light at each pixel, by the law of Beer and Lambert.

    Args:
        image: (height, width, 3) RGB.
        white: of the light that reaches the slide; one value, or red, green and blue.

    Returns:
        (height * width, 3) natural logarithms of incident over transmitted light in red, green and
        blue, without unit: 0 for `white`, which nothing is brighter than.
    """
    pixels = np.ascontiguousarray(image).reshape(1, -1, 3)
    if not pixels.size:
        return np.zeros((0, 3))
    density: Floats = cv2.LUT(pixels, _densities(white)[np.newaxis])[0]
    return density


def _densities(white: npt.ArrayLike) -> Floats:
    """(256, 3) optical density of each value: so many it has, and logarithms are slow."""
    table = np.log1p(np.broadcast_to(white, 3)) - np.log1p(np.arange(256.0))[:, np.newaxis]
    return np.asarray(np.maximum(table, 0))


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
