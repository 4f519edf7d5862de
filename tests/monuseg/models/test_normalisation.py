"""The fused batch normalisation is Keras's: outputs, gradients, averages and weights files."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from monuseg.models.shared.normalisation import BatchNormalization

# Of float32, and of one rounding to each dtype: both layers compute in float32 in between.
CLOSE = {"float32": 2e-5, "mixed_bfloat16": 2.0**-7, "mixed_float16": 2.0**-10}
SHAPES = [(4, 6, 5, 8), (2, 1, 1, 3), (1, 1, 1, 3), (3, 7, 2, 1)]


def layers_of(shape: tuple[int, ...], dtype: str) -> list[keras.layers.BatchNormalization]:
    """The fused layer and Keras's, with the same variables."""
    random = np.random.default_rng(5)
    values = [random.uniform(0.5, 2, shape[-1]) for _ in range(4)]
    made = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, dtype=dtype, name="normalisation")
        layer.build(shape)
        layer.set_weights(values)
        made.append(layer)
    return made


def pass_through(
    layer: keras.layers.BatchNormalization,
    shape: tuple[int, ...],
    *,
    training: bool,
    jit_compile: bool = False,
) -> dict[str, np.ndarray]:
    """Outputs, gradients of a weighted sum of them, and variables afterwards."""
    random = np.random.default_rng(6)
    # A mean far from 0, as after ReLU, is where a variance loses digits.
    values = random.normal(1.0, 2.0, shape)
    inputs = tf.constant(values, layer.compute_dtype)
    weights = tf.constant(random.normal(size=shape), tf.float32)

    @tf.function(jit_compile=jit_compile)
    def step(inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
        parameters = [layer.gamma.value, layer.beta.value]
        return outputs, tape.gradient(loss, [inputs, *parameters])

    outputs, gradients = step(inputs)
    assert outputs.dtype == layer.compute_dtype
    found = dict(zip(("inputs", "gamma", "beta"), gradients, strict=True))
    found = {f"gradient of {name}": value for name, value in found.items()} | {"outputs": outputs}
    found |= {variable.name: variable.value for variable in layer.weights}
    return {name: tf.cast(value, tf.float32).numpy() for name, value in found.items()}


def assert_equal(layers: list[keras.layers.BatchNormalization], tolerance: float, **how) -> None:
    found, expected = (pass_through(layer, **how) for layer in layers)
    assert list(found) == list(expected)
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(
            found[name], value, rtol=tolerance, atol=tolerance * scale, err_msg=name
        )


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_gradients_and_averages_are_those_of_keras(
    shape: tuple[int, ...], training: bool, dtype: str
) -> None:
    assert_equal(layers_of(shape, dtype), CLOSE[dtype], shape=shape, training=training)


@pytest.mark.parametrize("training", [True, False])
def test_compiled_by_xla_they_are_too(training: bool) -> None:
    shape = SHAPES[0]
    layers = layers_of(shape, "float32")
    assert_equal(layers, CLOSE["float32"], shape=shape, training=training, jit_compile=True)


def test_averages_move_to_the_batchs_mean_and_biased_variance() -> None:
    own, _ = layers_of((4, 6, 5, 8), "float32")
    before = [np.array(own.moving_mean), np.array(own.moving_variance)]
    pixels = np.random.default_rng(7).normal(3, 2, (4, 6, 5, 8)).astype(np.float32)
    own(pixels, training=True)
    statistics = pixels.mean((0, 1, 2)), pixels.var((0, 1, 2))
    found = own.moving_mean, own.moving_variance
    for average, old, new in zip(found, before, statistics, strict=True):
        np.testing.assert_allclose(average, 0.9 * old + 0.1 * new, rtol=1e-5)


def test_a_frozen_layer_keeps_its_averages_and_normalises_by_them() -> None:
    layers = layers_of((4, 6, 5, 8), "float32")
    for layer in layers:
        layer.trainable = False
    before = [np.array(variable) for variable in layers[0].weights]
    assert_equal(layers, CLOSE["float32"], shape=(4, 6, 5, 8), training=True)
    for old, variable in zip(before, layers[0].weights, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize(
    ("channels", "gpus", "computed_in"),
    [
        (20, [], tf.float32),
        (32, [], tf.bfloat16),
        (20, ["one"], tf.bfloat16),
    ],
)
def test_numbers_of_channels_that_onednn_is_slow_with_are_computed_in_float32(
    channels: int, gpus: list[str], computed_in: tf.DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    own, _ = layers_of((4, 6, 5, channels), "mixed_bfloat16")
    traced = tf.function(lambda pixels: own(pixels, training=True)).get_concrete_function(
        tf.TensorSpec((None, None, None, channels), tf.bfloat16)
    )
    [fused] = [one for one in traced.graph.get_operations() if one.type == "FusedBatchNormV3"]
    assert fused.inputs[0].dtype == computed_in
    assert traced.outputs[0].dtype == tf.bfloat16


def test_tensorflow_computes_it_in_one_operation() -> None:
    own, _ = layers_of((4, 6, 5, 8), "mixed_bfloat16")
    traced = tf.function(lambda pixels: own(pixels, training=True)).get_concrete_function(
        tf.TensorSpec((None, None, None, 8), tf.bfloat16)
    )
    kinds = [operation.type for operation in traced.graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == 1
    assert not {"Mean", "SquaredDifference", "Rsqrt"} & set(kinds)


def network(kind: type[keras.layers.BatchNormalization]) -> keras.Model:
    """A network of any size of image, with and without a layer before the normalisation."""
    image = keras.Input((None, None, 3), name="image")
    x = kind(momentum=0.9, name="first_normalisation")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", name="convolution")(x)
    return keras.Model(image, kind(momentum=0.9, name="normalisation")(x), name="network")


@pytest.mark.parametrize("saved", [BatchNormalization, keras.layers.BatchNormalization])
def test_weights_files_serve_both_layers(
    saved: type[keras.layers.BatchNormalization], tmp_path: Path
) -> None:
    other = {BatchNormalization, keras.layers.BatchNormalization} - {saved}
    one, two = network(saved), network(*other)
    assert [variable.path for variable in one.weights] == [v.path for v in two.weights]
    one.compile("sgd", "mse")
    random = np.random.default_rng(8)
    one.train_on_batch(random.random((2, 8, 6, 3)), random.random((2, 8, 6, 4)))
    one.save_weights(tmp_path / "a.weights.h5")
    two.load_weights(tmp_path / "a.weights.h5")
    for mine, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for size in ((1, 16, 24, 3), (3, 5, 7, 3)):
        image = random.random(size)
        np.testing.assert_allclose(
            one.predict_on_batch(image), two.predict_on_batch(image), rtol=1e-4, atol=1e-5
        )


def test_a_mask_is_left_to_keras() -> None:
    own, theirs = layers_of((2, 4, 4, 3), "float32")
    pixels = np.random.default_rng(9).normal(size=(2, 4, 4, 3)).astype(np.float32)
    mask = np.arange(32).reshape(2, 4, 4) % 3 > 0
    found, expected = (np.array(layer(pixels, training=True, mask=mask)) for layer in (own, theirs))
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(found, np.array(own(pixels, training=True)))


ELSEWHERE = """
import keras
import numpy as np
from monuseg.models.shared.backend import fused_batch_normalisation
from monuseg.models.shared.normalisation import BatchNormalization
assert keras.backend.backend() == "jax" and fused_batch_normalisation() is None
pixels = np.random.default_rng(1).normal(1, 2, (2, 4, 4, 3)).astype(np.float32)
for training in (True, False):
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9)
        outputs = np.array(layer(pixels, training=training))
        found.append([outputs, *(np.array(variable) for variable in layer.weights)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
"""


def test_on_another_backend_it_is_keras_own() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_networks_use_it() -> None:
    from monuseg.models.shared.registry import architecture

    unet = architecture("unet")
    model = unet.build(unet.params.model_validate({"width": 2, "learning_rate": 0.1}), 1)
    kinds = {type(layer) for layer in model.layers if "normalisation" in layer.name}
    assert kinds == {BatchNormalization}
