"""Intervals over images."""

import numpy as np
import pytest

from monuseg.scoring.intervals import interval


def test_covers_the_mean_and_narrows_with_more_images() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 400)
    few = interval(values[:20].tolist(), resamples=1000, seed=1)
    many = interval(values.tolist(), resamples=1000, seed=1)
    assert few is not None
    assert many is not None
    assert few[0] < values[:20].mean() < few[1]
    # Twice the standard error either side of the mean.
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)
    assert many[1] - many[0] < few[1] - few[0]


def test_two_images_give_their_own_range() -> None:
    assert interval([0.2, 0.8], resamples=500, seed=3) == (0.2, 0.8)


def test_equal_seeds_give_equal_ends_and_other_seeds_others() -> None:
    values = [0.1, 0.4, 0.45, 0.7, 0.9, 0.95]
    first = interval(values, resamples=100, seed=7)
    assert interval(values, resamples=100, seed=7) == first
    assert interval(values, resamples=100, seed=8) != first


@pytest.mark.parametrize("values", [[], [0.5]])
def test_too_few_images_have_no_interval(values: list[float]) -> None:
    assert interval(values, resamples=10, seed=1) is None
