"""What every model keeps to: sizes in and out, names, one step of training, a file's bytes."""

import functools
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from monuseg.models.shared import store
from monuseg.models.shared.registry import architecture

DEEPLAB: dict[str, object] = {
    "output_stride": 16,
    "width": 2,
    "rates": [1, 2, 3],
    "aspp_filters": 4,
    "low_level_filters": 2,
    "decoder_filters": 4,
    "weights": "none",
}
TINY: dict[str, tuple[str, dict[str, object]]] = {
    "unet": ("unet", {"width": 2}),
    "segnet": ("segnet", {"width": 2, "levels": 5}),
    "light": ("deeplabv3plus", {"encoder": "light", **DEEPLAB}),
    "light at stride 8": ("deeplabv3plus", {"encoder": "light", **DEEPLAB, "output_stride": 8}),
    "resnet50": ("deeplabv3plus", {"encoder": "resnet50", **DEEPLAB}),
    "xception": ("deeplabv3plus", {"encoder": "xception", **DEEPLAB}),
    "lite0": ("deeplabv3plus", {"encoder": "efficientnet_lite0", **DEEPLAB}),
}
QUICK = ["unet", "segnet", "light"]

SAVE = """
import sys
from pathlib import Path
import keras
from monuseg.formats.files import read_json
from monuseg.models.shared import store
folder = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):  # what was built before must not show in the file
    keras.Sequential([keras.layers.Conv2D(1, 1), keras.layers.ReLU()])
for file in sorted(Path(sys.argv[3]).glob("*.json")):
    card = store.Card(**read_json(file))
    weights = [w * 0 + i for i, w in enumerate(store.build(card).get_weights())]
    store.save(folder, card, weights)
"""


def card_of(name: str) -> store.Card:
    model, params = TINY[name]
    return store.Card(
        model=model,
        params={"learning_rate": 0.001} | params,
        classes=["nucleus"],
        scaling="symmetric",
        um_per_pixel=0.25,
        epoch=1,
        seed=1,
        versions={},
    )


def built(name: str, classes: int = 1) -> Any:
    model, params = TINY[name]
    found = architecture(model)
    return found.build(found.params.model_validate({"learning_rate": 0.001} | params), classes)


# For tests that leave it as it is: building the larger networks takes seconds.
untouched = functools.cache(built)


@pytest.mark.parametrize("name", TINY)
def test_output_has_the_inputs_size_and_is_float32(name: str) -> None:
    divisor = architecture(TINY[name][0]).divisor
    for size in ((divisor, divisor), (3 * divisor, 5 * divisor)):
        # Called directly, since `predict` would compile it for each size.
        logits = untouched(name, 3)(np.zeros((2, *size, 3), np.float32)).numpy()
        assert logits.shape == (2, *size, 3)
        assert logits.dtype == np.float32


@pytest.mark.parametrize("name", TINY)
def test_names_do_not_depend_on_what_was_built_before(name: str) -> None:
    first, second = untouched(name, 3), built(name, 3)
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert len(set(names)) == len(names)
    assert first.name == second.name == TINY[name][0]


@pytest.mark.parametrize("name", TINY)
def test_a_layer_of_weights_that_is_normalised_has_the_common_momentum(name: str) -> None:
    momenta = {
        layer.momentum
        for layer in untouched(name, 3).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert momenta == {0.9}


@pytest.mark.parametrize("name", TINY)
def test_coarse_features_are_at_their_strides(name: str) -> None:
    found = architecture(TINY[name][0])
    params = found.params.model_validate({"learning_rate": 0.001} | TINY[name][1])
    coarse = found.coarse_features(params)
    assert coarse
    model = untouched(name, 3)
    features = {layer: model.get_layer(layer).output for layer in coarse}
    maps = keras.Model(model.input, features)(np.zeros((1, 96, 160, 3), np.float32))
    for layer, stride in coarse.items():
        assert maps[layer].shape[1:3] == (96 // stride, 160 // stride)


def test_a_network_need_not_name_coarse_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("monuseg.models.unet.network.coarse_features")
    unet = architecture("unet")
    params = unet.params.model_validate({"learning_rate": 0.001, "width": 2})
    assert unet.coarse_features(params) == {}


@pytest.mark.parametrize(
    "name", ["unet", *(pytest.param(name, marks=pytest.mark.long) for name in QUICK[1:])]
)
def test_a_few_steps_lower_the_objective(name: str) -> None:
    keras.utils.set_random_seed(1)
    model = built(name)
    objective = keras.losses.BinaryCrossentropy(from_logits=True)
    # A few steps are done before a graph of them is compiled.
    model.compile(keras.optimizers.AdamW(0.01), objective, run_eagerly=True)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    targets = np.zeros((2, 64, 64, 1), np.float32)
    targets[:, 16:48, 16:48] = 1
    images[:, 16:48, 16:48] -= 1
    first = float(model.train_on_batch(images, targets))
    for _ in range(15):
        model.reset_metrics()
        last = float(model.train_on_batch(images, targets))
    assert last < 0.8 * first


@pytest.mark.parametrize("name", QUICK)
def test_every_weight_takes_part(name: str) -> None:
    """After a step each trainable weight has moved: nothing built is left out of the graph."""
    keras.utils.set_random_seed(2)
    model = built(name)
    objective = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), objective, run_eagerly=True)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    random = np.random.default_rng(3)
    images = random.uniform(-1, 1, (4, 64, 64, 3)).astype(np.float32)
    model.train_on_batch(images, (random.random((4, 64, 64, 1)) > 0.7).astype(np.float32))
    still = [
        weight.path
        for weight, was in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), was)
    ]
    assert still == []


@pytest.mark.parametrize("name", QUICK)
def test_a_saved_model_computes_the_same_after_loading(name: str, tmp_path: Path) -> None:
    card = card_of(name)
    model = store.build(card)
    store.save(tmp_path, card, model.get_weights())
    loaded, _ = store.load(tmp_path, card.model)
    image = np.random.default_rng(0).random((1, 64, 32, 3), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(image), loaded.predict_on_batch(image))


def test_processes_that_built_other_things_before_write_the_same_bytes(tmp_path: Path) -> None:
    cards = tmp_path / "cards"
    for name in QUICK:
        store.save(cards, card_of(name), store.build(card_of(name)).get_weights())
    digests = []
    for built_before in (0, 3):
        folder = tmp_path / str(built_before)
        subprocess.run(
            [sys.executable, "-c", SAVE, str(folder), str(built_before), str(cards)],
            check=True,
            capture_output=True,
        )
        files = sorted(folder.glob("*.weights.h5"))
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert len(digests[0]) == len(QUICK)
    assert digests[0] == digests[1]
