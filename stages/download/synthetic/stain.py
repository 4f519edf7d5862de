"""Haematoxylin, eosin and blood as optical densities, by the law of Beer and Lambert.

Light that passes through a stain of concentration c is weakened to I = I0 * 10 ** -(c * v), with
one component of v for each colour (Ruifrok and Johnston, Analytical and Quantitative Cytology and
Histology 23, 2001). The mean directions are those seen in MoNuSeg's training images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.download.synthetic.noise import Field

Colour = npt.NDArray[np.float32]

# Optical density in red, green and blue at a concentration of 1, before normalisation.
HAEMATOXYLIN = (0.57, 0.74, 0.40)
EOSIN = (0.17, 0.86, 0.46)
ERYTHROCYTE = (0.06, 0.72, 0.62)
# Standard deviation of each of these numbers between slides.
HAEMATOXYLIN_SPREAD = (0.07, 0.05, 0.07)
EOSIN_SPREAD = (0.08, 0.05, 0.09)


@dataclass(frozen=True)
class Stain:
    """The colours of a slide.

    Attributes:
        haematoxylin: (3,) optical density in red, green, blue at concentration 1, of length 1.
        eosin: likewise.
        erythrocyte: likewise, of red blood cells.
        light: (3,) brightness where there is no tissue, 0 to 255.
        glass: (3,) optical density all over the slide.
    """

    haematoxylin: Colour
    eosin: Colour
    erythrocyte: Colour
    light: Colour
    glass: Colour


def draw_stain(generator: np.random.Generator) -> Stain:
    """The colours of one slide."""
    return Stain(
        haematoxylin=_direction(HAEMATOXYLIN, HAEMATOXYLIN_SPREAD, generator),
        eosin=_direction(EOSIN, EOSIN_SPREAD, generator),
        erythrocyte=_direction(ERYTHROCYTE, EOSIN_SPREAD, generator),
        light=np.minimum(generator.uniform(232, 258) + generator.normal(0, 4, 3), 262).astype(
            np.float32
        ),
        glass=np.abs(generator.normal(0, 0.012, 3)).astype(np.float32),
    )


def transmitted(stain: Stain, haematoxylin: Field, eosin: Field, blood: Field) -> Colour:
    """The light that comes through concentrations of the three.

    Returns:
        (height, width, 3) float32, red, green and blue, 0 to about 255.
    """
    channels = []
    for channel in range(3):
        density = (
            haematoxylin * stain.haematoxylin[channel]
            + eosin * stain.eosin[channel]
            + blood * stain.erythrocyte[channel]
            + stain.glass[channel]
        )
        channels.append(stain.light[channel] * np.power(np.float32(10), -density))
    return np.stack(channels, axis=2).astype(np.float32)


def _direction(
    mean: tuple[float, float, float],
    spread: tuple[float, float, float],
    generator: np.random.Generator,
) -> Colour:
    drawn = np.maximum(generator.normal(mean, spread), 0.03)
    return np.asarray(drawn / np.sqrt(np.sum(drawn**2)), dtype=np.float32)
