"""Training learns, keeps the best epoch, and gives the same weights twice."""

from types import SimpleNamespace

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from monuseg.models.unet import network as unet
from stages.train.batches import Batches
from stages.train.loop import HistoryRow, Trained, compile_for_training, fit
from stages.train.params import TrainParams

PARAMS = TrainParams.load().model_copy(
    update={"epochs": 3, "steps_per_epoch": 12, "batch_size": 4, "crop": 64, "warmup": 0.1}
)


def train(
    images: list[TiledImage], validation: list[TiledImage], params: TrainParams = PARAMS
) -> tuple[Trained, list[HistoryRow]]:
    import keras

    keras.utils.set_random_seed(1)
    model = unet.build(unet.Params(width=4, learning_rate=0.01), classes=1)
    compile_for_training(model, params, 0.01, jit_compile=False)
    seen: list[HistoryRow] = []
    batches = Batches(images, params, "symmetric")
    trained = fit(
        model, batches, validation, params, scaling="symmetric", divisor=16, progress=seen.append
    )
    return trained, seen


@pytest.fixture(scope="module")
def trained(images: list[TiledImage]) -> Trained:
    return train(images[:1], images[1:])[0]


def test_discs_are_learnt(trained: Trained) -> None:
    objectives = [row["objective"] for row in trained.history]
    assert objectives == sorted(objectives, reverse=True)
    assert max(row["validation_dice"] for row in trained.history) > 0.6


def test_the_epoch_of_highest_validation_dice_is_kept(trained: Trained) -> None:
    dice = [row["validation_dice"] for row in trained.history]
    assert trained.epoch == 1 + int(np.argmax(dice))


def test_the_same_inputs_give_the_same_weights_and_history(
    trained: Trained, images: list[TiledImage]
) -> None:
    again, _ = train(images[:1], images[1:])
    assert again.history == trained.history
    for one, other in zip(trained.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_learning_rate_rises_then_falls_to_zero(trained: Trained) -> None:
    rates = [row["learning_rate"] for row in trained.history]
    assert 0 < rates[0] <= 0.01
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_without_validation_the_last_epoch_is_kept(images: list[TiledImage]) -> None:
    params = PARAMS.model_copy(update={"epochs": 2, "steps_per_epoch": 2, "keep": "last"})
    result, seen = train(images, [], params)
    assert result.epoch == 2
    assert seen == result.history
    assert all(row["validation_dice"] is None for row in seen)


class Scripted:
    """A model whose objective of each batch is known."""

    optimizer = SimpleNamespace(learning_rate=0.1)

    def __init__(self, objectives: list[float]) -> None:
        self._objectives = iter(objectives)

    def train_on_batch(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """The next objective."""
        return next(self._objectives)

    def get_weights(self) -> list[np.ndarray]:
        """None are needed."""
        return []


def test_the_objective_of_an_epoch_is_the_mean_over_its_batches(images: list[TiledImage]) -> None:
    params = PARAMS.model_copy(update={"epochs": 2, "steps_per_epoch": 2})
    trained = fit(
        Scripted([1.0, 2.0, 5.0, 6.0]), Batches(images, params, "symmetric"), [], params,
        scaling="symmetric", divisor=16, progress=lambda row: None,
    )  # fmt: skip
    assert [row["objective"] for row in trained.history] == [1.5, 5.5]
