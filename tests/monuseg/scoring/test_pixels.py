"""Scores of pixels against the plain formulas."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from monuseg.nuclei.watershed import above
from monuseg.scoring.pixels import CLIP, VALUES, PixelCounts, ProbabilityHistogram

PROBABILITIES = arrays.arrays(np.float16, (6, 5), elements=st.floats(0, 1, width=16))
TRUTHS = arrays.arrays(np.bool_, (6, 5))


def histogram(probability: list[float], truth: list[int]) -> ProbabilityHistogram:
    return ProbabilityHistogram.of(np.array([probability], np.float16), np.array([truth], bool))


@settings(max_examples=50, deadline=None)
@given(PROBABILITIES, TRUTHS, st.floats(0.01, 0.99))
def test_equal_to_the_plain_formulas(
    probability: npt.NDArray[np.float16], truth: npt.NDArray[np.bool_], threshold: float
) -> None:
    counted = ProbabilityHistogram.of(probability, truth)
    p, t = probability.astype(float), truth.astype(float)
    clipped = np.clip(p, CLIP, 1 - CLIP)
    assert counted.loss == pytest.approx(
        np.mean(-t * np.log(clipped) - (1 - t) * np.log(1 - clipped))
    )
    assert counted.pixel_dice == pytest.approx(np.mean((2 * t * p + 1) / (t + p + 1)))
    predicted = above(probability, threshold)
    assert counted.at(threshold) == PixelCounts(
        true_positives=int((predicted & truth).sum()),
        false_positives=int((predicted & ~truth).sum()),
        false_negatives=int((~predicted & truth).sum()),
        true_negatives=int((~predicted & ~truth).sum()),
    )


def test_ratios_by_hand() -> None:
    counts = PixelCounts(true_positives=6, false_positives=2, false_negatives=3, true_negatives=9)
    assert counts.accuracy == 15 / 20
    assert counts.precision == 6 / 8
    assert counts.recall == 6 / 9
    assert counts.dice == 12 / 17
    assert counts.iou == 6 / 11


def test_a_pixel_at_the_threshold_is_in() -> None:
    counts = histogram([0.25, 0.5, 0.75], [1, 1, 1]).at(0.5)
    assert (counts.true_positives, counts.false_negatives) == (2, 1)


def test_undefined_ratios_are_none() -> None:
    nothing = histogram([0.0, 0.0], [0, 0]).at(0.5)
    assert (nothing.dice, nothing.iou, nothing.precision, nothing.recall) == (None,) * 4
    assert nothing.accuracy == 1
    empty_prediction = histogram([0.0, 0.0], [1, 0]).at(0.5)
    assert (empty_prediction.dice, empty_prediction.iou, empty_prediction.recall) == (0, 0, 0)
    assert empty_prediction.precision is None
    empty_truth = histogram([1.0, 0.0], [0, 0]).at(0.5)
    assert (empty_truth.dice, empty_truth.iou, empty_truth.precision) == (0, 0, 0)
    assert empty_truth.recall is None


def test_certain_and_wrong_costs_a_finite_loss() -> None:
    assert histogram([1.0], [0]).loss == pytest.approx(-np.log(CLIP))
    assert histogram([0.0], [1]).loss == pytest.approx(-np.log(CLIP))
    assert histogram([1.0], [1]).loss == pytest.approx(CLIP, rel=1e-3)


def test_pixel_dice_calls_an_empty_prediction_good() -> None:
    # The figure known of the original: with 24 % nuclei, all background scores 0.88.
    empty = histogram([0.0] * 100, [1] * 24 + [0] * 76)
    assert empty.pixel_dice == pytest.approx(0.88)
    assert empty.at(0.5).dice == 0


def test_pooling_adds_pixels() -> None:
    first, second = histogram([0.9], [1]), histogram([0.9, 0.1, 0.2], [0, 0, 1])
    both = first + second
    assert both.at(0.5) == first.at(0.5) + second.at(0.5)
    assert both.pixels == 4
    assert both.loss == pytest.approx(((first.loss or 0) + 3 * (second.loss or 0)) / 4)


def test_every_float16_has_its_bin() -> None:
    counted = ProbabilityHistogram.of(
        VALUES.astype(np.float16)[np.newaxis], np.ones((1, VALUES.size), bool)
    )
    assert (counted.nucleus == 1).all()


def test_negative_zero_is_zero() -> None:
    assert histogram([-0.0], [0]).background[0] == 1


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.01, np.inf])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="NaN or outside"):
        histogram([0.5, wrong], [0, 1])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="truth"):
        ProbabilityHistogram.of(np.zeros((2, 3), np.float16), np.zeros((3, 2), bool))
