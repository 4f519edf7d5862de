"""Shapes of nuclei, and where they lie: touching and overlapping, but never hidden."""

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt

from stages.download.synthetic.layout import Layout
from stages.download.synthetic.noise import Field
from stages.download.synthetic.organs import Organ

Outline = npt.NDArray[np.float64]

# Of coordinates in the annotation; outlines are rounded to as many before they are drawn.
DECIMALS = 2
# At least this many pixels of a nucleus must be visible.
MIN_VISIBLE = 40
# The largest share of a nucleus that those in front of it may cover.
MAX_COVERED = 0.35
# Points tried for each nucleus wanted, before a full slide is left as it is.
TRIES = 14
SMALLEST_AREA = 45.0
# cv2's fixed-point coordinates: 1/16 pixel.
SHIFT = 4


class Kind(Enum):
    """What a nucleus looks like."""

    EPITHELIAL = "epithelial"
    SPINDLE = "spindle"
    LYMPHOCYTE = "lymphocyte"


@dataclass(frozen=True)
class Nucleus:
    """A placed nucleus.

    Attributes:
        kind: of which population.
        outline: (n, 2) x and y of its edge in pixels, the first pixel's centre at (0, 0).
    """

    kind: Kind
    outline: Outline


@dataclass(frozen=True)
class Population:
    """Nuclei of one kind to be placed on a slide.

    Attributes:
        kind: of all of them.
        count: how many are wanted.
        weight: how likely a nucleus is centred at a pixel, relative to elsewhere.
        axis: direction of the long axis, in radians.
        axis_spread: standard deviation about that direction.
        area: median, in pixels.
        area_spread: standard deviation of the area's logarithm.
        aspect: median ratio of the axes.
        irregularity: of the outline.
    """

    kind: Kind
    count: int
    weight: Field
    axis: Field
    axis_spread: float
    area: float
    area_spread: float
    aspect: float
    irregularity: float


def populations(
    organ: Organ, layout: Layout, density: float, generator: np.random.Generator
) -> list[Population]:
    """The nuclei wanted on a slide; `place` places those that find room."""
    pixels = layout.lumen.size
    scale = float(np.clip(np.exp(generator.normal(0, 0.25)), 0.5, 1.7))
    # Smaller nuclei lie closer together, as if at a lower magnification.
    wanted = organ.count * density * pixels / 1e6 * scale**-0.7 * np.exp(generator.normal(0, 0.2))
    stroma = (1 - layout.epithelium) * (layout.lumen < 0.3)
    stroma_share = float(stroma.mean())
    lymphocytes = organ.lymphocytes * float(np.exp(generator.normal(0, 0.6)))
    lymphocyte_share = min(lymphocytes, 0.75)
    spindle_share = (1 - lymphocyte_share) * 0.55 * stroma_share
    # Lymphocytes gather in the stroma and stray elsewhere.
    clusters = np.exp(1.2 * _coarse(layout.fibre, 40))
    tissue = (layout.lumen < 0.3).astype(np.float32)
    shares = {
        Kind.EPITHELIAL: 1 - lymphocyte_share - spindle_share,
        Kind.SPINDLE: spindle_share,
        Kind.LYMPHOCYTE: lymphocyte_share,
    }
    counts = {kind: round(wanted * share) for kind, share in shares.items()}
    irregular = generator.uniform(0.04, 0.14)
    return [
        Population(
            Kind.EPITHELIAL, counts[Kind.EPITHELIAL], layout.nuclei, layout.axis,
            axis_spread=0.25 if organ.architecture == "glands" else 0.6,
            area=organ.area * scale, area_spread=organ.area_spread * generator.uniform(0.7, 1.2),
            aspect=max(1.05, organ.aspect * float(np.exp(generator.normal(0, 0.1)))),
            irregularity=irregular,
        ),
        Population(
            Kind.SPINDLE, counts[Kind.SPINDLE], stroma, layout.fibre_axis,
            axis_spread=0.2, area=260 * scale, area_spread=0.4,
            aspect=generator.uniform(2.4, 4.2), irregularity=0.05,
        ),
        Population(
            Kind.LYMPHOCYTE, counts[Kind.LYMPHOCYTE],
            tissue * (0.15 + stroma) * clusters, layout.fibre_axis,
            axis_spread=3.0, area=210 * scale, area_spread=0.2,
            aspect=1.15, irregularity=0.06,
        ),
    ]  # fmt: skip


def place(
    wanted: list[Population], height: int, width: int, generator: np.random.Generator
) -> list[Nucleus]:
    """Place nuclei back to front; each covers at most a part of those before it.

    Returns:
        The nuclei that found room, the hindmost first.
    """
    canvas = _Canvas(height, width, generator)
    for population in wanted:
        placed = 0
        for centre in _points(population, generator):
            if placed == population.count:
                break
            outline = np.round(centre + _outline(population, centre, generator), DECIMALS)
            placed += canvas.add(population.kind, outline)
    return canvas.nuclei


def fill(outline: Outline, height: int, width: int, y: int, x: int) -> npt.NDArray[np.uint8]:
    """An outline's coverage, 0 to 255, in the window of this size whose first pixel is (y, x).

    cv2 paints the edge's own pixels as well, half a pixel too far: the outline is shrunk by that.
    """
    centre = outline.mean(axis=0)
    arms = outline - centre
    lengths = np.maximum(np.linalg.norm(arms, axis=1, keepdims=True), 1e-6)
    inner = centre + arms * np.maximum(1 - 0.5 / lengths, 0)
    window = np.zeros((height, width), np.uint8)
    points = np.round((inner - (x, y)) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(window, [points], 255, cv2.LINE_AA, SHIFT)
    return window


def window_of(outline: Outline, shape: tuple[int, ...], margin: int) -> tuple[int, int, int, int]:
    """Rows and columns (top, bottom, left, right) around an outline, cut off at the border."""
    height, width = shape
    left, top = np.floor(outline.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + margin + 1
    return max(top, 0), min(bottom, height), max(left, 0), min(right, width)


class _Canvas:
    """Which nucleus is visible at each pixel, and how much of each nucleus is."""

    def __init__(self, height: int, width: int, generator: np.random.Generator) -> None:
        self.nuclei: list[Nucleus] = []
        self._owner = np.zeros((height, width), np.int32)
        self._areas = [0]
        self._visible = [0]
        self._generator = generator
        # Crowded slides let more nuclei overlap.
        self._overlapping = generator.uniform(0.05, 0.4)
        self._gap = generator.uniform(0.0, 0.6)

    def add(self, kind: Kind, outline: Outline) -> bool:
        """Put a nucleus in front of the others, if there is room for it."""
        top, bottom, left, right = window_of(outline, self._owner.shape, margin=4)
        if bottom - top < 3 or right - left < 3:
            return False
        owner = self._owner[top:bottom, left:right]
        inside = fill(outline, bottom - top, right - left, top, left) > 127
        area = int(inside.sum())
        if area < MIN_VISIBLE:
            return False
        if self._generator.random() > self._overlapping:
            # Room on all sides, from touching to the slide's usual distance.
            room = 1 + self._gap * self._generator.random()
            centre = outline.mean(axis=0)
            wider = fill(centre + (outline - centre) * room, bottom - top, right - left, top, left)
            if np.count_nonzero(owner[wider > 127]) > 0.01 * area:
                return False
        else:
            for below, covered in zip(*np.unique(owner[inside], return_counts=True), strict=True):
                left_over = self._visible[below] - covered
                least = max((1 - MAX_COVERED) * self._areas[below], MIN_VISIBLE)
                if below and (left_over < least or covered > MAX_COVERED * area):
                    return False
        for below, covered in zip(*np.unique(owner[inside], return_counts=True), strict=True):
            self._visible[below] -= int(covered)
        self.nuclei.append(Nucleus(kind, outline))
        owner[inside] = len(self.nuclei)
        self._areas.append(area)
        self._visible.append(area)
        return True


def _points(population: Population, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Centres to try, (tries, 2) x and y, drawn by weight."""
    cumulated = np.cumsum(population.weight, dtype=np.float64)
    if cumulated[-1] <= 0:
        return np.zeros((0, 2))
    drawn = generator.random(population.count * TRIES) * cumulated[-1]
    pixel = np.searchsorted(cumulated, drawn, side="right")
    row, column = np.divmod(np.minimum(pixel, cumulated.size - 1), population.weight.shape[1])
    # Off the pixel grid, and at times centred beyond the border.
    return np.stack([column, row], axis=1) + generator.uniform(-4, 4, (len(drawn), 2))


def _outline(
    population: Population, centre: npt.NDArray[np.float64], generator: np.random.Generator
) -> Outline:
    """A closed curve about (0, 0): an ellipse with harmonics, tapered and bent if it is long."""
    area = max(population.area * np.exp(generator.normal(0, population.area_spread)), SMALLEST_AREA)
    aspect = max(1.0, 1 + (population.aspect - 1) * np.exp(generator.normal(0, 0.45)))
    count = int(np.clip(1.6 * np.sqrt(area), 20, 60))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    distance = np.ones(count)
    for order in (2, 3, 4, 5):
        height = generator.normal(0, population.irregularity * 1.6 / order)
        distance += height * np.cos(order * angle + generator.uniform(0, 2 * np.pi))
    if generator.random() < population.irregularity:
        # A notch, as in cleaved and kidney-shaped nuclei.
        away = np.angle(np.exp(1j * (angle - generator.uniform(0, 2 * np.pi))))
        distance -= generator.uniform(0.1, 0.35) * np.exp(-((away / 0.45) ** 2))
    x = np.sqrt(aspect) * distance * np.cos(angle)
    y = distance * np.sin(angle) / np.sqrt(aspect)
    if population.kind is Kind.SPINDLE:
        y *= 1 - 0.35 * (x / np.abs(x).max()) ** 2
        y += generator.normal(0, 0.12) * x**2 / aspect
    doubled = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
    size = np.sqrt(2 * area / abs(doubled))
    rows, columns = population.axis.shape
    row = int(np.clip(centre[1], 0, rows - 1))
    column = int(np.clip(centre[0], 0, columns - 1))
    turn = float(population.axis[row, column]) + generator.normal(0, population.axis_spread)
    cosine, sine = np.cos(turn) * size, np.sin(turn) * size
    return np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)


def _coarse(field: Field, sigma: float) -> Field:
    """The slow part of a field, standardised."""
    step = 8
    slow = cv2.GaussianBlur(field[::step, ::step], (0, 0), sigma / step)
    slow = (slow - slow.mean()) / max(float(slow.std()), 1e-6)
    height, width = field.shape
    return np.asarray(cv2.resize(slow, (width, height), interpolation=cv2.INTER_LINEAR))
