"""Weights and card on disk: alone enough to rebuild the model, and the same bytes each time."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.models.shared import store

CARD = store.Card(
    model="unet",
    params={"width": 2, "learning_rate": 0.001},
    classes=["nucleus"],
    scaling="symmetric",
    um_per_pixel=0.25,
    epoch=1,
    seed=1,
    versions={},
    precision="mixed_bfloat16",
)

SAVE = """
import sys
from pathlib import Path
import keras
keras.utils.set_random_seed(3)
from monuseg.models.shared import store
for _ in range(int(sys.argv[2])):  # what was built before must not show in the file
    keras.Sequential([keras.layers.Dense(1)])
params = {"width": 2, "learning_rate": 0.001}
card = store.Card("unet", params, ["nucleus"], "symmetric", 0.25, 1, 1, {})
weights = [w * 0 + i for i, w in enumerate(store.build(card).get_weights())]
store.save(Path(sys.argv[1]), card, weights)
"""


def test_a_saved_model_computes_the_same_after_loading(tmp_path: Path) -> None:
    model = store.build(CARD)
    store.save(tmp_path, CARD, model.get_weights())
    loaded, card = store.load(tmp_path, "unet")
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(image), loaded.predict_on_batch(image))
    assert card == CARD


def test_a_card_that_records_no_precision_is_read(tmp_path: Path) -> None:
    store.save(tmp_path, CARD, store.build(CARD).get_weights())
    card_file = tmp_path / "unet.json"
    text = card_file.read_text()
    assert text.count(',\n  "precision": "mixed_bfloat16"') == 1
    card_file.write_text(text.replace(',\n  "precision": "mixed_bfloat16"', ""))
    _, card = store.load(tmp_path, "unet")
    assert card.precision is None


def test_mixed_precision_stores_the_weights_of_single_precision(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = store.build(CARD)
        store.save(tmp_path, CARD, model.get_weights())
        loaded, _ = store.load(tmp_path, "unet")
    finally:
        keras.config.set_dtype_policy("float32")
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert loaded.predict_on_batch(image).dtype == np.float32
    np.testing.assert_array_equal(model.predict_on_batch(image), loaded.predict_on_batch(image))
    single, _ = store.load(tmp_path, "unet")
    for mixed, stored in zip(model.get_weights(), single.get_weights(), strict=True):
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(mixed, stored)


def test_only_weights_are_stored_not_the_optimizer(tmp_path: Path) -> None:
    model = store.build(CARD)
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 1)))
    store.save(tmp_path, CARD, model.get_weights())
    with h5py.File(tmp_path / "unet.weights.h5") as file:
        assert "optimizer" not in file


def test_weights_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    store.save(tmp_path, CARD, store.build(CARD).get_weights())
    card_file = tmp_path / "unet.json"
    card_file.write_text(card_file.read_text().replace('"width": 2', '"width": 3'))
    with pytest.raises(PipelineError, match=r"unet\.weights\.h5 does not fit"):
        store.load(tmp_path, "unet")


def test_a_missing_file_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"dvc repro train@unet"):
        store.load(tmp_path, "unet")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"width": 2', '"width": "a"'),
        ('"um_per_pixel": 0.25,', ""),
        ('"model"', '"kind": 1, "model"'),
        ("}\n", ""),
    ],
)
def test_a_damaged_card_is_named_with_the_remedy(tmp_path: Path, old: str, new: str) -> None:
    store.save(tmp_path, CARD, store.build(CARD).get_weights())
    card_file = tmp_path / "unet.json"
    text = card_file.read_text()
    assert old in text
    card_file.write_text(text.replace(old, new))
    message = (
        r"(?s)unet\.json: not as stage train writes it .*; delete both and run `dvc repro train@"
    )
    with pytest.raises(PipelineError, match=message):
        store.load(tmp_path, "unet")
