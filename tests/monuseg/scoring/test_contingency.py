"""The sparse table of overlaps."""

import numpy as np
import pytest

from monuseg.scoring.contingency import contingency


def test_table_of_a_small_case() -> None:
    truth = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
    prediction = np.array([[1, 0, 3, 3], [1, 2, 2, 3]])
    table = contingency(truth, prediction)
    assert table.truth_areas.tolist() == [4, 2]
    assert table.prediction_areas.tolist() == [2, 2, 3]
    assert table.truth.tolist() == [0, 0, 1]
    assert table.prediction.tolist() == [0, 1, 2]
    assert table.intersection.tolist() == [2, 1, 2]
    assert table.union.tolist() == [4, 5, 3]
    assert table.iou.tolist() == [2 / 4, 1 / 5, 2 / 3]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint32, np.int64])
def test_labels_may_have_gaps_and_any_integer_type(kind: type[np.integer]) -> None:
    truth = np.array([[7, 7, 0, 99]], kind)
    prediction = np.array([[0, 120, 3, 3]], kind)
    table = contingency(truth, prediction)
    assert table.truth_areas.tolist() == [2, 1]
    assert table.prediction_areas.tolist() == [2, 1]
    pairs = zip(table.truth, table.prediction, table.intersection, strict=True)
    assert [tuple(map(int, pair)) for pair in pairs] == [(0, 1, 1), (1, 0, 1)]


def test_largest_labels_do_not_overflow() -> None:
    labels = np.array([[2**63 - 1, 0, 2**62]], np.int64)
    table = contingency(labels, labels)
    assert table.intersection.tolist() == [1, 1]


@pytest.mark.parametrize("empty", ["truth", "prediction", "both"])
def test_a_map_without_nuclei(empty: str) -> None:
    none, some = np.zeros((2, 3), np.uint16), np.ones((2, 3), np.uint16)
    truth = some if empty == "prediction" else none
    prediction = some if empty == "truth" else none
    table = contingency(truth, prediction)
    assert table.intersection.size == table.truth.size == table.prediction.size == 0
    assert table.truth_areas.tolist() == ([6] if empty == "prediction" else [])
    assert table.prediction_areas.tolist() == ([6] if empty == "truth" else [])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        contingency(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_negative_labels_and_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="negative, found -1"):
        contingency(np.array([[-1]]), np.array([[1]]))
    with pytest.raises(ValueError, match="float64"):
        contingency(np.array([[1.0]]), np.array([[1]]))
