"""Scores of nuclei: cases by hand, a slow version with a mask a nucleus, and another tool."""

from itertools import combinations, permutations

import cellseg_metrics
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import aji_plus, score_nuclei

Labels = npt.NDArray[np.integer]

SMALL_MAPS = arrays.arrays(
    np.uint16, (5, 7), elements=st.sampled_from([0, 0, 1, 2, 3, 5, 9]), fill=st.nothing()
)


def row(text: str) -> Labels:
    return np.array([[int(letter) for letter in text]])


# The slow versions: a mask a nucleus, straight from the definitions.


def masks(labels: Labels) -> list[npt.NDArray[np.bool_]]:
    return [labels == label for label in sorted(set(labels.ravel().tolist()) - {0})]


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> tuple[int, int]:
    return int((a & b).sum()), int((a | b).sum())


def slow_aji(truth: Labels, prediction: Labels) -> float | None:
    predicted = masks(prediction)
    used: set[int] = set()
    inside = outside = 0
    for nucleus in masks(truth):
        best, best_iou = None, 0.0
        for index, candidate in enumerate(predicted):
            both, either = overlap(nucleus, candidate)
            if both / either > best_iou:
                best, best_iou = index, both / either
        if best is None:
            outside += int(nucleus.sum())
        else:
            both, either = overlap(nucleus, predicted[best])
            inside, outside = inside + both, outside + either
            used.add(best)
    outside += sum(int(p.sum()) for index, p in enumerate(predicted) if index not in used)
    return inside / outside if outside else None


def slow_aji_plus(truth: Labels, prediction: Labels) -> set[float | None]:
    """The AJI+ of every one-to-one assignment that reaches the largest summed IoU."""
    true, predicted = masks(truth), masks(prediction)
    found: list[tuple[float, float | None]] = []
    for size in range(min(len(true), len(predicted)) + 1):
        for some in combinations(range(len(true)), size):
            for others in permutations(range(len(predicted)), size):
                pairs = [overlap(true[t], predicted[p]) for t, p in zip(some, others, strict=True)]
                if any(both == 0 for both, _ in pairs):
                    continue
                rest = sum(int(m.sum()) for t, m in enumerate(true) if t not in some)
                rest += sum(int(m.sum()) for p, m in enumerate(predicted) if p not in others)
                union = sum(either for _, either in pairs) + rest
                score = sum(both for both, _ in pairs) / union if union else None
                found.append((sum(both / either for both, either in pairs), score))
    largest = max(summed for summed, _ in found)
    return {score for summed, score in found if summed > largest - 1e-9}


def slow_pq(truth: Labels, prediction: Labels) -> tuple[float, float] | None:
    true, predicted = masks(truth), masks(prediction)
    if not true and not predicted:
        return None
    ious = [both / either for t in true for p in predicted for both, either in [overlap(t, p)]]
    matched = [iou for iou in ious if iou > 0.5]
    mean_count = (len(true) + len(predicted)) / 2
    return sum(matched) / mean_count, len(matched) / mean_count


@settings(max_examples=60, deadline=None)
@given(SMALL_MAPS, SMALL_MAPS)
def test_equal_to_the_slow_versions(truth: Labels, prediction: Labels) -> None:
    scores = score_nuclei(truth, prediction)
    assert scores.aji == slow_aji(truth, prediction)
    assert any(scores.aji_plus == one for one in slow_aji_plus(truth, prediction))
    slow = slow_pq(truth, prediction)
    if slow is None:
        assert scores.pq is None
        assert scores.dq is None
    else:
        assert (scores.pq, scores.dq) == pytest.approx(slow)
    assert scores.true_positives + scores.false_negatives == len(masks(truth))
    assert scores.true_positives + scores.false_positives == len(masks(prediction))


@settings(max_examples=100, deadline=None)
@given(SMALL_MAPS, SMALL_MAPS)
def test_panoptic_quality_equals_cellseg_metrics(truth: Labels, prediction: Labels) -> None:
    ours = score_nuclei(truth, prediction)
    theirs = cellseg_metrics.panoptic_quality(truth.astype(np.int32), prediction.astype(np.int32))
    # It says 0 where a score is undefined, and adds 1e-8 to denominators.
    assert (ours.pq or 0.0) == pytest.approx(theirs["pq"], abs=1e-6)
    assert (ours.dq or 0.0) == pytest.approx(theirs["dq"], abs=1e-6)
    assert (ours.sq or 0.0) == pytest.approx(theirs["sq"], abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(SMALL_MAPS, SMALL_MAPS, st.permutations([1, 2, 3, 5, 9]))
def test_labels_are_only_names(truth: Labels, prediction: Labels, names: list[int]) -> None:
    renamed = np.zeros(10, np.uint16)
    renamed[[1, 2, 3, 5, 9]] = names
    before, after = score_nuclei(truth, prediction), score_nuclei(renamed[truth], prediction)
    # AJI and AJI+ break ties by label, among predictions and in the solver; PQ has no ties.
    assert after.aji == pytest.approx(before.aji)
    assert after.pq == pytest.approx(before.pq)
    assert after.true_positives == before.true_positives


def test_a_perfect_prediction_scores_one() -> None:
    truth = row("1102205550")
    scores = score_nuclei(truth, truth)
    assert (scores.aji, scores.aji_plus, scores.pq, scores.dq, scores.sq) == (1, 1, 1, 1, 1)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (3, 0, 0)


def test_aji_by_hand() -> None:
    #            nucleus 1: 4 px, best prediction 1 (I 3, U 4); nucleus 2: 2 px, missed;
    #            prediction 2: 2 px, over background, never used.
    scores = score_nuclei(row("1111022000"), row("1110000022"))
    assert scores.aji == 3 / (4 + 2 + 2)
    assert scores.aji_plus == 3 / 8
    assert scores.dq == 1 / (1 + 0.5 + 0.5)
    assert scores.sq == 3 / 4
    assert scores.pq == pytest.approx(3 / 8)


def test_one_prediction_over_two_nuclei_counts_twice_in_aji_only() -> None:
    scores = score_nuclei(row("111122"), row("111111"))
    assert scores.aji == (4 + 2) / (6 + 6)
    assert scores.aji_plus == 4 / (6 + 2)


def test_aji_takes_the_largest_iou_not_the_largest_intersection() -> None:
    # Prediction 1 shares 3 pixels with the nucleus but is large (IoU 3/9); 2 shares 2 (IoU 2/5).
    scores = score_nuclei(row("111110000"), row("221111111"))
    assert scores.aji == 2 / (5 + 7)


def test_of_equal_ious_aji_takes_the_lowest_label() -> None:
    # Either prediction has IoU 1/3; the other one stays unused.
    assert score_nuclei(row("1110"), row("2010")).aji == 1 / (3 + 1)
    # Two true nuclei, each tied between 1 and 2: both take 1, so 2 is unused.
    assert score_nuclei(row("1122"), row("1212")).aji == (1 + 1) / (3 + 3 + 2)


def test_an_iou_of_one_half_is_no_match() -> None:
    scores = score_nuclei(row("1100"), row("1000"))
    assert (scores.pq, scores.dq, scores.sq) == (0, 0, None)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (0, 1, 1)
    assert scores.aji == 1 / 2


def test_empty_prediction_scores_zero() -> None:
    scores = score_nuclei(row("1122"), row("0000"))
    assert (scores.aji, scores.aji_plus, scores.pq, scores.dq, scores.sq) == (0, 0, 0, 0, None)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (0, 0, 2)


def test_nuclei_where_there_are_none_score_zero() -> None:
    scores = score_nuclei(row("0000"), row("1122"))
    assert (scores.aji, scores.aji_plus, scores.pq, scores.dq, scores.sq) == (0, 0, 0, 0, None)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (0, 2, 0)


def test_nothing_to_find_and_nothing_found_is_undefined() -> None:
    scores = score_nuclei(row("0000"), row("0000"))
    assert (scores.aji, scores.aji_plus, scores.pq, scores.dq, scores.sq) == (None,) * 5


def test_a_nucleus_of_one_pixel() -> None:
    hit, miss = score_nuclei(row("010"), row("040")), score_nuclei(row("010"), row("400"))
    assert (hit.aji, hit.aji_plus, hit.pq) == (1, 1, 1)
    assert (miss.aji, miss.aji_plus, miss.pq) == (0, 0, 0)


def test_a_long_chain_of_overlaps_is_assigned_as_a_whole() -> None:
    # Each prediction lies over two nuclei, as bricks do. Shifted pairs are the best assignment.
    truth = np.repeat(np.arange(1, 41), 5)[np.newaxis]
    prediction = np.zeros_like(truth)
    prediction[0, 3:] = np.repeat(np.arange(1, 41), 5)[:-3]
    table = contingency(truth, prediction)
    # 39 pairs of I 3, U 7 (prediction n with nucleus n + 1), nucleus 1 alone with 5 pixels, and the
    # last prediction, cut to 2 pixels, which lies in the last nucleus, alone.
    assert aji_plus(table) == (39 * 3) / (39 * 7 + 5 + 2)


def test_thousands_of_nuclei_are_scored_within_seconds() -> None:
    nuclei = np.arange(1, 2501).reshape(50, 50).repeat(20, axis=0).repeat(20, axis=1)
    scores = score_nuclei(nuclei, np.roll(nuclei, 3, axis=1))
    assert scores.pq == pytest.approx(17 / 23, abs=0.02)
