"""The choices that are made on validation images: a threshold and how nuclei are split.

Candidates are compared by means over the images that every one of them defines. An image without
nuclei defines a score only for candidates that predict a pixel there, and then it is 0: in the
means of some candidates and not of others, it would choose between them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Literal

from monuseg.nuclei.watershed import NucleiSettings
from monuseg.scoring.pixels import ProbabilityHistogram

# 0.20, 0.22 ... 0.80
THRESHOLDS = tuple(percent / 100 for percent in range(20, 81, 2))
MIDDLE = 0.5

# "given": nothing was to be chosen. "none": no image could be chosen on, so the first is taken.
ChosenOn = Literal["validation", "train", "given", "none"]


@dataclass(frozen=True)
class ThresholdScore:
    """A threshold and its mean Dice over the images that all define, None without any."""

    threshold: float
    dice: float | None


@dataclass(frozen=True)
class NucleiScore:
    """Settings of nuclei, and their mean AJI and PQ over the images that all define."""

    settings: NucleiSettings
    aji: float | None
    pq: float | None


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are defined, None without any."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def dices_of(histogram: ProbabilityHistogram) -> list[float | None]:
    """The Dice of an image at each threshold of `THRESHOLDS`."""
    return [histogram.at(threshold).dice for threshold in THRESHOLDS]


def threshold_scores(
    images: Sequence[Sequence[float | None]],
) -> tuple[list[ThresholdScore], list[bool]]:
    """The mean Dice of the images at each threshold of `THRESHOLDS`.

    Args:
        images: `dices_of` each image, at least one.

    Returns:
        The thresholds' scores; and of each image whether they are over it, which they are if every
        threshold defines its Dice.
    """
    used = [None not in dices for dices in images]
    means = [mean(list(compress(dices, used))) for dices in zip(*images, strict=True)]
    return list(map(ThresholdScore, THRESHOLDS, means)), used


def nuclei_scores(
    candidates: Sequence[NucleiSettings],
    images: Sequence[Sequence[tuple[float | None, float | None]]],
) -> tuple[list[NucleiScore], list[bool]]:
    """The mean AJI and PQ of the images with each candidate.

    Args:
        candidates: settings of nuclei.
        images: AJI and PQ of each image, at least one, with each candidate.

    Returns:
        The candidates' scores; and of each image whether they are over it, which they are if every
        candidate defines both.
    """
    used = [all(None not in pair for pair in pairs) for pairs in images]
    scores = []
    for settings, pairs in zip(candidates, zip(*images, strict=True), strict=True):
        kept = list(compress(pairs, used))
        scores.append(NucleiScore(settings, *(mean([pair[i] for pair in kept]) for i in (0, 1))))
    return scores, used


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
