"""Stage `predict` and `monuseg segment`, with a model whose answer is known in place of Keras's."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.files import write_json
from monuseg.formats.images import PIXELS_MAX, read_labels, write_labels, write_rgb
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import MASKS, PREDICTIONS, RAW, SPLITS
from monuseg.formats.predictions import read_output, read_probabilities
from monuseg.inference import forward
from monuseg.inference.params import PredictParams
from monuseg.models.shared import backend, store
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.readers.slides import open_slide
from monuseg.segment.models import ModelChoice, Network
from monuseg.segment.slide import Choices, segment_slide
from stages.evaluate.images import Row, candidate_scores, score_image
from stages.predict import __main__ as predict

SETTINGS = NucleiSettings(threshold=0.5, smoothing=2.0, min_distance=7, min_area=160)
SIZES = {0.25: (64, 96), 0.27: (64, 96), 0.5: (32, 48), 0.125: (128, 192)}  # by um per pixel
RUNTIME = backend.Runtime("tensorflow", False, "float32", False, threads=2)
SEEN: list[tuple[int, ...]] = []


def darkness(pixels: np.ndarray) -> np.ndarray:
    SEEN.append(pixels.shape[1:3])
    return (1 - pixels[..., :1] / np.float32(255)).astype(np.float32)


def picture(um_per_pixel: float) -> np.ndarray:
    """A nucleus of 200 of the model's pixels, and one of 113, which is too small."""
    height, width = SIZES[um_per_pixel]
    rows, columns = (np.indices((height, width)) + 0.5) * 64 / height
    dark = (np.hypot(rows - 30, columns - 25) < 8) | (np.hypot(rows - 30, columns - 70) < 6)
    return np.repeat(np.where(dark, 20, 250).astype(np.uint8)[..., np.newaxis], 3, axis=2)


NAMED = ModelChoice("unet", [], SETTINGS, ["of no weights"])
NETWORK = Network(darkness, ["nucleus"], 32, 0.25, "none", PredictParams.load())


@pytest.fixture
def records(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[SplitRecord]:
    """A project with a model for 0.25 um per pixel and an image of each size."""
    card = store.Card("unet", {}, ["nucleus"], "unit", 0.25, 1, 0, {})
    monkeypatch.setattr(store, "load", lambda folder, name: (None, card))
    monkeypatch.setattr(forward, "forward_of", lambda network, scaling: darkness)
    monkeypatch.setattr(backend, "inference", lambda model, runtime: model)
    monkeypatch.setattr(backend, "configure", lambda params, *, seed: RUNTIME)
    RAW.mkdir(parents=True)
    made = []
    for um_per_pixel in SIZES:
        tiled = um_per_pixel if um_per_pixel == 0.27 else 0.25
        name = f"of-{um_per_pixel}"
        made.append(SplitRecord(name, "lung", "test", um_per_pixel, tiled, "aperio-xml"))
        write_rgb(RAW / f"{name}.tif", picture(um_per_pixel))
    write_records(SPLITS, made)
    SEEN.clear()
    return made


def test_every_image_is_predicted_at_the_models_resolution(records: list[SplitRecord]) -> None:
    predict.main(argparse.Namespace(model="unet"))
    assert set(SEEN) == {(64, 96)}
    folder = PREDICTIONS / "unet"
    assert read_output(folder).classes == ("nucleus",)
    for record in records:
        found = read_probabilities(folder, record.id)
        assert found.shape == (*SIZES[record.um_per_pixel], 1)
        expected = darkness(picture(record.um_per_pixel)) > 0.5
        assert np.mean((found > 0.5) == expected) > 0.97


def test_evaluate_and_segment_find_the_same_nuclei_at_every_resolution(
    records: list[SplitRecord], tmp_path: Path
) -> None:
    predict.main(argparse.Namespace(model="unet"))
    MASKS.mkdir(parents=True)
    row = Row(PREDICTIONS / "unet", ("nucleus",), MASKS)
    chosen = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    write_json(PREDICTIONS / "unet.json", {**chosen, "chosen_on": {}})
    for record in records:
        predictions = read_probabilities(row.predictions, record.id)
        scale = 2.0 if record.um_per_pixel == 0.5 else 0.5 if record.um_per_pixel < 0.2 else 1.0
        labels = nuclei_from_predictions(predictions, ["nucleus"], SETTINGS, scale)
        assert labels.max() == 1
        assert abs((labels > 0).sum() * scale**2 - 200) < 25
        write_labels(MASKS / f"{record.id}.png", labels)
        scores, _ = score_image(record, row, SETTINGS, tmp_path)
        np.testing.assert_array_equal(read_labels(tmp_path / f"{record.id}.png"), labels)
        assert scores.nuclei is not None
        assert candidate_scores(record, row, [SETTINGS]) == [(1.0, 1.0)]
        place = tmp_path / record.id
        with open_slide(RAW / f"{record.id}.tif") as slide:
            segment_slide(slide, record.um_per_pixel, NAMED, NETWORK, Choices(("labels",)), place)
        found = read_labels(tmp_path / f"{record.id}.nuclei.png")
        np.testing.assert_array_equal(found, labels)


def test_an_image_too_large_at_the_models_resolution_is_named(records: list[SplitRecord]) -> None:
    coarse = int(PIXELS_MAX**0.5 / 32) * 0.25
    write_records(SPLITS, [SplitRecord("of-0.5", "lung", "test", coarse, 0.25, "aperio-xml")])
    with pytest.raises(PipelineError, match=r"data/raw/of-0\.5\.tif: 48 x 32 pixels become .*cut"):
        predict.main(argparse.Namespace(model="unet"))
    assert not (PREDICTIONS / "unet").exists()
