"""ReLU is Keras's, by the bits of bfloat16 too."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from monuseg.models.shared.activation import ReLU


def every_bfloat16() -> tf.Tensor:
    """All patterns of bits, but those of no number and below the smallest, which may become 0."""
    values = tf.bitcast(tf.constant(np.arange(1 << 16, dtype=np.uint16)), tf.bfloat16)
    wide = np.abs(tf.cast(values, tf.float32).numpy())
    return tf.boolean_mask(values, (wide == 0) | (wide >= np.finfo(np.float32).tiny))


def outputs_and_gradient(layer: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> list[np.ndarray]:
    """Of each value, with upstream gradients that are all different."""

    @tf.function
    def step(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = tf.cast(tf.linspace(-2.0, 3.0, tf.size(x)), x.dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
        return outputs, tape.gradient(outputs, x, tf.reshape(upstream, tf.shape(x)))

    found = step(x)
    assert {value.dtype for value in found} == {x.dtype}
    return [tf.cast(value, tf.float32).numpy() for value in found]


def test_every_value_of_bfloat16_and_its_gradient_are_kerass() -> None:
    x = every_bfloat16()
    own, kerass = (
        outputs_and_gradient(kind(dtype="mixed_bfloat16"), x) for kind in (ReLU, keras.layers.ReLU)
    )
    np.testing.assert_array_equal(own[0], kerass[0])
    np.testing.assert_array_equal(own[1], kerass[1])
    assert (own[0] > 0).sum() > 30_000
    assert (own[1] != 0).sum() > 30_000


def test_a_positive_value_that_is_no_number_stays_none() -> None:
    x = tf.bitcast(tf.constant([0x7FC0], tf.uint16), tf.bfloat16)
    assert np.isnan(np.asarray(tf.cast(ReLU(dtype="mixed_bfloat16")(x), tf.float32)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_other_shapes_and_types_are_kerass(dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype(np.float32)
    x = tf.cast(values, ReLU(dtype=dtype).compute_dtype)
    for own, kerass in zip(
        outputs_and_gradient(ReLU(dtype=dtype), x),
        outputs_and_gradient(keras.layers.ReLU(dtype=dtype), x),
        strict=True,
    ):
        np.testing.assert_array_equal(own, kerass)


@pytest.mark.parametrize(("gpus", "by_bits"), [([], True), (["one"], False)])
def test_bits_are_for_cpus(gpus: list[str], by_bits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    layer = ReLU(dtype="mixed_bfloat16")
    traced = tf.function(layer).get_concrete_function(tf.TensorSpec((2, 3), tf.bfloat16))
    kinds = {operation.type for operation in traced.graph.get_operations()}
    assert ("Bitcast" in kinds) == by_bits
    assert "Relu" in kinds


def test_of_keras_it_reads_and_writes_the_configuration() -> None:
    layer = ReLU(name="relu")
    plain = keras.layers.ReLU.from_config(layer.get_config())
    assert plain.name == "relu"
    assert plain.max_value is None
