"""Scores of pixels, all from one histogram of the predicted probabilities.

A float16 in 0..1 is one of 15,361 values. The histogram counts how often each occurs on true nuclei
and on background, which is all that scores of pixels need: scores at any threshold, cross-entropy
and calibration follow exactly, images are pooled by adding their histograms, and no sum depends on
an order.

A score is undefined, None, if its denominator is 0: Dice and IoU if neither truth nor prediction
has a nucleus pixel, precision without predicted ones, recall without true ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monuseg.formats.predictions import Probabilities

# Bit patterns of the float16 values 0..1, which ascend with the value.
ONE = int(np.float16(1).view(np.uint16))
VALUES = np.arange(ONE + 1, dtype=np.uint16).view(np.float16).astype(np.float64)

# A float16 of 1.0 stands for everything above 1 - 2**-12 (half a step), so for cross-entropy
# probabilities are clipped to 2**-12 from either end: a wrong pixel costs at most 8.3.
CLIP = 2.0**-12

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProbabilityHistogram:
    """How often each float16 in 0..1 was predicted.

    Attributes:
        background: (15361,) pixels of true background by predicted probability, ascending.
        nucleus: (15361,) pixels of true nuclei, likewise.
    """

    background: Counts
    nucleus: Counts

    @classmethod
    def of(cls, probability: Probabilities, truth: npt.NDArray[np.bool_]) -> "ProbabilityHistogram":
        """Count one image.

        Args:
            probability: (height, width) P(nucleus).
            truth: (height, width) where true nuclei are.

        Raises:
            ValueError: the shapes differ, or a probability is NaN or outside 0..1.
        """
        if probability.shape != truth.shape:
            raise ValueError(f"the prediction is {probability.shape} but the truth {truth.shape}")
        # Adding 0 turns -0.0, which has a pattern of its own, into 0.0.
        patterns = (np.asarray(probability, np.float16) + np.float16(0)).view(np.uint16)
        if patterns.size and patterns.max() > ONE:
            raise ValueError("a probability is NaN or outside 0..1")
        length = VALUES.size
        return cls(
            background=np.bincount(patterns[~truth], minlength=length),
            nucleus=np.bincount(patterns[truth], minlength=length),
        )

    def __add__(self, other: "ProbabilityHistogram") -> "ProbabilityHistogram":
        return ProbabilityHistogram(
            self.background + other.background, self.nucleus + other.nucleus
        )

    @property
    def pixels(self) -> int:
        """The number of pixels counted."""
        return int(self.background.sum() + self.nucleus.sum())

    def at(self, threshold: float) -> "PixelCounts":
        """The counts if pixels that reach `threshold` are predicted to be nucleus."""
        # As in `monuseg.nuclei.watershed.above`: both sides as float32.
        first = int(np.searchsorted(VALUES, np.float64(np.float32(threshold))))
        return PixelCounts(
            true_positives=int(self.nucleus[first:].sum()),
            false_positives=int(self.background[first:].sum()),
            false_negatives=int(self.nucleus[:first].sum()),
            true_negatives=int(self.background[:first].sum()),
        )

    @property
    def loss(self) -> float | None:
        """Mean binary cross-entropy of P(nucleus) over all pixels, clipped by `CLIP`."""
        clipped = np.clip(VALUES, CLIP, 1 - CLIP)
        return self._mean(on_nucleus=-np.log(clipped), on_background=-np.log1p(-clipped))

    @property
    def pixel_dice(self) -> float | None:
        """The quantity that arslanamin14/Image-Segmentation prints as Dice, which it is not.

        The mean over pixels of (2tp + 1) / (t + p + 1), t the truth and p the probability: a right
        pixel scores 1, a wrong one 0.5.
        """
        return self._mean(
            on_nucleus=(2 * VALUES + 1) / (VALUES + 2), on_background=1 / (VALUES + 1)
        )

    def _mean(self, *, on_nucleus: Scores, on_background: Scores) -> float | None:
        """The mean over pixels of a score that is given by predicted value and true class."""
        # Not a dot product: BLAS splits it by the number of cores, which changes the last bits.
        total = np.sum(self.nucleus * on_nucleus) + np.sum(self.background * on_background)
        return _ratio(float(total), self.pixels)


@dataclass(frozen=True)
class PixelCounts:
    """How the pixels of one or more images were classified."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def accuracy(self) -> float | None:
        """The share of pixels that are classified correctly."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float | None:
        """The share of predicted nucleus pixels that are true ones."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """The share of true nucleus pixels that are predicted."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def dice(self) -> float | None:
        """Dice coefficient, the same number as F1."""
        both = 2 * self.true_positives
        return _ratio(both, both + self.false_positives + self.false_negatives)

    @property
    def iou(self) -> float | None:
        """Intersection over union."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(self.true_positives, self.true_positives + wrong)


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
