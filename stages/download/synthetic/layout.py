"""Where a slide has epithelium, stroma and lumens, and the directions of nuclei and fibres."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.download.synthetic.noise import Field, fractal, smooth_noise, soft_step
from stages.download.synthetic.organs import Organ

TEXTURE_SIDE = 512
# Length and thickness of fibres, as sigmas in pixels.
STREAKS = ((6, 0.8), (13, 1.8), (26, 5.0))
# Beyond this cv2 cuts a Gaussian off.
BLUR_REACH = 4 * 26
# Directions vary slowly, so they are computed only at every so many pixels.
ANGLE_STEP = 4
# Vertices of a lumen's outline.
LUMEN_VERTICES = 40


@dataclass(frozen=True)
class Layout:
    """The plan of a slide; every field is (height, width) float32.

    Attributes:
        lumen: 1 where there is no tissue.
        epithelium: 1 in epithelium (or tumour), 0 in stroma.
        nuclei: how likely an epithelial nucleus is centred here, relative to elsewhere.
        axis: direction of the long axis of epithelial nuclei, in radians.
        fibre: texture of stroma fibres, mean 0 and standard deviation about 1.
        fibre_axis: direction of the fibres, in radians.
    """

    lumen: Field
    epithelium: Field
    nuclei: Field
    axis: Field
    fibre: Field
    fibre_axis: Field


def plan(organ: Organ, height: int, width: int, generator: np.random.Generator) -> Layout:
    """Lay out a slide of an organ."""
    fibre, fibre_axis = _fibres(height, width, generator)
    gaps = _gaps(height, width, generator)
    if organ.architecture == "glands":
        lumen, epithelium, nuclei, axis = _glands(organ, height, width, generator)
    elif organ.architecture == "sheets":
        lumen, epithelium, nuclei, axis = _sheets(organ, height, width, generator)
    else:
        lumen = np.zeros((height, width), np.float32)
        epithelium = np.ones((height, width), np.float32)
        nuclei = np.clip(1 + 0.5 * smooth_noise(generator, height, width, 90), 0.1, None)
        axis = np.asarray(fibre_axis)
    lumen = np.maximum(lumen, gaps)
    return Layout(lumen, epithelium, nuclei * (lumen < 0.3), axis, fibre, fibre_axis)


def _glands(
    organ: Organ, height: int, width: int, generator: np.random.Generator
) -> tuple[Field, Field, Field, Field]:
    """Lumens on a jittered grid, each with a band of epithelium around it."""
    size = float(np.exp(generator.normal(0, 0.2)))
    radius, band = organ.lumen_radius * size, organ.band * float(np.exp(generator.normal(0, 0.12)))
    # So far apart that bands just meet if the organ has no stroma.
    spacing = 2 * (radius + band) * (1 + 0.5 * organ.stroma)
    mask = np.zeros((height, width), np.uint8)
    collapsed = generator.uniform(0, 0.5)
    for y in np.arange(-spacing / 2, height + spacing, spacing * 0.87):
        for x in np.arange(-spacing / 2, width + spacing, spacing):
            centre = np.array([x, y]) + generator.normal(0, 0.18 * spacing, 2)
            own = radius * np.exp(generator.normal(0, 0.4))
            if generator.random() < collapsed:
                own *= 0.15
            outline = centre + _lumen_outline(own, generator)
            cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    # At most the slide's own extent: without any lumen there is no distance to one.
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    outside = np.minimum(outside, np.float32(height + width))
    # Depth in the band from 0 at the lumen to 1 at the base, of uneven thickness.
    uneven = 1 + 0.22 * smooth_noise(generator, height, width, 70)
    depth = outside / (band * np.clip(uneven, 0.5, 2))
    epithelium = 1 - soft_step(depth, 1.0, 0.08)
    base = np.exp(-(((depth - 0.68) / 0.22) ** 2))
    through = ((depth > 0.15) & (depth < 0.97)).astype(np.float32)
    nuclei = ((1 - organ.layers) * base + organ.layers * through) * (depth < 1.02)
    axis = _direction_of_slope(cv2.GaussianBlur(outside, (0, 0), 4))
    ragged = outside + 2.5 * smooth_noise(generator, height, width, 7)
    lumen = 1 - soft_step(ragged, 1.0, 2.5)
    return lumen, epithelium, nuclei.astype(np.float32), axis


def _lumen_outline(radius: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, LUMEN_VERTICES, endpoint=False)
    distance = np.ones_like(angle)
    for order in range(2, 7):
        distance += generator.normal(0, 0.5 / order) * np.cos(
            order * angle + generator.uniform(0, 2 * np.pi)
        )
    stretch = np.exp(generator.normal(0, 0.35))
    points = np.stack([np.cos(angle) * stretch, np.sin(angle) / stretch], axis=1)
    turn = generator.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(radius * np.clip(distance, 0.25, 2)[:, None] * points @ rotation.T)


def _sheets(
    organ: Organ, height: int, width: int, generator: np.random.Generator
) -> tuple[Field, Field, Field, Field]:
    """Nests of tumour where a smooth field is high, with stroma between them."""
    scale = generator.uniform(90, 220)
    field = fractal(generator, height, width, (scale, scale / 3, scale / 9), 0.45)
    share = float(np.clip(organ.stroma * np.exp(generator.normal(0, 0.5)), 0.02, 0.8))
    threshold = float(np.quantile(field[::8, ::8], share))
    epithelium = soft_step(field, threshold, 0.12)
    nuclei = epithelium * np.clip(1 + 0.5 * smooth_noise(generator, height, width, 60), 0.15, None)
    # A few rounded spaces: vessels, alveoli, ducts.
    spaces = smooth_noise(generator, height, width, 2.4 * organ.lumen_radius)
    lumen = soft_step(spaces, generator.uniform(1.5, 2.8), 0.15)
    axis = np.float32(np.pi) * smooth_noise(generator, height, width, 120)
    return lumen, epithelium, nuclei.astype(np.float32), axis


def _gaps(height: int, width: int, generator: np.random.Generator) -> Field:
    """Shrinkage cracks and holes in any kind of tissue, on some slides only."""
    if generator.random() < 0.4:
        return np.zeros((height, width), np.float32)
    field = fractal(generator, height, width, (90, 30), 0.4)
    crack = soft_step(-np.abs(field), -generator.uniform(0.03, 0.12), 0.05)
    where = soft_step(smooth_noise(generator, height, width, 130), generator.uniform(0.5, 1.5), 0.5)
    return np.asarray(crack * where)


def _fibres(height: int, width: int, generator: np.random.Generator) -> tuple[Field, Field]:
    """Streaks along a slowly bending direction, and that direction."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = generator.uniform(0, np.pi)
    bend = generator.uniform(15, 55)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    along = along + bend * smooth_noise(generator, height, width, 140)
    across = across + bend * smooth_noise(generator, height, width, 170)
    # Collagen is crimped: small waves on the slow bends.
    across = across + generator.uniform(1, 5) * smooth_noise(generator, height, width, 28)
    white = generator.standard_normal((TEXTURE_SIDE, TEXTURE_SIDE), np.float32)
    streaks = np.zeros_like(white)
    # Wrapped around as far as the blur reaches, so that the texture tiles the plane.
    wrapped = np.pad(white, BLUR_REACH, mode="wrap")
    for length, thickness in STREAKS:
        part = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=length, sigmaY=thickness)
        part = part[BLUR_REACH:-BLUR_REACH, BLUR_REACH:-BLUR_REACH]
        streaks += part / part.std()
    streaks = np.pad(streaks / np.float32(np.sqrt(3)), ((0, 2), (0, 2)), mode="wrap")
    fibre = cv2.remap(
        streaks,
        np.mod(along, TEXTURE_SIDE).astype(np.float32),
        np.mod(across, TEXTURE_SIDE).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    return np.asarray(fibre), _direction_of_slope(across) + np.float32(np.pi / 2)


def _direction_of_slope(field: Field) -> Field:
    """The direction in which a field rises fastest, in radians."""
    height, width = field.shape
    coarse = field[::ANGLE_STEP, ::ANGLE_STEP]
    slope_y, slope_x = np.gradient(coarse)
    repeated = np.arctan2(slope_y, slope_x).repeat(ANGLE_STEP, 0).repeat(ANGLE_STEP, 1)
    return np.asarray(repeated[:height, :width], dtype=np.float32)
