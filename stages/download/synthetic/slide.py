"""One synthetic slide, with the outlines of its nuclei."""

from dataclasses import dataclass

import numpy as np

from monuseg.formats.images import RGB
from stages.download.synthetic.chromatin import paint
from stages.download.synthetic.ground import ground
from stages.download.synthetic.layout import plan
from stages.download.synthetic.nuclei import Outline, place, populations
from stages.download.synthetic.optics import scan
from stages.download.synthetic.organs import organs_named
from stages.download.synthetic.stain import draw_stain, transmitted
from stages.download.synthetic.style import draw_style

# Annotations count pixel centres from 1, drawing from 0.
FIRST_CENTRE = 1.0


@dataclass(frozen=True)
class Slide:
    """A synthetic slide.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        outlines: of each nucleus (n, 2) x and y in pixels, the first pixel's centre at (1, 1), as
            in the official annotations; the foremost nucleus first, as the first region wins.
            Nuclei at the border reach beyond it.
    """

    image: RGB
    outlines: list[Outline]


def draw_slide(
    organ: str, height: int, width: int, density: float, generator: np.random.Generator
) -> Slide:
    """Draw a slide.

    Args:
        organ: a name in `organs.ORGANS`.
        height: rows, of 0.25 um each.
        width: columns.
        density: nuclei per area, relative to the organ's own.
        generator: the source of all differences between slides of an organ.

    Raises:
        PipelineError: there is no such organ.
    """
    (kind,) = organs_named([organ])
    # A stream for each part: how many numbers one part draws changes no other part.
    plans, placing, styling, painting, optics = generator.spawn(5)
    layout = plan(kind, height, width, plans)
    nuclei = place(populations(kind, layout, density, placing), height, width, placing)
    style = draw_style(kind, styling)
    tissue = ground(layout, nuclei, style, painting)
    paint(nuclei, tissue, kind, style, painting)
    stain = draw_stain(styling)
    light = transmitted(stain, tissue.haematoxylin, tissue.eosin, tissue.blood)
    outlines = [nucleus.outline + FIRST_CENTRE for nucleus in reversed(nuclei)]
    return Slide(scan(light, optics), outlines)
