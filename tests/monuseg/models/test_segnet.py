"""SegNet: the paper's size, and unpooling by the indices of the maxima."""

import re

import keras
import numpy as np
import numpy.typing as npt
import pytest

from monuseg.models.segnet import network as segnet
from monuseg.models.segnet.network import MaxPoolingWithIndices, MaxUnpooling

Floats = npt.NDArray[np.float32]

# VGG16: (input, output) channels of each 3 x 3 convolution.
VGG16 = [
    (3, 64), (64, 64),
    (64, 128), (128, 128),
    (128, 256), (256, 256), (256, 256),
    (256, 512), (512, 512), (512, 512),
    (512, 512), (512, 512), (512, 512),
]  # fmt: skip


def parameters_of_the_paper(classes: int) -> int:
    """Weights of encoder and mirrored decoder with normalisation in place of all biases but one."""
    encoder = sum(9 * inputs * outputs + 4 * outputs for inputs, outputs in VGG16)
    mirrored = [(outputs, inputs) for inputs, outputs in reversed(VGG16)][:-1]
    decoder = sum(9 * inputs * outputs + 4 * outputs for inputs, outputs in mirrored)
    return encoder + decoder + 9 * 64 * classes + classes


def pooled_and_unpooled(x: Floats) -> tuple[Floats, Floats]:
    """What 2 x 2 max pooling gives, and what unpooling makes of it; of equal maxima the first."""
    batch, height, width, channels = x.shape
    pooled = np.zeros((batch, height // 2, width // 2, channels), np.float32)
    unpooled = np.zeros_like(x)
    for b, i, j, c in np.ndindex(pooled.shape):
        window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        row, column = divmod(int(np.argmax(window)), 2)
        pooled[b, i, j, c] = window[row, column]
        unpooled[b, 2 * i + row, 2 * j + column, c] = window[row, column]
    return pooled, unpooled


def with_ties() -> Floats:
    """Every window of four values from three, so with ties of every kind, and random ones."""
    values = np.stack(np.meshgrid(*[[-1.0, 0.0, 2.0]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    windows = values.reshape(9, 9, 2, 2).transpose(0, 2, 1, 3).reshape(1, 18, 18, 1)
    random = np.random.default_rng(1).normal(size=windows.shape)
    return np.concatenate([windows, random], axis=-1).astype(np.float32)


def test_width_64_is_the_papers_network_of_29_million_parameters() -> None:
    model = segnet.build(segnet.Params(width=64, levels=5, learning_rate=0.001), classes=1)
    assert model.count_params() == parameters_of_the_paper(1)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert round(trained / 1e6, 1) == 29.4


def test_pooling_and_unpooling_are_those_of_the_reference_with_ties_too() -> None:
    x = with_ties()
    pooled, unpooled = pooled_and_unpooled(x)
    maxima, *index = MaxPoolingWithIndices()(x)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(maxima), pooled)
    back = MaxUnpooling()([maxima, *index])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(back), unpooled)


def test_unpooling_puts_any_values_where_the_maxima_were() -> None:
    x = with_ties()
    _, *index = MaxPoolingWithIndices()(x)
    ones = np.ones((1, 9, 9, 2), np.float32)
    where = keras.ops.convert_to_numpy(MaxUnpooling()([ones, *index]))
    np.testing.assert_array_equal(where.reshape(1, 9, 2, 9, 2, 2).sum(axis=(2, 4)), ones)
    values = np.random.default_rng(2).normal(size=ones.shape).astype(np.float32)
    unpooled = keras.ops.convert_to_numpy(MaxUnpooling()([values, *index]))
    np.testing.assert_array_equal(unpooled, where * values.repeat(2, axis=1).repeat(2, axis=2))


def test_every_level_is_unpooled_by_its_own_pooling() -> None:
    model = segnet.build(segnet.Params(width=2, levels=5, learning_rate=0.001), classes=1)
    for level in range(1, 6):
        pooling = model.get_layer(f"down{level}_pool")
        _, *index = model.get_layer(f"up{level}_unpool").input
        assert all(tensor is given for tensor, given in zip(index, pooling.output[1:], strict=True))


@pytest.mark.parametrize("level", range(1, 6))
def test_the_decoder_mirrors_the_encoder(level: int) -> None:
    model = segnet.build(segnet.Params(width=4, levels=5, learning_rate=0.001), classes=1)
    assert model.get_layer(f"down{level}_pool").input.shape == (
        model.get_layer(f"up{level}_unpool").output.shape
    )


@pytest.mark.parametrize("levels", [1, 3])
def test_fewer_levels_leave_out_the_coarsest(levels: int) -> None:
    whole = segnet.build(segnet.Params(width=2, levels=5, learning_rate=0.001), classes=1)
    model = segnet.build(segnet.Params(width=2, levels=levels, learning_rate=0.001), classes=1)
    names = {layer.name for layer in model.layers}
    of_a_level = {layer.name: re.match(r"(?:up|down)(\d)", layer.name) for layer in whole.layers}
    assert names == {
        name for name, match in of_a_level.items() if match is None or int(match[1]) <= levels
    }
    for name in names - {"image"}:
        shapes = [weight.shape for weight in whole.get_layer(name).weights]
        assert [weight.shape for weight in model.get_layer(name).weights] == shapes
    assert model(np.zeros((1, 64, 32, 3), np.float32)).shape == (1, 64, 32, 1)
