"""How far predicted probabilities are the frequencies that they claim to be."""

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
        pixels: how many there are, above 0.
        mean_probability: their mean P(nucleus).
        nucleus_fraction: the share of them that is on a true nucleus.
    """

    low: float
    high: float
    pixels: int
    mean_probability: float
    nucleus_fraction: float


def reliability(histogram: ProbabilityHistogram) -> list[ReliabilityBin]:
    """Ten bins of equal width, without those that hold no pixel."""
    bins = np.minimum((VALUES * BINS).astype(int), BINS - 1)
    pixels = np.bincount(bins, histogram.nucleus + histogram.background)
    nucleus = np.bincount(bins, histogram.nucleus)
    summed = np.bincount(bins, (histogram.nucleus + histogram.background) * VALUES)
    return [
        ReliabilityBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            pixels=int(pixels[number]),
            mean_probability=float(summed[number] / pixels[number]),
            nucleus_fraction=float(nucleus[number] / pixels[number]),
        )
        for number in range(BINS)
        if pixels[number]
    ]


def expected_calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """The mean over pixels of a bin's gap between claimed and true frequency; None without pixels.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
    """
    total = sum(one.pixels for one in bins)
    if not total:
        return None
    gaps = (one.pixels * abs(one.mean_probability - one.nucleus_fraction) for one in bins)
    return sum(gaps) / total
