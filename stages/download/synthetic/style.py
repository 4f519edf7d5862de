"""How strongly a slide is stained, and how its nuclei and cytoplasm look."""

from dataclasses import dataclass

import numpy as np

from stages.download.synthetic.organs import Organ

# Haematoxylin of a nucleus on a slide of middling strength, in optical density.
TYPICAL_NUCLEUS = 0.60


@dataclass(frozen=True)
class Style:
    """What varies between slides of one organ; concentrations are in optical density.

    Attributes:
        nucleus: mean haematoxylin of a nucleus.
        nucleus_spread: standard deviation of its logarithm between nuclei.
        nucleus_eosin: eosin in nuclei relative to the cytoplasm's.
        cytoplasm: haematoxylin of epithelial cytoplasm.
        stroma: haematoxylin of stroma.
        eosin: of epithelial cytoplasm.
        stroma_eosin: of stroma.
        vesicular: share of epithelial nuclei that are pale with a dark rim.
        chromatin: contrast of the clumps in a nucleus.
        rim: how much darker the edge of a nucleus is.
        softness: blur of a nucleus's edge, sigma in pixels.
        clear: share of cells with clear, foamy cytoplasm.
        halo: how much paler the cytoplasm around a nucleus is.
        membrane: eosin of the borders between cells; below 0 the borders are pale.
        grain: contrast of the cytoplasm's texture.
        unevenness: contrast of slow changes of staining and thickness.
    """

    nucleus: float
    nucleus_spread: float
    nucleus_eosin: float
    cytoplasm: float
    stroma: float
    eosin: float
    stroma_eosin: float
    vesicular: float
    chromatin: float
    rim: float
    softness: float
    clear: float
    halo: float
    membrane: float
    grain: float
    unevenness: float


def draw_style(organ: Organ, generator: np.random.Generator) -> Style:
    """The style of one slide of an organ, varied more widely than in one laboratory."""
    nucleus = float(np.clip(TYPICAL_NUCLEUS * np.exp(generator.normal(0, 0.38)), 0.26, 1.15))
    # A thick section takes up more of both stains.
    thickness = np.sqrt(nucleus / TYPICAL_NUCLEUS)
    eosin = float(np.clip(0.25 * thickness * np.exp(generator.normal(0, 0.35)), 0.07, 0.6))
    return Style(
        nucleus=nucleus,
        nucleus_spread=generator.uniform(0.15, 0.35),
        nucleus_eosin=generator.uniform(0.4, 1.2),
        cytoplasm=nucleus * generator.uniform(0.15, 0.48),
        stroma=nucleus * generator.uniform(0.08, 0.36),
        eosin=eosin,
        stroma_eosin=eosin * float(np.exp(generator.normal(0.15, 0.35))),
        vesicular=float(np.clip(organ.vesicular + generator.normal(0, 0.25), 0, 0.95)),
        chromatin=generator.uniform(0.12, 0.50),
        rim=generator.uniform(0.0, 0.6),
        softness=generator.uniform(0.3, 1.1),
        clear=float(np.clip(organ.clear * np.exp(generator.normal(0, 0.7)), 0, 0.95)),
        halo=max(0.0, generator.uniform(-0.3, 0.6)),
        membrane=generator.uniform(-0.5, 0.7),
        grain=generator.uniform(0.08, 0.30),
        unevenness=generator.uniform(0.08, 0.25),
    )
