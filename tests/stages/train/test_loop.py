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
    update={
        "epochs": 3,
        "steps_per_epoch": 12,
        "batch_size": 4,
        "crop": 64,
        "warmup": 0.1,
        "keep": "best",
    }
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


def scheduled(warmup: int, steps: int, highest: float) -> list[float]:
    """The learning rate of each step."""
    rising = [highest * (step + 1) / (warmup + 1) for step in range(warmup)]
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(steps - warmup) / (steps - warmup)))
    return [*rising, *(highest * cosine)]


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup", "rising"),
    [(3, 12, 0.1, 4), (1, 5, 0.0, 0), (2, 5, 0.99, 9), (1, 2, 0.9, 1), (1, 1, 0.5, 0)],
)
def test_every_step_has_a_learning_rate(
    epochs: int, steps: int, warmup: float, rising: int
) -> None:
    params = PARAMS.model_copy(
        update={"epochs": epochs, "steps_per_epoch": steps, "warmup": warmup}
    )
    model = unet.build(unet.Params(width=2, learning_rate=0.01), classes=1)
    optimizer = compile_for_training(model, params, 0.01, jit_compile=False).optimizer
    found = []
    for step in range(epochs * steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(found, scheduled(rising, epochs * steps, 0.01), rtol=1e-5)
    assert min(found) > 0
    assert max(found) == pytest.approx(0.01)


def test_the_first_step_moves_the_weights_by_its_learning_rate(images: list[TiledImage]) -> None:
    params = PARAMS.model_copy(update={"weight_decay": 0.0, "clip_norm": 1e6})
    model = unet.build(unet.Params(width=2, learning_rate=0.01), classes=1)
    compile_for_training(model, params, 0.01, jit_compile=False)
    before = [np.array(variable) for variable in model.trainable_variables]
    model.train_on_batch(*Batches(images, params, "symmetric")[0])
    moved = [
        np.abs(np.array(variable) - old).max()
        for variable, old in zip(model.trainable_variables, before, strict=True)
    ]
    # Adam's first step is the learning rate, whatever the gradient; where that is not nearly 0.
    assert np.median(moved) == pytest.approx(scheduled(4, 36, 0.01)[0], rel=0.01)


def test_history_has_the_learning_rate_of_each_epochs_last_step(trained: Trained) -> None:
    rates = [row["learning_rate"] for row in trained.history]
    assert rates == pytest.approx(scheduled(4, 36, 0.01)[11::12], rel=1e-5)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_validation_is_compiled_as_training_is(jit_compile: bool) -> None:
    params = PARAMS.model_copy(update={"deep_supervision": 0.5})
    settings = unet.Params(width=2, learning_rate=0.01)
    model = unet.build(settings, classes=1)
    learner = compile_for_training(
        model, params, 0.01, jit_compile=jit_compile, coarse=unet.coarse_features(settings)
    )
    assert learner is not model
    assert (learner.jit_compile, model.jit_compile) == (jit_compile, jit_compile)


def test_without_validation_the_last_epoch_is_kept(images: list[TiledImage]) -> None:
    params = PARAMS.model_copy(update={"epochs": 2, "steps_per_epoch": 2, "keep": "last"})
    result, seen = train(images, [], params)
    assert result.epoch == 2
    assert seen == result.history
    assert all(row["validation_dice"] is None for row in seen)


class Scripted:
    """A model whose objective of each batch is known."""

    optimizer = SimpleNamespace(learning_rate=0.1, build=lambda variables: None, variables=[])
    trainable_variables: tuple[object, ...] = ()
    variables: tuple[object, ...] = ()

    def __init__(self, objectives: list[float]) -> None:
        self._objectives = iter(objectives)

    def train_on_batch(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """The next objective."""
        return next(self._objectives)

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        """Without validation images there is nothing to predict."""
        raise NotImplementedError

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
