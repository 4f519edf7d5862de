"""The paired bootstrap: what differs image by image, not on average over other images."""

import numpy as np
import pytest

from monuseg.scoring.paired import FEWEST_IMAGES, caution, difference


def test_a_small_but_constant_lead_holds_where_images_differ_much() -> None:
    second = np.random.default_rng(0).uniform(0.3, 0.9, 14)
    found = difference(list(second + 0.01), list(second), resamples=2000, seed=1)
    assert found is not None
    assert found.mean == pytest.approx(0.01)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    assert found.holds
    assert (found.images, found.wins) == (14, 14)


def test_a_lead_on_one_image_may_be_chance() -> None:
    second = [0.5] * 14
    found = difference([0.9, *second[1:]], second, resamples=2000, seed=1)
    assert found is not None
    assert found.mean == pytest.approx(0.4 / 14)
    assert found.low == 0
    assert not found.holds
    assert found.wins == 1


def test_turned_round_it_is_the_same_with_the_other_sign() -> None:
    first, second = np.random.default_rng(0).uniform(0, 1, (2, 14)).tolist()
    one = difference(first, second, resamples=500, seed=1)
    other = difference(second, first, resamples=500, seed=1)
    assert one is not None
    assert other is not None
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.wins + other.wins == 14


def test_images_that_do_not_define_the_score_in_both_are_left_out() -> None:
    found = difference([0.5, None, 0.7, 0.9], [0.4, 0.1, None, 0.7], resamples=100, seed=1)
    assert found is not None
    assert found.images == 2
    assert found.mean == pytest.approx(0.15)
    assert difference([0.5, None], [0.4, 0.3], resamples=100, seed=1) is None


def test_other_numbers_of_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        difference([0.5, 0.6], [0.5], resamples=10, seed=1)


def test_too_few_images_are_said_to_be_with_the_odds_of_chance() -> None:
    assert "4 images are too few" in caution(4)
    assert "in one case of 8." in caution(4)
    assert "higher on all 2 in one case of 2." in caution(2)
    assert caution(FEWEST_IMAGES) == caution(1) == ""
    # Both signs count: the odds that all of n fair coins fall alike.
    assert 2 ** -(FEWEST_IMAGES - 1) < 0.05 <= 2 ** -(FEWEST_IMAGES - 2)
