"""What the metrics files hold of a split."""

import pickle

import numpy as np
import pytest

from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.pixels import CLIP, ProbabilityHistogram
from stages.evaluate.images import ImageScores
from stages.evaluate.summary import curve, detail, headline, intervals, per_image

RECORD = SplitRecord("x", "lung", "test", 0.25, 0.25, "binary-mask")


def image(probability: list[float], truth: list[bool]) -> tuple[ImageScores, ProbabilityHistogram]:
    histogram = ProbabilityHistogram.of(np.array([probability], np.float16), np.array([truth]))
    return ImageScores.of(RECORD, histogram, 0.5, nuclei=None), histogram


def test_calibration_is_rounded() -> None:
    probability = np.array([1 / 3, 0.32, 0.31], np.float16)
    scores, histogram = image([1 / 3, 0.32, 0.31], [True, False, False])
    found = detail([scores], {"lung": histogram}, probabilities=True)
    (one,) = found["calibration"]["bins"]
    assert one["pixels"] == 3
    assert one["nucleus_fraction"] == 0.333333
    assert one["mean_probability"] == round(float(probability.mean(dtype=np.float64)), 6)


def test_an_interval_ends_where_scores_end() -> None:
    right, _ = image([1, 1, 0], [True, True, False])
    half, _ = image([1, 0, 0], [True, True, True])
    # Dice 1 and 0.5: a mean of 0.75, 3.2 either side.
    assert intervals([right, half]) == {"dice_lo": 0.0, "dice_hi": 1.0}
    # Six of 1 and six of 0.5: 0.75, and 2.200985 standard errors of 0.25 / 11 ** 0.5.
    found = intervals([right, half] * 6)
    assert found == pytest.approx({"dice_lo": 0.584095, "dice_hi": 0.915905}, abs=1e-6)


def test_the_loss_of_a_split_is_of_all_its_pixels_and_an_images_of_its_own() -> None:
    sure, histogram = image([1.0] * 3, [True] * 3)
    unsure, other = image([0.5], [True])
    found = headline([sure, unsure], {"lung": histogram, "liver": other}, probabilities=True)
    assert found["loss"] == pytest.approx((3 * -np.log1p(-CLIP) + np.log(2)) / 4, abs=1e-6)
    assert per_image(unsure, probabilities=True)["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert per_image(unsure, probabilities=False)["loss"] is None


def test_a_curve_has_a_row_a_bin_with_pixels_from_its_lower_end_up() -> None:
    _, histogram = image([0.25, 0.5, 0.75, 0.75], [False, True, False, True])
    found = curve("test", {"lung": histogram})
    assert [row["low"] for row in found] == [0.24, 0.5, 0.74]
    assert [row["pixels"] for row in found] == [1, 1, 2]
    assert [row["nucleus_fraction"] for row in found] == [0, 1, 0.5]
    assert [row["precision"] for row in found] == [0.5, 0.666667, 0.5]
    assert [row["recall"] for row in found] == [1, 1, 0.5]
    assert {row["split"] for row in found} == {"test"}


def test_what_is_held_of_an_image_is_small() -> None:
    """The histogram alone has 246 kB, which a thousand images would take a thousand times."""
    scores, _ = image([1.0], [True])
    assert len(pickle.dumps(scores)) < 2000
