"""Calibration: how well predicted probabilities agree with observed frequencies."""

from dataclasses import dataclass

import numpy as np

from monuseg.scoring.pixels import VALUES, ProbabilityHistogram

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The pixels whose P(nucleus) lies from `low` up to below `high` (the last bin: up to 1).

    Attributes:
        low: lowest probability.
        high: where the next bin begins.
        pixels: their number, above 0.
        mean_probability: their mean P(nucleus).
        nucleus_fraction: the share of them that belong to true nuclei.
    """

    low: float
    high: float
    pixels: int
    mean_probability: float
    nucleus_fraction: float


def reliability(histogram: ProbabilityHistogram, count: int = BINS) -> list[ReliabilityBin]:
    """Sort pixels into `count` bins of equal width, and leave out empty bins."""
    bins = np.minimum((VALUES * count).astype(int), count - 1)
    pixels = np.bincount(bins, histogram.nucleus + histogram.background)
    nucleus = np.bincount(bins, histogram.nucleus)
    summed = np.bincount(bins, (histogram.nucleus + histogram.background) * VALUES)
    return [
        ReliabilityBin(
            low=number / count,
            high=(number + 1) / count,
            pixels=int(pixels[number]),
            mean_probability=float(summed[number] / pixels[number]),
            nucleus_fraction=float(nucleus[number] / pixels[number]),
        )
        for number in range(count)
        if pixels[number]
    ]


def precision_recall(bins: list[ReliabilityBin]) -> list[tuple[float, float, float]]:
    """Thresholds of P(nucleus), the highest first, with precision and recall of the pixels above.

    They are the lower ends of the bins; without a nucleus pixel, recall is NaN.
    """
    falling = bins[::-1]
    above = np.cumsum([one.pixels for one in falling])
    true = np.cumsum([one.pixels * one.nucleus_fraction for one in falling])
    recall = true / (true[-1] or np.nan) if len(true) else true
    thresholds = [one.low for one in falling]
    return list(zip(thresholds, (true / above).tolist(), recall.tolist(), strict=True))


def expected_calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """The mean gap between predicted and observed frequency in bins, weighted by their pixels.

    None without pixels. Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian
    binning".
    """
    total = sum(one.pixels for one in bins)
    if not total:
        return None
    gaps = (one.pixels * abs(one.mean_probability - one.nucleus_fraction) for one in bins)
    return sum(gaps) / total
