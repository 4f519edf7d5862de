"""A moving average of the weights is what is scored and kept, and training goes on without it."""

import keras
import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from stages.train import loop
from stages.train.batches import Batches
from stages.train.loop import Trained, compile_for_training, fit
from stages.train.params import TrainParams
from stages.train.validation import ValidationScores

STEPS = 4
MOMENTUM = 0.7
PARAMS = TrainParams.load().model_copy(
    update={"epochs": 2, "steps_per_epoch": STEPS, "batch_size": 2, "crop": 32, "keep": "last"}
)


def build() -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    logits = keras.layers.Conv2D(1, 3, padding="same", name="logits")(image)
    return keras.Model(image, logits, name="small")


def trained(images: list[TiledImage], average: float) -> tuple[Trained, keras.Model]:
    keras.utils.set_random_seed(1)
    params = PARAMS.model_copy(update={"ema_momentum": average})
    model = build()
    compile_for_training(model, params, 0.05, jit_compile=False)
    done = fit(
        model,
        Batches(images, params, "symmetric"),
        [],
        params,
        scaling="symmetric",
        divisor=1,
        progress=lambda row: None,
    )
    return done, model


def averages(images: list[TiledImage]) -> list[np.ndarray]:
    """The average after each step, of weights that are trained without any."""
    keras.utils.set_random_seed(1)
    model = build()
    compile_for_training(model, PARAMS, 0.05, jit_compile=False)
    batches, average, found = Batches(images, PARAMS, "symmetric"), None, []
    for step in range(PARAMS.epochs * STEPS):
        model.train_on_batch(*batches[step])
        weights = np.array(model.get_weights()[0])
        average = weights if average is None else MOMENTUM * average + (1 - MOMENTUM) * weights
        found.append(average)
    return found


def test_the_average_is_kept_and_the_weights_are_trained_on(images: list[TiledImage]) -> None:
    with_average, model = trained(images, MOMENTUM)
    without, plain = trained(images, 0.0)
    np.testing.assert_allclose(with_average.weights[0], averages(images)[-1], rtol=1e-5, atol=1e-7)
    assert np.abs(with_average.weights[0] - without.weights[0]).max() > 1e-4
    # The objective is that of the weights themselves, which the average does not touch.
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [row["objective"] for row in with_average.history] == [
        row["objective"] for row in without.history
    ]


def test_the_average_is_what_is_scored(
    images: list[TiledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(1)
    model, seen = build(), []

    def validate(*_: object) -> ValidationScores:
        seen.append(np.array(model.get_weights()[0]))
        return ValidationScores(loss=1.0, accuracy=0.5, dice=0.5)

    monkeypatch.setattr(loop, "validate", validate)
    params = PARAMS.model_copy(update={"ema_momentum": MOMENTUM})
    compile_for_training(model, params, 0.05, jit_compile=False)
    fit(
        model,
        Batches(images, params, "symmetric"),
        images[:1],
        params,
        scaling="symmetric",
        divisor=1,
        progress=lambda row: None,
    )
    for one, other in zip(seen, averages(images)[STEPS - 1 :: STEPS], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
