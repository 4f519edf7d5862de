"""AdamW of which some layers take smaller steps."""

import keras
import numpy as np
import pytest
from keras import layers

from stages.train.loop import compile_for_training
from stages.train.optimizer import LayerwiseAdamW
from stages.train.params import TrainParams

RATE = 0.01


def small_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    return keras.Model(image, layers.Conv2D(1, 1, name="logits")(x), name="small")


def moved(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """How far one step moves each variable."""
    random = np.random.default_rng(2)
    inputs = random.normal(size=(2, 8, 8, 3)).astype(np.float32)
    model.compile(optimizer, "mean_squared_error")
    before = [np.array(weight) for weight in model.trainable_variables]
    model.train_on_batch(inputs, random.normal(size=(2, 8, 8, 1)).astype(np.float32))
    return {
        variable.path: np.abs(np.array(variable) - was)
        for variable, was in zip(model.trainable_variables, before, strict=True)
    }


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_layer_moves_by_its_share(jit_compile: bool) -> None:
    model = small_model()
    optimizer = LayerwiseAdamW(RATE, weight_decay=0.0, shares={"first": 0.1})
    model.jit_compile = jit_compile
    # Adam's first step is the learning rate, whatever the gradient.
    for path, steps in moved(model, optimizer).items():
        expected = 0.1 * RATE if path.startswith("first/") else RATE
        np.testing.assert_allclose(steps, expected, rtol=2e-3, err_msg=path)


def test_with_shares_of_one_it_is_kerass_own() -> None:
    theirs = moved(small_model(), keras.optimizers.AdamW(RATE))
    ours = moved(small_model(), LayerwiseAdamW(RATE, shares={"first": 1.0}))
    for path, steps in theirs.items():
        np.testing.assert_array_equal(ours[path], steps)


def test_training_uses_it_where_shares_are_given() -> None:
    params = TrainParams.load()
    for shares, kind in (({}, keras.optimizers.AdamW), ({"first": 0.1}, LayerwiseAdamW)):
        learner = compile_for_training(
            small_model(), params, RATE, jit_compile=False, shares=shares
        )
        assert type(learner.optimizer) is kind
