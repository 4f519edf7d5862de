"""Numbers that others published for the 14 official test images of MoNuSeg 2018.

Results on other splits of the same images (HoVer-Net and its kin print theirs on 16 training and 14
test images inside the challenge's training part) are left out: they do not compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A method's scores.

    Attributes:
        method: its name.
        scores: what was printed, keyed as in metrics/<row>.json.
        source: who printed it.
        url: where.
    """

    method: str
    scores: Mapping[str, float]
    source: str
    url: str


_CHALLENGE = ("Kumar et al. 2020, table III", "https://doi.org/10.1109/TMI.2019.2947628")
_REPORTS = ("Scientific Reports 2021", "https://doi.org/10.1038/s41598-021-87496-1")
_UCTRANSNET = ("Wang et al. 2022", "https://arxiv.org/abs/2109.04335")
_LVIT = ("Li et al. 2023", "https://arxiv.org/abs/2206.14718")
_CELLVIT = ("its authors' log", "https://github.com/TIO-IKIM/CellViT")

PUBLISHED = (
    Published("U-Net", {"dice": 0.764}, *_UCTRANSNET),
    Published("UNet++", {"dice": 0.770}, *_UCTRANSNET),
    Published("UCTransNet", {"dice": 0.791}, *_UCTRANSNET),
    Published("nnU-Net", {"dice": 0.801}, *_LVIT),
    Published("LViT-T", {"dice": 0.804}, *_LVIT),
    Published(
        "CellViT SAM-H, pre-trained on PanNuke",
        {"dice": 0.8325, "iou": 0.714, "pq": 0.671},
        *_CELLVIT,
    ),
    Published("U-Net with ResNet-50", {"aji": 0.488}, *_REPORTS),
    Published("Mask R-CNN", {"aji": 0.528}, *_REPORTS),
    Published("HoVer-Net's authors in the challenge", {"aji": 0.653}, *_CHALLENGE),
    Published(
        "Winner of the challenge", {"aji": 0.691, "aji_lo": 0.680, "aji_hi": 0.702}, *_CHALLENGE
    ),
)
