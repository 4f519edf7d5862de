"""DeepLabV3+: the published sizes, atrous encoders, and Keras's own weights of ResNet-50."""

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from monuseg.core.errors import PipelineError
from monuseg.core.paths import PARAMS
from monuseg.models.deeplabv3plus import light, resnet50, xception
from monuseg.models.deeplabv3plus import network as deeplabv3plus
from monuseg.models.deeplabv3plus.head import BilinearUpsampling, Spread
from monuseg.models.deeplabv3plus.params import Params
from monuseg.models.shared.scaling import SCALINGS
from tools import check

SetParams = Callable[[dict[str, object]], None]

PAPER: dict[str, object] = {
    "encoder": "resnet50",
    "output_stride": 16,
    "rates": [6, 12, 18],
    "width": 1,
    "aspp_filters": 256,
    "low_level_filters": 48,
    "decoder_filters": 256,
    "weights": "none",
    "learning_rate": 0.001,
}
TINY: dict[str, object] = {
    "encoder": "light",
    "width": 2,
    "aspp_filters": 4,
    "low_level_filters": 2,
    "decoder_filters": 4,
}


def params(**changes: object) -> Params:
    return Params.model_validate(PAPER | changes)


# === Sizes ===


def test_on_resnet50_it_has_the_papers_40_million_parameters() -> None:
    encoder = keras.applications.ResNet50(include_top=False, weights=None).count_params()
    pyramid = 2 * (2048 * 256) + 3 * (9 * 2048 * 256) + 5 * 256 * 256 + 6 * 4 * 256
    decoder = 256 * 48 + 4 * 48 + 9 * 304 * 256 + 9 * 256 * 256 + 2 * 4 * 256 + 256 + 1
    count = deeplabv3plus.build(params(), 1).count_params()
    assert count == encoder + pyramid + decoder
    assert round(count / 1e6, 1) == 40.4


def test_on_xception_it_has_the_published_parameters() -> None:
    # Of the widely used Keras version of the authors' code, for the 21 classes of PASCAL VOC.
    model = deeplabv3plus.build(params(encoder="xception"), 21)
    assert model.count_params() == 41_258_213
    branch = model.get_layer("pyramid_atrous2_depthwise_convolution")
    assert isinstance(branch, keras.layers.DepthwiseConv2D)
    assert branch.dilation_rate == (12, 12)


def test_output_stride_changes_no_weight() -> None:
    strided, atrous = (
        [weight.shape for weight in deeplabv3plus.build(params(**TINY, output_stride=s), 1).weights]
        for s in (16, 8)
    )
    assert strided == atrous


# === Shapes ===


@pytest.mark.parametrize("encoder", ["light", "resnet50", "xception"])
@pytest.mark.parametrize("stride", [8, 16])
def test_features_are_at_stride_4_and_at_the_output_stride(encoder: str, stride: int) -> None:
    image = keras.Input((96, 160, 3))
    if encoder == "light":
        low, high = light.encode(image, stride, 6)
    else:
        low, high = {"resnet50": resnet50, "xception": xception}[encoder].encode(image, stride)
    channels = (6, 48) if encoder == "light" else (256, 2048)
    assert low.shape == (None, 24, 40, channels[0])
    assert high.shape == (None, 96 // stride, 160 // stride, channels[1])


@pytest.mark.parametrize("stride", [8, 16])
def test_the_pyramids_rates_follow_the_output_stride(stride: int) -> None:
    model = deeplabv3plus.build(params(**TINY, output_stride=stride, rates=[2, 4, 7]), 1)
    rates = [
        model.get_layer(f"pyramid_atrous{number}_convolution").dilation_rate for number in (1, 2, 3)
    ]
    assert rates == {16: [(2, 2), (4, 4), (7, 7)], 8: [(4, 4), (8, 8), (14, 14)]}[stride]


def test_the_images_mean_is_spread_over_the_map() -> None:
    pixel = np.arange(6, dtype=np.float32).reshape(2, 1, 1, 3)
    spread = keras.ops.convert_to_numpy(Spread()([pixel, np.ones((2, 4, 5, 7), np.float32)]))
    np.testing.assert_array_equal(spread, np.broadcast_to(pixel, (2, 4, 5, 3)))


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_is_bilinear_interpolation(factor: int) -> None:
    features = np.random.default_rng(8).normal(size=(2, 5, 3, 4)).astype(np.float32)
    expected = keras.ops.image.resize(features, (5 * factor, 3 * factor), "bilinear")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(BilinearUpsampling(factor)(features)),
        keras.ops.convert_to_numpy(expected),
        atol=1e-5,
    )


# === Weights of keras.applications ===


@pytest.fixture(scope="module")
def theirs() -> keras.Model:
    """Keras's ResNet-50 with random weights, biases and normalisation included."""
    keras.utils.set_random_seed(4)
    model = keras.applications.ResNet50(include_top=False, weights=None)
    random = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            # Gain, bias, mean, variance.
            parts = [random.uniform(0.5, 1, shape), *random.normal(0, 0.1, (2, *shape))]
            layer.set_weights([*parts, random.uniform(0.5, 1.5, shape)])
        elif layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, random.normal(0, 0.1, bias.shape)])
    return model


@pytest.mark.parametrize(
    ("file", "stride"),
    [
        ("resnet50.weights.h5", 16),  # as Keras 3 writes weights
        ("resnet50.h5", 8),  # as the files are that Keras hosts
    ],
)
def test_the_encoder_with_keras_weights_computes_what_kerass_does(
    theirs: keras.Model, tmp_path: Path, file: str, stride: int
) -> None:
    weights = tmp_path / file
    theirs.save_weights(weights) if file.endswith(".weights.h5") else theirs.save(weights)
    with_weights = params(weights=str(weights), output_stride=stride, aspp_filters=4)
    model = deeplabv3plus.build(with_weights, 1)
    deeplabv3plus.initialise(model, with_weights)
    names = [layer.name for layer in theirs.layers if layer.weights]
    assert len(names) == 106  # 53 convolutions, each normalised
    for name in names:
        for own, their in zip(
            model.get_layer(name).get_weights(), theirs.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(own, their)
    # Atrous convolutions see the same pixels as strided ones, and at more places.
    steps = {
        "conv2_block3_out": 1,
        "conv3_block4_out": 1,
        "conv4_block6_out": 16 // stride,
        "conv5_block3_out": 32 // stride,
    }
    image = np.random.default_rng(6).normal(size=(1, 96, 128, 3)).astype(np.float32)
    features, their_features = (_outputs(encoder, [*steps], image) for encoder in (model, theirs))
    for step, own, their in zip(steps.values(), features, their_features, strict=True):
        np.testing.assert_allclose(own[:, ::step, ::step], their, rtol=1e-3, atol=1e-4)


def _outputs(model: keras.Model, names: list[str], image: np.ndarray) -> list[np.ndarray]:
    features = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    outputs: list[np.ndarray] = features.predict_on_batch(image)
    return outputs


def test_without_weights_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = deeplabv3plus.build(params(**TINY), 1)
    before = model.get_weights()
    monkeypatch.delattr(keras.applications, "ResNet50")
    deeplabv3plus.initialise(model, params(**TINY))
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_building_reads_no_weights_so_prediction_needs_none() -> None:
    deeplabv3plus.build(params(weights="/no/such/file.h5", aspp_filters=2), 1)


def test_weights_that_are_no_file_are_named(tmp_path: Path) -> None:
    missing = params(weights=str(tmp_path / "missing.h5"))
    with pytest.raises(PipelineError, match=r"weights: .*missing\.h5 is not a file") as raised:
        deeplabv3plus.initialise(None, missing)
    assert "\n" not in str(raised.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(file)
    with pytest.raises(PipelineError, match=r"other\.weights\.h5 cannot be loaded") as raised:
        deeplabv3plus.initialise(None, params(weights=str(file)))
    assert "\n" not in str(raised.value)


def test_a_failed_download_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_file(*arguments: object, **options: object) -> str:
        raise Exception("URL fetch failure on https://storage.example.org: None -- unreachable")

    monkeypatch.setattr(sys.modules["keras.src.utils.file_utils"], "get_file", get_file)
    with pytest.raises(PipelineError, match=r"imagenet cannot be loaded .*unreachable.*path"):
        deeplabv3plus.initialise(None, params(weights="imagenet"))


# === Params ===


@pytest.mark.parametrize("encoder", ["light", "xception"])
def test_there_are_weights_for_resnet50_only(encoder: str) -> None:
    with pytest.raises(ValidationError, match="are for encoder resnet50"):
        params(encoder=encoder, weights="imagenet")


@pytest.mark.parametrize(
    "rates", [[6, 12], [6, 12, 18, 24], [6, 12, 12], [12, 6, 18], [0, 6, 12], [1, 2, 3.0], 6]
)
def test_rates_are_three_whole_numbers_that_increase(rates: object) -> None:
    with pytest.raises(ValidationError, match="rates"):
        params(rates=rates)


@pytest.mark.parametrize(("rates", "least"), [([2, 4, 6], 112), ([6, 12, 18], 304)])
@pytest.mark.parametrize("stride", [8, 16])
def test_a_crop_that_the_rates_do_not_fit_is_refused(
    rates: list[int], least: int, stride: int
) -> None:
    chosen = params(rates=rates, output_stride=stride)
    chosen.require_crop(least)
    with pytest.raises(PipelineError) as raised:
        chosen.require_crop(least - 16)
    assert str(raised.value) == (
        f"params.yaml: deeplabv3plus.rates: {rates} do not fit train.crop: {least - 16}, whose "
        f"features are {rates[-1]} pixels wide: outer taps would never be trained; set the crop "
        f"to {least} or more, or lower the rates"
    )


def test_so_it_is_when_all_of_params_yaml_is_checked(set_params: SetParams) -> None:
    set_params({"train.crop": 32})
    with pytest.raises(
        PipelineError, match=r"rates: \[1, 2, 3\] do not fit train\.crop: 32, .* 64 "
    ):
        check.check_params(PARAMS)
    set_params({"models": ["unet", "segnet"]})  # nobody trains DeepLabV3+
    check.check_params(PARAMS)


def test_input_scaling_follows_the_weights() -> None:
    assert params().scaling == "symmetric"
    assert params(weights="imagenet").scaling == "caffe"


def test_caffe_scaling_is_that_of_keras_applications() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (2, 5, 6, 3), np.uint8)
    expected = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    scaled = SCALINGS["caffe"](pixels)
    np.testing.assert_allclose(scaled, expected, atol=1e-4)
    assert scaled.dtype == np.float32
