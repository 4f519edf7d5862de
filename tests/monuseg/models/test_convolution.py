"""Convolution is Keras's, atrous ones too, which TensorFlow computes without moving pixels."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from monuseg.models.shared import backend
from monuseg.models.shared.convolution import Conv2D, Conv2DTranspose


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `configure` has it, where TensorFlow takes oneDNN without being told."""
    cpuinfo = backend.CPUINFO.read_text() if backend.CPUINFO.is_file() else ""
    if backend.platform.machine() in backend.X86 and "avx512_vnni" in cpuinfo:
        monkeypatch.setenv(backend.ONEDNN, "1")


RATES = [1, 2, 5]
CLOSE = {"float32": 2e-5, "mixed_bfloat16": 2.0**-6}


def layers_of(rate: int, dtype: str, *, use_bias: bool) -> list[keras.layers.Conv2D]:
    """The own layer and Keras's, with the same variables."""
    random = np.random.default_rng(1)
    values = [random.normal(size=(3, 3, 6, 20)), *([random.normal(size=20)] if use_bias else [])]
    made = []
    for kind in (Conv2D, keras.layers.Conv2D):
        layer = kind(20, 3, padding="same", dilation_rate=rate, use_bias=use_bias, dtype=dtype)
        layer.build((None, None, None, 6))
        layer.set_weights(values)
        made.append(layer)
    return made


def pass_through(layer: keras.layers.Conv2D) -> dict[str, np.ndarray]:
    """Outputs, and gradients of a weighted sum of them."""
    random = np.random.default_rng(2)
    x = tf.constant(random.normal(size=(2, 9, 12, 6)), layer.compute_dtype)
    weights = tf.constant(random.normal(size=(2, 9, 12, 20)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    gradients = tape.gradient(loss, [x, layer.kernel.value])
    found = dict(zip(("outputs", "of inputs", "of kernel"), [outputs, *gradients], strict=True))
    assert outputs.dtype == layer.compute_dtype
    return {name: tf.cast(value, tf.float32).numpy() for name, value in found.items()}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("rate", RATES)
def test_outputs_and_gradients_are_those_of_keras(rate: int, use_bias: bool, dtype: str) -> None:
    own, kerass = (pass_through(layer) for layer in layers_of(rate, dtype, use_bias=use_bias))
    for name, expected in kerass.items():
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(
            own[name], expected, atol=CLOSE[dtype] * scale, rtol=0, err_msg=name
        )


@pytest.mark.skipif(backend.platform.machine() not in backend.X86, reason="of x86")
@pytest.mark.parametrize(
    ("gpus", "onednn", "moved"), [([], "1", False), (["one"], "1", True), ([], "0", True)]
)
def test_pixels_are_moved_on_gpus_and_without_onednn(
    gpus: list[str], onednn: str, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(backend.ONEDNN, onednn)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    own, _ = layers_of(2, "float32", use_bias=False)
    traced = tf.function(own).get_concrete_function(tf.TensorSpec((None, None, None, 6)))
    kinds = {operation.type for operation in traced.graph.get_operations()}
    assert ("SpaceToBatchND" in kinds) == moved
    assert "Conv2D" in kinds


def test_other_processors_may_have_no_gradient_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.platform, "machine", lambda: "arm64")
    assert backend.atrous_convolution() is None


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("mixed_bfloat16", 2.0**-7)])
def test_a_transposed_convolutions_bias_has_the_gradient_of_all_pixels(
    dtype: str, close: float
) -> None:
    """In bfloat16 too, in which 256 + 1 is 256; Keras's layer has but a fraction of it there."""
    layer = Conv2DTranspose(5, 2, strides=2, dtype=dtype)
    x = tf.ones((4, 40, 50, 3), layer.compute_dtype)
    layer.build(x.shape)
    layer.bias.assign(np.arange(5.0))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * np.arange(1.0, 6.0))
    of_x, of_bias = tape.gradient(loss, [x, layer.bias.value])
    np.testing.assert_allclose(of_bias, 4 * 80 * 100 * np.arange(1.0, 6.0), rtol=close)
    kerass = keras.layers.Conv2DTranspose(5, 2, strides=2, dtype=dtype)
    kerass.build(x.shape)
    kerass.set_weights(layer.get_weights())
    with tf.GradientTape() as tape:
        tape.watch(x)
        same = kerass(x)
        loss = tf.reduce_sum(tf.cast(same, tf.float32) * np.arange(1.0, 6.0))
    for own, expected in ((outputs, same), (of_x, tape.gradient(loss, x))):
        assert own.dtype == layer.compute_dtype
        np.testing.assert_array_equal(tf.cast(own, tf.float32), tf.cast(expected, tf.float32))


def test_an_activation_of_its_is_applied() -> None:
    layer = Conv2DTranspose(4, 2, strides=2, activation="relu", dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 3)).astype(np.float32)
    outputs = tf.cast(layer(x), tf.float32).numpy()
    assert outputs.min() == 0 < outputs.max()


def test_weights_files_serve_both_layers(tmp_path: Path) -> None:
    """Groups in such a file have the names of classes: those of networks of before must fit."""

    def network(kind: type[keras.layers.Conv2D]) -> keras.Model:
        image = keras.Input((None, None, 3), name="image")
        x = kind(4, 3, name="first")(image)
        return keras.Model(image, kind(2, 3, dilation_rate=2, name="second")(x), name="network")

    one, two = network(Conv2D), network(keras.layers.Conv2D)
    for saved, loaded in ((one, two), (two, one)):
        saved.set_weights([weight + 1 for weight in saved.get_weights()])
        saved.save_weights(tmp_path / "a.weights.h5")
        loaded.load_weights(tmp_path / "a.weights.h5")
        for mine, theirs in zip(saved.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
