"""What the metrics files hold of a split."""

import numpy as np
import pytest

from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.pixels import ProbabilityHistogram
from stages.evaluate.images import ImageScores
from stages.evaluate.summary import detail, intervals

RECORD = SplitRecord("x", "lung", "test", 0.25, 0.25, "binary-mask")


def image(probability: list[float], truth: list[bool]) -> ImageScores:
    histogram = ProbabilityHistogram.of(np.array([probability], np.float16), np.array([truth]))
    return ImageScores(RECORD, histogram, histogram.at(0.5), nuclei=None)


def test_calibration_is_rounded() -> None:
    probability = np.array([1 / 3, 0.32, 0.31], np.float16)
    (one,) = detail([image([1 / 3, 0.32, 0.31], [True, False, False])], probabilities=True)[
        "calibration"
    ]["bins"]
    assert one["pixels"] == 3
    assert one["nucleus_fraction"] == 0.333333
    assert one["mean_probability"] == round(float(probability.mean(dtype=np.float64)), 6)


def test_an_interval_ends_where_scores_end() -> None:
    right, half = image([1, 1, 0], [True, True, False]), image([1, 0, 0], [True, True, True])
    # Dice 1 and 0.5: a mean of 0.75, 3.2 either side.
    assert intervals([right, half]) == {"dice_lo": 0.0, "dice_hi": 1.0}
    # Six of 1 and six of 0.5: 0.75, and 2.200985 standard errors of 0.25 / 11 ** 0.5.
    found = intervals([right, half] * 6)
    assert found == pytest.approx({"dice_lo": 0.584095, "dice_hi": 0.915905}, abs=1e-6)
