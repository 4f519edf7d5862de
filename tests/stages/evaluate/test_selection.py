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
    mean,
    threshold_scores,
)


def test_the_grid() -> None:
    assert len(THRESHOLDS) == 31
    assert THRESHOLDS[:2] == (0.2, 0.22)
    assert THRESHOLDS[-1] == 0.8


def test_threshold_scores_are_the_mean_dice_of_the_masks() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((3, 40, 40)).astype(np.float16)
    truths = rng.random((3, 40, 40)) < 0.3
    histograms = [ProbabilityHistogram.of(p, t) for p, t in zip(probabilities, truths, strict=True)]
    for score in threshold_scores(histograms):
        masks = above(probabilities, score.threshold)
        dices = [
            2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            for mask, truth in zip(masks, truths, strict=True)
        ]
        assert score.dice == pytest.approx(np.mean(dices))


def test_the_threshold_between_nuclei_and_background_wins() -> None:
    probability = np.array([[0.31, 0.31, 0.35, 0.1]], np.float16)
    truth = np.array([[0, 0, 1, 0]], bool)
    scores = threshold_scores([ProbabilityHistogram.of(probability, truth)])
    assert best_threshold(scores) == 0.34


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
