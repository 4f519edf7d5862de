"""The parameters by which slides of different organs differ.

The numbers are set by eye and by the training images of MoNuSeg (40x, 0.25 um per pixel): nuclei
per megapixel, median nuclear area and elongation of each organ lie in the range seen there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from monuseg.core.errors import PipelineError

# glands: nuclei in a band around lumens; sheets: solid nests of tumour; neuropil: loose cells in
# a fibrillar ground without stroma.
Architecture = Literal["glands", "sheets", "neuropil"]


@dataclass(frozen=True)
class Organ:
    """How an organ's tissue is built.

    Attributes:
        architecture: how epithelium is laid out.
        count: nuclei per megapixel at density 1.
        area: median area of an epithelial nucleus, in pixels.
        area_spread: standard deviation of the logarithm of that area.
        aspect: median ratio of the long to the short axis of an epithelial nucleus.
        stroma: share of the area outside lumens that is stroma.
        lumen_radius: mean radius of a lumen, in pixels.
        band: thickness of the epithelium around a lumen, in pixels.
        layers: 0 for nuclei in one row at the base of the band, 1 for nuclei all through it.
        clear: share of cells with clear, foamy cytoplasm.
        vesicular: share of pale nuclei with a dark rim.
        nucleoli: mean number of nucleoli in an epithelial nucleus.
        lymphocytes: share of the nuclei that are small, round and dense.
    """

    architecture: Architecture
    count: float
    area: float
    area_spread: float
    aspect: float
    stroma: float
    lumen_radius: float
    band: float
    layers: float
    clear: float
    vesicular: float
    nucleoli: float
    lymphocytes: float


ORGANS = {
    "breast": Organ("sheets", 420, 430, 0.40, 1.30, 0.40, 22, 40, 1.0, 0.15, 0.45, 0.8, 0.12),
    "kidney": Organ("glands", 520, 300, 0.32, 1.15, 0.25, 18, 34, 0.6, 0.55, 0.35, 0.5, 0.08),
    "liver": Organ("sheets", 460, 560, 0.42, 1.35, 0.25, 24, 40, 1.0, 0.15, 0.55, 1.2, 0.15),
    "prostate": Organ("glands", 430, 540, 0.28, 1.20, 0.35, 42, 46, 0.4, 0.45, 0.70, 1.2, 0.06),
    "bladder": Organ("sheets", 400, 560, 0.48, 1.40, 0.35, 26, 48, 1.0, 0.10, 0.35, 0.7, 0.18),
    "colon": Organ("glands", 460, 680, 0.36, 1.90, 0.30, 46, 84, 0.9, 0.15, 0.40, 0.7, 0.14),
    "stomach": Organ("glands", 1050, 300, 0.30, 1.25, 0.45, 24, 44, 0.8, 0.20, 0.25, 0.3, 0.45),
    "lung": Organ("sheets", 440, 480, 0.42, 1.35, 0.40, 30, 46, 1.0, 0.15, 0.45, 0.9, 0.18),
    "brain": Organ("neuropil", 330, 400, 0.42, 1.35, 0.00, 0, 0, 1.0, 0.20, 0.40, 0.4, 0.10),
}


def organs_named(names: Sequence[str]) -> list[Organ]:
    """The organs of these names, in order.

    Raises:
        PipelineError: a name is not in `ORGANS`.
    """
    for name in names:
        if name not in ORGANS:
            raise PipelineError(
                f"params.yaml: dataset.synthetic.organs: unknown organ {name!r}; "
                f"choose from {', '.join(ORGANS)}"
            )
    return [ORGANS[name] for name in names]
