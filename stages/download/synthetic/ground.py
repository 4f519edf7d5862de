"""Everything but nuclei: cytoplasm, cell borders, fibres, lumens and what lies in them."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.download.synthetic.layout import Layout
from stages.download.synthetic.noise import Field, fractal, ridges, smooth_noise, soft_step
from stages.download.synthetic.nuclei import Kind, Nucleus, fill, window_of
from stages.download.synthetic.style import Style

# Radius of a red blood cell in a section, in pixels of 0.25 um (it shrinks when embedded).
BLOOD_RADIUS = (9.0, 13.5)
BLOOD_VERTICES = 16


@dataclass
class Concentrations:
    """What absorbs light at each pixel; every field is (height, width) float32."""

    haematoxylin: Field
    eosin: Field
    blood: Field


def ground(
    layout: Layout, nuclei: list[Nucleus], style: Style, generator: np.random.Generator
) -> Concentrations:
    """Draw the tissue that the nuclei lie in."""
    height, width = layout.lumen.shape
    cells = _cells(nuclei, height, width, generator)
    cell_h, cell_e = _cytoplasm(layout, cells, nuclei, style, generator)
    fibre_h, fibre_e = _stroma(layout, style, generator)
    inside = layout.epithelium
    haematoxylin = inside * cell_h + (1 - inside) * fibre_h
    eosin = inside * cell_e + (1 - inside) * fibre_e
    # Uneven staining and thickness, in each stain on its own and in both together.
    slow = style.unevenness * fractal(generator, height, width, (160, 60), 0.7)
    haematoxylin *= np.exp(slow + style.unevenness * smooth_noise(generator, height, width, 110))
    eosin *= np.exp(slow + style.unevenness * smooth_noise(generator, height, width, 90))
    _stain_lumens(layout, haematoxylin, eosin, generator)
    tissue = Concentrations(haematoxylin, eosin, np.zeros_like(eosin))
    _scatter_blood(layout, tissue, generator)
    _scatter_debris(tissue, style, generator)
    return tissue


def _cells(
    nuclei: list[Nucleus], height: int, width: int, generator: np.random.Generator
) -> npt.NDArray[np.int32]:
    """The cell of each pixel: that of the nearest nucleus, with wavy borders."""
    # A border cell beyond the slide, so that a slide without nuclei has one too.
    seeds = np.ones((height, width), np.uint8)
    seeds[0, 0] = 0
    for nucleus in nuclei:
        if nucleus.kind is Kind.EPITHELIAL:
            x, y = np.round(nucleus.outline.mean(axis=0)).astype(int)
            seeds[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] = 0
    _, nearest = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    y_at, x_at = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = generator.uniform(1.5, 4.0)
    x_at += wave * smooth_noise(generator, height, width, 14)
    y_at += wave * smooth_noise(generator, height, width, 14)
    column = np.clip(np.rint(x_at), 0, width - 1).astype(np.int32)
    row = np.clip(np.rint(y_at), 0, height - 1).astype(np.int32)
    return np.asarray(nearest[row, column], dtype=np.int32)


def _cytoplasm(
    layout: Layout,
    cells: npt.NDArray[np.int32],
    nuclei: list[Nucleus],
    style: Style,
    generator: np.random.Generator,
) -> tuple[Field, Field]:
    """Haematoxylin and eosin of epithelium, without its nuclei."""
    height, width = cells.shape
    count = int(cells.max()) + 1
    # On some slides entire cells are dark: shrunken ones take up more haematoxylin.
    shade_h = np.exp(generator.normal(0, generator.uniform(0.15, 0.30), count)).astype(np.float32)
    shade_e = np.exp(generator.normal(0, 0.18, count)).astype(np.float32)
    clear = (generator.random(count) < style.clear) * generator.uniform(0.4, 1.0, count)
    grain = fractal(generator, height, width, (1.6, 3.5, 8, 18), generator.uniform(0.7, 1.2))
    texture = 1 + style.grain * grain
    haematoxylin = style.cytoplasm * shade_h[cells] * texture
    eosin = style.eosin * shade_e[cells] * texture
    # Foam: meshes of vacuoles between thin strands.
    mesh = fractal(generator, height, width, (generator.uniform(4, 9), 14), 0.6)
    strands = 0.12 + 0.75 * ridges(mesh, generator.uniform(1.5, 4.0))
    foam = 1 - _smoothed(clear.astype(np.float32)[cells], 2.0) * (1 - strands)
    border = _borders(cells)
    patchy = np.clip(0.6 + 0.5 * smooth_noise(generator, height, width, 40), 0, 1.3)
    if style.membrane >= 0:
        haematoxylin, eosin = haematoxylin * foam, eosin * foam
        eosin = eosin + style.membrane * style.eosin * border * patchy
        haematoxylin = haematoxylin + 0.5 * style.membrane * style.cytoplasm * border * patchy
    else:
        open_ = 1 + 1.6 * style.membrane * border * patchy
        haematoxylin, eosin = haematoxylin * foam * open_, eosin * foam * open_
    if style.halo > 0:
        free = np.full((height, width), 255, np.uint8)
        for nucleus in nuclei:
            if nucleus.kind is not Kind.SPINDLE:
                cv2.fillPoly(free, [np.round(nucleus.outline).astype(np.int32)], 0)
        away = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        share = (generator.random(count) < 0.6).astype(np.float32)[cells]
        pale = 1 - style.halo * share * np.exp(-away / np.float32(generator.uniform(1.5, 4.0)))
        haematoxylin, eosin = haematoxylin * pale, eosin * pale
    return np.maximum(haematoxylin, 0), np.maximum(eosin, 0)


def _borders(cells: npt.NDArray[np.int32]) -> Field:
    """1 on the lines between cells, fading over a pixel or two."""
    line = np.zeros(cells.shape, np.float32)
    line[:, 1:] += cells[:, 1:] != cells[:, :-1]
    line[1:] += cells[1:] != cells[:-1]
    return np.asarray(np.minimum(2.2 * _smoothed(np.minimum(line, 1), 0.9), 1))


def _stroma(layout: Layout, style: Style, generator: np.random.Generator) -> tuple[Field, Field]:
    """Haematoxylin and eosin of fibres, with slits between the bundles."""
    height, width = layout.fibre.shape
    contrast = generator.uniform(0.10, 0.35)
    loose = generator.uniform(-0.2, 2.2)
    wide = fractal(generator, height, width, (50, 12, 3), 0.6)
    streak = np.exp(contrast * (0.8 * layout.fibre + 0.6 * wide))
    slit = soft_step(layout.fibre + wide, -loose - 1.0, 1.2)
    strength = 0.15 + 0.85 * slit
    haematoxylin = style.stroma * streak * strength
    return haematoxylin, style.stroma_eosin * streak * strength


def _stain_lumens(
    layout: Layout, haematoxylin: Field, eosin: Field, generator: np.random.Generator
) -> None:
    """Empty the lumens, except for a little secretion in some."""
    height, width = layout.lumen.shape
    empty = 1 - layout.lumen
    secretion = soft_step(
        fractal(generator, height, width, (70, 20, 6), 0.6), generator.uniform(0.2, 2.5), 0.4
    )
    curdled = secretion * np.clip(0.6 + 0.4 * smooth_noise(generator, height, width, 4), 0.1, 1.5)
    haematoxylin *= empty
    haematoxylin += layout.lumen * curdled * np.float32(generator.uniform(0, 0.10))
    eosin *= empty
    eosin += layout.lumen * curdled * np.float32(generator.uniform(0.05, 0.3))


def _scatter_blood(layout: Layout, tissue: Concentrations, generator: np.random.Generator) -> None:
    """Red blood cells: discs without haematoxylin, in vessels and in the tissue around them."""
    height, width = layout.lumen.shape
    clusters = generator.poisson(generator.choice([0.3, 2.0, 6.0]) * height * width / 1e6)
    strength = generator.uniform(0.25, 0.8)
    for _ in range(clusters):
        centre = generator.uniform((0, 0), (width, height))
        reach = generator.uniform(8, 45)
        for _ in range(generator.integers(1, 16)):
            middle = centre + generator.normal(0, reach, 2)
            angle = np.linspace(0, 2 * np.pi, BLOOD_VERTICES, endpoint=False)
            arm = generator.uniform(*BLOOD_RADIUS) * (
                1 + generator.normal(0, 0.10) * np.cos(2 * angle + generator.uniform(0, 6))
            )
            outline = middle + np.stack([arm * np.cos(angle), arm * np.sin(angle)], axis=1)
            top, bottom, left, right = window_of(outline, tissue.eosin.shape, margin=2)
            if bottom - top < 3 or right - left < 3:
                continue
            cover = fill(outline, bottom - top, right - left, top, left)
            disc = _smoothed(cover.astype(np.float32) / np.float32(255), 0.8)
            part = np.s_[top:bottom, left:right]
            tissue.haematoxylin[part] *= 1 - 0.9 * disc
            tissue.eosin[part] *= 1 - 0.7 * disc
            amount = strength * generator.uniform(0.75, 1.2)
            tissue.blood[part] = np.maximum(tissue.blood[part], amount * disc)


def _scatter_debris(tissue: Concentrations, style: Style, generator: np.random.Generator) -> None:
    """What takes up haematoxylin but is not a nucleus: smears out of focus, and specks."""
    height, width = tissue.eosin.shape
    smears = soft_step(
        fractal(generator, height, width, (26, 11), 0.7), generator.uniform(1.0, 2.8), 1.2
    )
    tissue.haematoxylin += smears * np.float32(style.nucleus * generator.uniform(0.05, 0.3))
    specks = np.zeros((height, width), np.float32)
    for _ in range(generator.poisson(generator.choice([5.0, 40.0]) * height * width / 1e6)):
        x, y = generator.uniform((0, 0), (width, height)).astype(int)
        cv2.circle(specks, (int(x), int(y)), int(generator.integers(1, 4)), 1.0, -1)
    tissue.haematoxylin += _smoothed(specks, 0.8) * np.float32(style.nucleus)


def _smoothed(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), dtype=np.float32)
