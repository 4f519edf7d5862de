"""Paired differences: what differs image by image, not on average over other images."""

import numpy as np
import pandas as pd
import pytest

from monuseg.scoring.paired import (
    FEWEST_IMAGES,
    Difference,
    cautions,
    compare,
    difference,
    odds,
)
from monuseg.scoring.rows import Row


def of(images: int) -> Difference:
    return Difference(images, 0.1, 0.05, 0.2, images)


def test_a_small_but_constant_lead_holds_where_images_differ_much() -> None:
    second = np.random.default_rng(0).uniform(0.3, 0.9, 14)
    found = difference(list(second + 0.01), list(second))
    assert found is not None
    assert found.mean == pytest.approx(0.01)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    assert found.holds
    assert (found.images, found.wins) == (14, 14)


def test_a_lead_on_one_image_may_be_chance() -> None:
    second = [0.5] * 14
    found = difference([0.9, *second[1:]], second)
    assert found is not None
    assert found.mean == pytest.approx(0.4 / 14)
    # Of one value a and 13 of 0, the standard error of the mean is a / 14; t is 2.160369.
    assert found.low == pytest.approx(0.4 / 14 * (1 - 2.160369), abs=1e-7)
    assert not found.holds
    assert found.wins == 1


def test_turned_round_it_is_the_same_with_the_other_sign() -> None:
    first, second = np.random.default_rng(0).uniform(0, 1, (2, 14)).tolist()
    one = difference(first, second)
    other = difference(second, first)
    assert one is not None
    assert other is not None
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.wins + other.wins == 14


def test_images_that_do_not_define_the_score_in_both_are_left_out() -> None:
    found = difference([0.5, None, 0.7, 0.9, None], [0.4, 0.1, None, 0.7, None])
    assert found is not None
    assert found.images == 2
    assert found.mean == pytest.approx(0.15)
    # The last image defines it in neither: it is missing from no mean.
    assert found.left_out == 2
    assert difference([0.5, None], [0.4, 0.3]) is None


@pytest.mark.parametrize("images", [6, 14])
def test_equal_rows_are_called_different_in_one_case_of_twenty(images: int) -> None:
    rows = np.random.default_rng(1).normal(0.7, 0.1, (3000, 2, images))
    found = [difference(*pair) for pair in rows.tolist()]
    share = np.mean([one is not None and one.holds for one in found])
    assert share == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 3000) ** 0.5)


def test_other_numbers_of_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        difference([0.5, 0.6], [0.5])


def test_the_odds_are_those_of_all_comparisons() -> None:
    assert "by chance once in 20; if there were none at all, 0.3 of the 6 " in odds(6)
    assert " 1.5 of the 30 " in odds(30)


def test_few_images_are_told_of_the_scores_that_have_them_with_the_odds_of_chance() -> None:
    found = [("Dice", of(14)), ("AJI", of(3)), ("PQ", of(3)), ("SQ", of(2)), ("AJI", of(3))]
    of_two, of_three = cautions([*found, ("DQ", None)])
    assert of_two.startswith("SQ: 2 images are few.")
    assert of_two.endswith("all 2 have the same sign in one case of 2.")
    assert of_three.startswith("AJI, PQ: 3 images are few.")
    assert of_three.endswith("all 3 have the same sign in one case of 4.")


def test_from_six_images_on_signs_alone_can_decide() -> None:
    assert cautions([("Dice", of(FEWEST_IMAGES))]) == []
    assert len(cautions([("Dice", of(FEWEST_IMAGES - 1))])) == 1
    # Both signs count: the odds that all of n fair coins fall alike.
    assert 2 ** -(FEWEST_IMAGES - 1) < 0.05 <= 2 ** -(FEWEST_IMAGES - 2)


def test_every_two_rows_that_have_scores_are_compared_in_the_order_of_the_rows() -> None:
    rows = [Row(key, {}) for key in ("unet", "segnet", "deeplabv3plus", "otsu")]
    nan = float("nan")
    images = {
        "otsu": pd.DataFrame({"dice": [0.5, 0.5, nan], "aji": [nan, nan, 0.5]}),
        "unet": pd.DataFrame({"dice": [0.7, 0.6, 0.1], "aji": [0.4, 0.5, 0.6]}),
        "segnet": pd.DataFrame({"dice": [0.5, 0.6, 0.7], "aji": [0.4, 0.5, 0.6]}),
    }
    pairs = compare(rows, images, ["dice", "aji"])
    every = [("unet", "segnet"), ("unet", "otsu"), ("segnet", "otsu")]
    assert [(pair.first.key, pair.second.key) for pair in pairs] == every
    found = pairs[1].found
    assert list(found) == ["dice", "aji"]
    dice = found["dice"]
    assert dice is not None
    assert dice.mean == pytest.approx(0.15)
    assert (dice.images, dice.wins, dice.left_out) == (2, 2, 1)
    # Of one image there is no interval.
    assert found["aji"] is None
