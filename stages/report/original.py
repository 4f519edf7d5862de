"""What the re-made project printed, and what its notebooks computed.

Source: github.com/arslanamin14/Image-Segmentation, the tables of its README.md (printed) and the
output kept in its test notebooks (true). Errors in print are known in the test table alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from monuseg.formats.manifest import TEST, TRAIN, VALIDATION

SOURCE = "https://github.com/arslanamin14/Image-Segmentation"


@dataclass(frozen=True)
class OriginalScores:
    """A row of one of the original's tables.

    Attributes:
        loss: mean binary cross-entropy.
        accuracy: share of right pixels.
        f1: of the class nucleus.
        pixel_dice: the column printed as "Dice", which is none; see `stages.report.prose`.
        wrong_in_print: what is wrong with the row, or nothing.
    """

    loss: float
    accuracy: float
    f1: float
    pixel_dice: float
    wrong_in_print: str = ""


MODELS = ("unet", "segnet", "deeplabv3plus")

PRINTED: Mapping[str, Mapping[str, OriginalScores]] = {
    TRAIN: {
        "unet": OriginalScores(0.0869, 0.9633, 0.9328, 0.9848),
        "segnet": OriginalScores(0.2399, 0.8965, 0.8085, 0.9572),
        "deeplabv3plus": OriginalScores(0.0455, 0.9806, 0.9645, 0.9919),
    },
    VALIDATION: {
        "unet": OriginalScores(0.1100, 0.9555, 0.9216, 0.9809),
        "segnet": OriginalScores(0.2431, 0.8946, 0.8090, 0.9560),
        "deeplabv3plus": OriginalScores(0.1035, 0.9635, 0.9347, 0.9847),
    },
    TEST: {
        "unet": OriginalScores(0.2981, 0.9054, 0.7715, 0.9587),
        "segnet": OriginalScores(0.2250, 0.9028, 0.9581, 0.7663, "F1 and Dice swapped"),
        "deeplabv3plus": OriginalScores(0.2250, 0.9028, 0.9581, 0.7663, "a copy of SegNet's row"),
    },
}

TRUE: Mapping[str, Mapping[str, OriginalScores]] = {
    TEST: {
        "unet": OriginalScores(0.2981, 0.9055, 0.7715, 0.9587),
        "segnet": OriginalScores(0.2250, 0.9028, 0.7664, 0.9582),
        "deeplabv3plus": OriginalScores(0.4100, 0.9090, 0.7858, 0.9588),
    },
}
