"""What is chosen among candidates."""

import numpy as np
import pytest

from monuseg.nuclei.watershed import NucleiSettings, above
from monuseg.scoring.pixels import ProbabilityHistogram
from stages.evaluate.selection import (
    THRESHOLDS,
    NucleiScore,
    ThresholdScore,
    best_nuclei,
    best_threshold,
    dices_of,
    mean,
    nuclei_scores,
    threshold_scores,
)


def scores_of(
    histograms: list[ProbabilityHistogram],
) -> tuple[list[ThresholdScore], list[bool]]:
    return threshold_scores([dices_of(one) for one in histograms])


def test_the_grid() -> None:
    assert len(THRESHOLDS) == 31
    assert THRESHOLDS[:2] == (0.2, 0.22)
    assert THRESHOLDS[-1] == 0.8


def test_threshold_scores_are_the_mean_dice_of_the_masks() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((3, 40, 40)).astype(np.float16)
    truths = rng.random((3, 40, 40)) < 0.3
    histograms = [ProbabilityHistogram.of(p, t) for p, t in zip(probabilities, truths, strict=True)]
    scores, used = scores_of(histograms)
    assert used == [True] * 3
    for score in scores:
        masks = above(probabilities, score.threshold)
        dices = [
            2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            for mask, truth in zip(masks, truths, strict=True)
        ]
        assert score.dice == pytest.approx(np.mean(dices))


def test_the_threshold_between_nuclei_and_background_wins() -> None:
    probability = np.array([[0.31, 0.31, 0.35, 0.1]], np.float16)
    truth = np.array([[0, 0, 1, 0]], bool)
    scores, _ = scores_of([ProbabilityHistogram.of(probability, truth)])
    assert best_threshold(scores) == 0.34


def slide(nucleus: float, *background: float, size: int = 10) -> ProbabilityHistogram:
    """A slide of one nucleus of `size` pixels, none if 0, and some pixels of background."""
    probability = np.array([[nucleus] * size + list(background)], np.float16)
    return ProbabilityHistogram.of(probability, np.arange(probability.size)[None] < size)


def test_a_pixel_on_a_slide_without_nuclei_does_not_choose_the_threshold() -> None:
    # Dice is 1 up to 0.54, and 0 above.
    with_nuclei = slide(0.55, 0.1, 0.1)
    alone, _ = scores_of([with_nuclei])
    assert best_threshold(alone) == 0.5
    # Undefined from 0.62 on, 0 below: in the mean of some thresholds and not of others.
    for empty in (slide(0, 0.61, 0.1, size=0), slide(0, 0.1, size=0)):
        assert scores_of([with_nuclei, empty, with_nuclei]) == (alone, [True, False, True])
    # With a pixel that every threshold takes, its Dice is 0 everywhere and changes no order.
    scores, used = scores_of([with_nuclei, slide(0, 0.9, size=0)])
    assert used == [True, True]
    assert best_threshold(scores) == 0.5
    assert scores[0].dice == 0.5


def test_a_threshold_above_which_all_is_undefined_no_longer_wins() -> None:
    # Dice is 1 at 0.30, 0.5 above. The slide without nuclei, whose one wrong pixel is 0.61, would
    # halve the means up to 0.60, and 0.62 would be no worse than 0.30 and nearer to 0.5.
    images = [slide(0.3, size=20) + slide(0.9, *[0.25] * 12, size=10), slide(0, 0.61, size=0)]
    scores, used = scores_of(images)
    assert used == [True, False]
    below = [score.dice for score in scores if score.threshold <= 0.24]
    assert below == pytest.approx([60 / 72] * 3)
    assert best_threshold(scores) == 0.3
    assert scores[-1].dice == pytest.approx(20 / 40)


def test_where_no_image_is_defined_by_all_there_is_no_score() -> None:
    scores, used = scores_of([slide(0, 0.5, size=0)])
    assert used == [False]
    assert {score.dice for score in scores} == {None}


def test_nuclei_are_scored_on_the_images_that_all_candidates_define() -> None:
    settings = [NucleiSettings(0.5, 1, distance, 0) for distance in (3, 5)]
    images = [
        [(0.6, 0.5), (0.7, 0.6)],
        # The second finds nothing on a slide without nuclei, which is right and scored by nobody.
        [(0.0, 0.0), (None, None)],
        [(0.2, None), (0.3, 0.4)],
        [(0.4, 0.3), (0.3, 0.4)],
    ]
    scores, used = nuclei_scores(settings, images)
    assert used == [True, False, False, True]
    assert [score.settings for score in scores] == settings
    assert [score.aji for score in scores] == pytest.approx([0.5, 0.5])
    assert [score.pq for score in scores] == pytest.approx([0.4, 0.5])
    nothing, used = nuclei_scores(settings, images[1:2])
    assert used == [False]
    assert nothing == [NucleiScore(one, None, None) for one in settings]


def test_ties_go_to_the_value_nearest_to_one_half_then_to_the_lower() -> None:
    level = [ThresholdScore(threshold, 0.7) for threshold in THRESHOLDS]
    assert best_threshold(level) == 0.5
    without_middle = [score for score in level if score.threshold != 0.5]
    assert best_threshold(without_middle) == 0.48
    assert best_threshold([*without_middle, ThresholdScore(0.5, 0.69)]) == 0.48


def test_an_undefined_score_loses_to_any_other() -> None:
    assert best_threshold([ThresholdScore(0.5, None), ThresholdScore(0.8, 0.0)]) == 0.8
    settings = [NucleiSettings(0.5, 1, distance, 0) for distance in (3, 5, 7, 9)]
    ajis = [None, 0.3, 0.4, 0.4]
    scores = [NucleiScore(*one, None) for one in zip(settings, ajis, strict=True)]
    assert best_nuclei(scores) == settings[2]


def test_nuclei_are_chosen_by_the_mean_of_aji_and_pq() -> None:
    settings = [NucleiSettings(0.5, 1, distance, 0) for distance in (3, 5, 7)]
    scores = [(0.60, 0.50), (0.58, 0.55), (0.50, 0.60)]
    found = [NucleiScore(one, *both) for one, both in zip(settings, scores, strict=True)]
    assert best_nuclei(found) == settings[1]


def test_the_mean_is_over_what_is_defined() -> None:
    assert mean([0.2, None, 0.4]) == pytest.approx(0.3)
    assert mean([None]) is None
    assert mean([]) is None
