"""The objective against its formula in NumPy."""

import numpy as np
import pytest
from scipy.special import expit

from stages.train.losses import SMOOTHING, cross_entropy_dice


def expected(targets: np.ndarray, logits: np.ndarray, dice_weight: float) -> float:
    p = expit(logits.astype(np.float64))
    cross_entropy = -np.mean(targets * np.log(p) + (1 - targets) * np.log1p(-p))
    overlap = (targets * p).sum(axis=(0, 1, 2))
    total = targets.sum(axis=(0, 1, 2)) + p.sum(axis=(0, 1, 2))
    dice = np.mean((2 * overlap + SMOOTHING) / (total + SMOOTHING))
    return float(cross_entropy + dice_weight * (1 - dice))


@pytest.mark.parametrize("dice_weight", [0.0, 1.0, 0.5])
def test_objective_is_cross_entropy_plus_soft_dice_by_class(dice_weight: float) -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((2, 8, 9, 3)) < 0.3).astype(np.float32)
    logits = generator.normal(0, 3, targets.shape).astype(np.float32)
    found = float(cross_entropy_dice(dice_weight)(targets, logits))
    assert found == pytest.approx(expected(targets, logits, dice_weight), rel=1e-5)


def test_classes_count_by_their_weights() -> None:
    generator = np.random.default_rng(1)
    targets = (generator.random((2, 8, 8, 2)) < 0.3).astype(np.float32)
    logits = generator.normal(0, 3, targets.shape).astype(np.float32)
    found = float(cross_entropy_dice(0.5, [1.0, 3.0])(targets, logits))
    first, second = (expected(targets[..., [k]], logits[..., [k]], 0.5) for k in (0, 1))
    assert found == pytest.approx(0.25 * first + 0.75 * second, rel=1e-5)


def test_equal_weights_change_no_bit() -> None:
    generator = np.random.default_rng(2)
    targets = (generator.random((2, 8, 8, 3)) < 0.3).astype(np.float32)
    logits = generator.normal(0, 3, targets.shape).astype(np.float32)
    plain, equal = cross_entropy_dice(1.0), cross_entropy_dice(1.0, [0.7, 0.7, 0.7])
    assert float(plain(targets, logits)) == float(equal(targets, logits))


def test_a_graded_target_has_cross_entropy_alone_and_masks_all_of_dice() -> None:
    generator = np.random.default_rng(3)
    targets = (generator.random((2, 8, 8, 2)) < 0.3).astype(np.float32)
    logits = generator.normal(0, 3, targets.shape).astype(np.float32)
    found = float(cross_entropy_dice(0.5, [1.0, 3.0], [True, False])(targets, logits))
    without = expected(targets, logits, 0.0), expected(targets[..., [0]], logits[..., [0]], 0.0)
    mask, distance = (expected(targets[..., [k]], logits[..., [k]], 0.0) for k in (0, 1))
    dice = expected(targets[..., [0]], logits[..., [0]], 0.5) - without[1]
    assert found == pytest.approx(0.25 * mask + 0.75 * distance + dice, rel=1e-5)


@pytest.mark.parametrize("truth", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_graded_target_is_learned_as_it_is(truth: float) -> None:
    """The objective is least where the output is the target, whatever the mask beside it."""
    targets = np.full((1, 16, 16, 2), truth, np.float32)
    targets[..., 0] = 1
    outputs = np.linspace(0.05, 0.95, 19)
    objective = cross_entropy_dice(1.0, [1.0, 1.0], [True, False])
    found = []
    for output in outputs:
        logits = np.full(targets.shape, np.log(output / (1 - output)), np.float32)
        logits[..., 0] = 8
        found.append(float(objective(targets, logits)))
    assert outputs[np.argmin(found)] == pytest.approx(truth)


def test_a_certain_and_right_answer_costs_nothing() -> None:
    targets = np.zeros((1, 8, 8, 1), np.float32)
    targets[:, 2:5, 2:5] = 1
    logits = np.where(targets > 0, 50, -50).astype(np.float32)
    assert float(cross_entropy_dice(1.0)(targets, logits)) == pytest.approx(0, abs=1e-6)


def test_an_empty_truth_is_no_division_by_zero() -> None:
    empty = np.zeros((1, 8, 8, 1), np.float32)
    assert np.isfinite(float(cross_entropy_dice(1.0)(empty, empty - 50)))
