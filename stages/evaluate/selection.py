"""The choices that are made on validation images: a threshold and how nuclei are split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from monuseg.nuclei.watershed import NucleiSettings
from monuseg.scoring.pixels import ProbabilityHistogram

# 0.20, 0.22 ... 0.80
THRESHOLDS = tuple(percent / 100 for percent in range(20, 81, 2))
MIDDLE = 0.5

# "given": nothing was to be chosen. "none": there was no image to choose on, so the first is taken.
ChosenOn = Literal["validation", "train", "given", "none"]


@dataclass(frozen=True)
class ThresholdScore:
    """A threshold and its mean Dice over the images to choose on, None if none defines it."""

    threshold: float
    dice: float | None


@dataclass(frozen=True)
class NucleiScore:
    """Settings of nuclei, and their mean AJI and PQ over the images to choose on."""

    settings: NucleiSettings
    aji: float | None
    pq: float | None


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are defined, None without any."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def threshold_scores(histograms: Sequence[ProbabilityHistogram]) -> list[ThresholdScore]:
    """The mean Dice of the images at each threshold of `THRESHOLDS`."""
    return [
        ThresholdScore(threshold, mean([image.at(threshold).dice for image in histograms]))
        for threshold in THRESHOLDS
    ]


def best_threshold(scores: Sequence[ThresholdScore]) -> float:
    """The threshold of highest Dice; among equals the nearest to 0.5, then the lower."""

    def rank(score: ThresholdScore) -> tuple[float, float, float]:
        # Rounded: 0.5 - 0.48 and 0.52 - 0.5 differ in the last bit.
        away = round(abs(score.threshold - MIDDLE), 6)
        return (-_or_lowest(score.dice), away, score.threshold)

    return min(scores, key=rank).threshold


def best_nuclei(scores: Sequence[NucleiScore]) -> NucleiSettings:
    """The settings with the highest mean of AJI and PQ; among equals the first.

    AJI counts pixels and hardly notices small false positives, which PQ, counting nuclei, punishes
    most.
    """
    return max(scores, key=lambda score: _or_lowest(mean([score.aji, score.pq]))).settings


def _or_lowest(score: float | None) -> float:
    return -1.0 if score is None else score
