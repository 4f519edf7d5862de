"""Intervals over images."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from monuseg.scoring.intervals import interval

Draw = Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.float64]]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return rng.normal(0.01, 0.02, shape)


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Of skewness 2, and mean 0.01 too."""
    return rng.exponential(0.01, shape)


@pytest.mark.parametrize(
    ("draw", "images", "missed"),
    [
        (normal, 2, 0.05),
        (normal, 3, 0.05),
        (normal, 6, 0.05),
        (normal, 14, 0.05),
        (normal, 100, 0.05),
        (exponential, 6, 0.114),
        (exponential, 14, 0.092),
        (exponential, 100, 0.06),
    ],
)
def test_the_true_mean_is_missed_as_often_as_is_said(
    draw: Draw, images: int, missed: float
) -> None:
    sets = draw(np.random.default_rng(0), (5000, images))
    low, high = np.transpose([interval(values) or () for values in sets.tolist()])
    # Three standard errors of a share of 5,000 sets.
    slack = 3 * (missed * (1 - missed) / 5000) ** 0.5
    assert np.mean((low > 0.01) | (high < 0.01)) == pytest.approx(missed, abs=slack)


def test_it_is_the_interval_of_a_t_test() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 14)
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values.tolist()) == pytest.approx((found.low, found.high), rel=1e-12)
    # By hand: standard error 0.3, and t of one degree of freedom 12.7062.
    assert interval([0.2, 0.8]) == pytest.approx((0.5 - 3.811861, 0.5 + 3.811861), abs=1e-6)


def test_equal_values_leave_no_doubt_and_no_nan() -> None:
    assert interval([0.5] * 6) == (0.5, 0.5)
    assert interval([0.1] * 3) == pytest.approx((0.1, 0.1), abs=1e-15)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_too_few_images_have_no_interval(values: list[float]) -> None:
    assert interval(values) is None
