"""Shipping a run's networks with the package."""

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.models.shared import store
from monuseg.segment import models, options
from tests.repository import REPOSITORY
from tools import pretrain

PARAMS = {"width": 2, "learning_rate": 0.01}
SETTINGS = {
    "threshold": 0.48,
    "smoothing": 1.0,
    "min_distance": 3,
    "min_area": 30,
    "separation": "boundary",
    "marker_threshold": 0.5,
    "min_probability": 0.7,
}
IDS = {"train": ["A-1", "A-2"], "validation": ["B-1"], "test": ["C-1", "C-2", "D-1"]}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained and evaluated U-Net in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    for name in ("models", "predictions"):
        (tmp_path / "data" / name).mkdir(parents=True)
    card = store.Card("unet", PARAMS, ["nucleus", "boundary"], "symmetric", 0.25, 3, 1, {})
    generator = np.random.default_rng(1)
    weights = [
        abs(weight + generator.normal(0, 0.1, weight.shape)).astype(np.float32)
        for weight in store.build(card).get_weights()
    ]
    store.save(Path("data/models"), card, weights)
    chosen = {"chosen_on": {"threshold": "validation", "nuclei": "validation"}}
    Path("data/predictions/unet.json").write_text(json.dumps(SETTINGS | chosen))
    images = [(name, split) for split, names in IDS.items() for name in names]
    records = [SplitRecord(name, "liver", split, 0.25, 0.25, "label-map") for name, split in images]
    write_records(Path("data/splits.csv"), records)
    Path("metrics/per_image").mkdir(parents=True)
    rows = [
        {"id": name, "split": split, "organ": organ, "dice": dice, "aji": 0.6, "pq": 0.5}
        | {f"nucleus_{kind}": number for number, kind in enumerate(pretrain.NUCLEI, start=1)}
        for (name, split), organ, dice in zip(
            images, ["lung"] * 3 + ["brain", "liver", "brain"], [0.9] * 3 + [0.8, 0.7, 0.9],
            strict=True,
        )
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv("metrics/per_image/unet.csv", index=False)
    scores = {name: value for score in pretrain.SCORES for name, value in (
        (score, 0.8), (f"{score}_lo", 0.75), (f"{score}_hi", 0.85)
    )}  # fmt: skip
    Path("metrics/unet.json").write_text(json.dumps({"test": scores}))
    for module in (pretrain, models, options):
        monkeypatch.setattr(module, "PRETRAINED", tmp_path / "pretrained")
    (tmp_path / "pretrained").mkdir()
    return tmp_path


def test_what_is_shipped_is_found_and_computes_as_the_run_did(run: Path) -> None:
    pretrain.main(argparse.Namespace(models=["unet"]))
    assert models.pretrained() == ["unet"]
    found = models.find("unet")
    assert found.notice is not None
    assert vars(found.settings) == SETTINGS
    [(folder, name)] = found.members
    shipped, card = store.load(folder, name)
    own, _ = store.load(Path("data/models"), "unet")
    assert card.classes == ["nucleus", "boundary"]
    image = np.random.default_rng(2).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    logits, expected = shipped.predict_on_batch(image), own.predict_on_batch(image)
    assert 0 < np.abs(logits - expected).max() < 0.01 * np.ptp(expected)


def test_kernels_are_halved_and_vectors_are_not(run: Path) -> None:
    pretrain.main(argparse.Namespace(models=["unet"]))
    kinds: dict[int, set[object]] = {}

    def look(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            kinds.setdefault(node.ndim, set()).add(node.dtype)

    with h5py.File(run / "pretrained/unet.weights.h5") as file:
        file.visititems(look)
    assert kinds == {1: {np.dtype("float32")}, 4: {np.dtype("float16")}}


def test_a_weight_beyond_half_precision_is_refused_and_nothing_written(run: Path) -> None:
    model, card = store.load(Path("data/models"), "unet")
    weights = model.get_weights()
    weights[0][0, 0, 0, 0] = 1e6
    store.save(Path("data/models"), card, weights)
    with pytest.raises(PipelineError, match="beyond half precision"):
        pretrain.main(argparse.Namespace(models=["unet"]))
    assert list((run / "pretrained").iterdir()) == []


def test_weights_that_were_changed_are_refused(run: Path) -> None:
    pretrain.main(argparse.Namespace(models=["unet"]))
    path = run / "pretrained/unet.weights.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PipelineError, match=r"unet\.weights\.h5: not the weights"):
        models.find("unet")


def test_the_card_says_what_metrics_say(run: Path) -> None:
    pretrain.main(argparse.Namespace(models=["unet"]))
    page = (run / "pretrained/MODEL_CARD.md").read_text()
    assert "2 of its training images taught them, 1 chose" in page
    assert "3 official test images" in page
    assert "| unet | 0.800 (0.750 to 0.850) |" in page
    assert "| brain | 2 | 0.850 | 0.600 | 0.500 |" in page
    assert "is C-2 (liver), with Dice 0.700" in page
    assert "finds 3 nuclei of 9,\nmisses 6 and invents 9" in page
    assert "width 2" in page
