"""U-Net: the paper's size, any input size, named layers."""

import numpy as np
import pytest

from monuseg.models.shared.registry import architecture
from monuseg.models.unet import network as unet

WIDTHS = [64, 128, 256, 512, 1024]


def parameters_of_the_paper(classes: int) -> int:
    """Weights of the paper's network with batch normalisation in place of the biases."""
    total, channels = 0, 3
    for filters in WIDTHS:  # contracting path
        total += 9 * channels * filters + 9 * filters * filters + 2 * 4 * filters
        channels = filters
    for filters in reversed(WIDTHS[:-1]):  # up-convolution with bias, then two convolutions
        total += 4 * 2 * filters * filters + filters
        total += 9 * 2 * filters * filters + 9 * filters * filters + 2 * 4 * filters
    return total + WIDTHS[0] * classes + classes


def test_width_64_is_the_papers_network_of_31_million_parameters() -> None:
    model = unet.build(unet.Params(width=64, learning_rate=0.001), classes=1)
    assert model.count_params() == parameters_of_the_paper(1)
    assert round(model.count_params() / 1e6, 1) == 31.0


@pytest.mark.parametrize("size", [(16, 16), (48, 80)])
def test_output_has_the_inputs_size(size: tuple[int, int]) -> None:
    model = unet.build(unet.Params(width=2, learning_rate=0.001), classes=3)
    logits = model.predict_on_batch(np.zeros((2, *size, 3), np.float32))
    assert logits.shape == (2, *size, 3)
    assert logits.dtype == np.float32


def test_names_do_not_depend_on_what_was_built_before() -> None:
    params = unet.Params(width=2, learning_rate=0.001)
    first, second = unet.build(params, 1), unet.build(params, 1)
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert len(set(names)) == len(names)
    assert first.name == second.name == "unet"


def test_outputs_are_logits_not_probabilities() -> None:
    model = unet.build(unet.Params(width=2, learning_rate=0.001), classes=1)
    assert model.layers[-1].activation.__name__ == "linear"


def test_skips_join_levels_of_equal_size() -> None:
    model = unet.build(unet.Params(width=4, learning_rate=0.001), classes=1)
    for level in range(1, unet.LEVELS + 1):
        skip, below = model.get_layer(f"up{level}_skip").input
        assert skip.shape == below.shape


def test_registry_finds_the_module_and_its_divisor() -> None:
    found = architecture("unet")
    assert found.params is unet.Params
    assert found.divisor == 2**unet.LEVELS
