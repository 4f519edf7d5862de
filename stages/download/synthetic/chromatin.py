"""Painting nuclei: chromatin clumps, dark rims, nucleoli, dense and vesicular nuclei."""

from dataclasses import dataclass

import cv2
import numpy as np

from stages.download.synthetic.ground import Concentrations
from stages.download.synthetic.noise import Field, fractal
from stages.download.synthetic.nuclei import Kind, Nucleus, fill, window_of
from stages.download.synthetic.organs import Organ
from stages.download.synthetic.style import Style

# Pixels around a nucleus that its blurred edge can reach.
EDGE = 5
TEXTURE_SIDE = 384
# Largest side of a nucleus's window, which must fit in the texture.
LARGEST_WINDOW = 256


@dataclass(frozen=True)
class _Look:
    """One nucleus's staining, relative to the slide's mean.

    Attributes:
        level: of its interior.
        clumps: contrast of its chromatin.
        rim: added at its edge.
        rim_width: in pixels.
        nucleoli: how many.
    """

    level: float
    clumps: float
    rim: float
    rim_width: float
    nucleoli: int


def paint(
    nuclei: list[Nucleus],
    tissue: Concentrations,
    organ: Organ,
    style: Style,
    generator: np.random.Generator,
) -> None:
    """Paint nuclei over the tissue in place, the hindmost first."""
    fine = generator.uniform(1.2, 2.2)
    clumps = fractal(generator, TEXTURE_SIDE, TEXTURE_SIDE, (fine, 2.2 * fine, 5 * fine), 0.9)
    clumps = np.tanh(1.3 * clumps)
    for nucleus in nuclei:
        look = _look(nucleus.kind, organ, style, generator)
        _paint_one(nucleus, look, tissue, clumps, style, generator)


def _look(kind: Kind, organ: Organ, style: Style, generator: np.random.Generator) -> _Look:
    shade = float(np.exp(generator.normal(0, style.nucleus_spread)))
    if kind is Kind.LYMPHOCYTE:
        return _Look(1.3 * shade, 0.5 * style.chromatin, 0.2 * style.rim, 1.5, 0)
    if kind is Kind.SPINDLE:
        return _Look(1.05 * shade, 0.6 * style.chromatin, 0.4 * style.rim, 1.4, 0)
    if generator.random() < 0.04:
        # Hyperchromatic or dying.
        return _Look(1.6 * shade, 0.1, 0.0, 1.0, 0)
    nucleoli = int(generator.poisson(organ.nucleoli))
    if generator.random() < style.vesicular:
        rim = 0.25 + style.rim * generator.uniform(0.6, 1.3)
        width = generator.uniform(1.0, 2.2)
        return _Look(
            generator.uniform(0.30, 0.75) * shade, 1.1 * style.chromatin, rim, width, nucleoli
        )
    return _Look(0.98 * shade, style.chromatin, 0.7 * style.rim, 1.8, min(nucleoli, 2))


def _paint_one(
    nucleus: Nucleus,
    look: _Look,
    tissue: Concentrations,
    clumps: Field,
    style: Style,
    generator: np.random.Generator,
) -> None:
    top, bottom, left, right = window_of(nucleus.outline, tissue.eosin.shape, margin=EDGE)
    bottom, right = min(bottom, top + LARGEST_WINDOW), min(right, left + LARGEST_WINDOW)
    height, width = bottom - top, right - left
    inside = fill(nucleus.outline, height, width, top, left)
    cover = inside.astype(np.float32) / 255
    # Nuclei lie at different depths of the section: some are out of focus.
    softness = style.softness * float(np.exp(abs(generator.normal(0, 0.5))))
    cover = cv2.GaussianBlur(cover, (0, 0), softness)
    depth = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 3)
    at_y, at_x = generator.integers(0, TEXTURE_SIDE - LARGEST_WINDOW, 2)
    chromatin = look.level + look.clumps * clumps[at_y : at_y + height, at_x : at_x + width]
    chromatin = chromatin + look.rim * np.exp(-((depth / look.rim_width) ** 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = generator.normal(0, 0.10, 2) / max(height, width)
    chromatin = chromatin + slope[0] * (y - height / 2) + slope[1] * (x - width / 2)
    eosin = style.eosin * style.nucleus_eosin * np.ones_like(cover)
    if look.nucleoli:
        rows, columns = np.nonzero(depth > 0.35 * depth.max())
        for place in generator.integers(0, len(rows), look.nucleoli):
            radius = generator.uniform(1.2, 2.6)
            away = (y - rows[place]) ** 2 + (x - columns[place]) ** 2
            spot = np.exp(-away / np.float32(radius**2))
            chromatin = chromatin + generator.uniform(0.3, 0.9) * spot
            eosin = eosin * (1 + 0.5 * spot)
    part = np.s_[top:bottom, left:right]
    # A part of what lies above and below in the section shines through.
    shine = generator.uniform(0.05, 0.3)
    haematoxylin = style.nucleus * np.maximum(chromatin, 0.12)
    seen = 1 - cover * (1 - shine)
    tissue.haematoxylin[part] = tissue.haematoxylin[part] * seen + haematoxylin * cover
    tissue.eosin[part] = tissue.eosin[part] * (1 - cover * 0.8) + 0.8 * eosin * cover
    tissue.blood[part] *= 1 - cover
