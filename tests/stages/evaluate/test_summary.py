"""What the metrics files hold of a split."""

import numpy as np

from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.pixels import ProbabilityHistogram
from stages.evaluate.images import ImageScores
from stages.evaluate.summary import detail


def test_calibration_is_rounded() -> None:
    probability = np.array([[1 / 3, 0.32, 0.31]], np.float16)
    histogram = ProbabilityHistogram.of(probability, np.array([[True, False, False]]))
    record = SplitRecord("x", "lung", "test", 0.25, "binary-mask")
    image = ImageScores(record, histogram, histogram.at(0.5), nuclei=None)
    (one,) = detail([image], probabilities=True)["calibration"]["bins"]
    assert one["pixels"] == 3
    assert one["nucleus_fraction"] == 0.333333
    assert one["mean_probability"] == round(float(probability.mean(dtype=np.float64)), 6)
