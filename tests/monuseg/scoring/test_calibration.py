"""Reliability bins and the error of calibration."""

import numpy as np
import pytest

from monuseg.scoring.calibration import expected_calibration_error, precision_recall, reliability
from monuseg.scoring.pixels import ProbabilityHistogram


def counted(probability: list[float], truth: list[int]) -> ProbabilityHistogram:
    return ProbabilityHistogram.of(np.array([probability], np.float16), np.array([truth], bool))


def test_bins_by_hand() -> None:
    bins = reliability(counted([0.25, 0.25, 0.25, 0.25, 0.75, 1.0], [1, 0, 0, 0, 0, 1]))
    assert [(one.low, one.high, one.pixels) for one in bins] == [
        (0.2, 0.3, 4),
        (0.7, 0.8, 1),
        (0.9, 1.0, 1),
    ]
    assert [one.mean_probability for one in bins] == [0.25, 0.75, 1.0]
    assert [one.nucleus_fraction for one in bins] == [0.25, 0.0, 1.0]
    # Only the single pixel at 0.75 is off, by 0.75.
    assert expected_calibration_error(bins) == pytest.approx(0.75 / 6)


def test_frequencies_as_claimed_have_no_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((400, 400)).astype(np.float16)
    truth = rng.random((400, 400)) < probability
    bins = reliability(ProbabilityHistogram.of(probability, truth))
    error = expected_calibration_error(bins)
    assert error is not None
    assert error < 0.01
    assert sum(one.pixels for one in bins) == truth.size


def test_no_pixels_no_error() -> None:
    assert expected_calibration_error([]) is None


def test_precision_and_recall_above_each_threshold_by_hand() -> None:
    bins = reliability(counted([0.05, 0.25, 0.25, 0.75, 0.75, 1.0], [0, 1, 0, 0, 1, 1]))
    assert precision_recall(bins) == [
        (0.9, 1.0, pytest.approx(1 / 3)),
        (0.7, pytest.approx(2 / 3), pytest.approx(2 / 3)),
        (0.2, pytest.approx(3 / 5), 1.0),
        (0.0, pytest.approx(3 / 6), 1.0),
    ]


def test_without_nucleus_pixels_recall_is_undefined() -> None:
    [(threshold, precision, recall)] = precision_recall(reliability(counted([0.5], [0])))
    assert (threshold, precision) == (0.5, 0.0)
    assert np.isnan(recall)
    assert precision_recall([]) == []
