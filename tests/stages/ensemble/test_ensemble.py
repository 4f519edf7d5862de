"""Stage `ensemble`: the mean of probabilities, on made predictions."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import PREDICTIONS, SPLITS
from monuseg.formats.predictions import (
    read_output,
    read_probabilities,
    write_output,
    write_probabilities,
)
from stages.ensemble import __main__ as ensemble

SetParams = Callable[[dict[str, object]], None]


def predict(model: str, values: np.ndarray, classes: list[str]) -> None:
    folder = PREDICTIONS / model
    folder.mkdir(parents=True)
    write_output(folder, classes, probabilities=True)
    write_probabilities(folder, "a", values)


@pytest.fixture
def maps(set_params: SetParams) -> list[np.ndarray]:
    """Probabilities of two models for one image of data/splits.csv."""
    set_params({"models": ["unet", "segnet"]})
    Path("data").mkdir()
    write_records(SPLITS, [SplitRecord("a", "liver", "test", 0.25, 0.25, "aperio-xml")])
    generator = np.random.default_rng(0)
    return [generator.random((5, 7, 1)).astype(np.float16) for _ in range(2)]


def test_each_pixel_is_the_mean_over_models(maps: list[np.ndarray]) -> None:
    for model, values in zip(["unet", "segnet"], maps, strict=True):
        predict(model, values, ["nucleus"])
    ensemble.main(argparse.Namespace())
    found = read_probabilities(PREDICTIONS / "ensemble", "a")
    expected = np.mean([values.astype(np.float64) for values in maps], axis=0)
    np.testing.assert_allclose(found, expected, atol=5e-4)
    assert read_output(PREDICTIONS / "ensemble") == read_output(PREDICTIONS / "unet")


def test_models_of_other_classes_are_not_averaged(maps: list[np.ndarray]) -> None:
    predict("unet", maps[0], ["nucleus"])
    predict("segnet", np.repeat(maps[1], 2, axis=2), ["nucleus", "boundary"])
    with pytest.raises(PipelineError, match=r"segnet has classes nucleus, boundary"):
        ensemble.main(argparse.Namespace())
    assert not (PREDICTIONS / "ensemble").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda values: values[:4],
            r"segnet/a\.npy: 7 x 4 pixels, but unet has 7 x 5; predict both",
        ),
        (
            lambda values: np.repeat(values, 2, axis=2),
            r"segnet/a\.npy: 2 channels.*are nucleus; del",
        ),
        (
            lambda values: values * np.nan,
            r"segnet/a\.npy: a value is NaN or not from 0 to 1; delete",
        ),
        (lambda values: values + 1, r"segnet/a\.npy: a value is NaN or not from 0 to 1; delete"),
        (lambda values: values - 1, r"segnet/a\.npy: a value is NaN or not from 0 to 1; delete"),
    ],
    ids=["size", "channels", "NaN", "above 1", "below 0"],
)
def test_what_cannot_be_averaged_is_named(
    maps: list[np.ndarray], damage: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    predict("unet", maps[0], ["nucleus"])
    predict("segnet", damage(maps[1]), ["nucleus"])
    with pytest.raises(PipelineError, match=said):
        ensemble.main(argparse.Namespace())
    assert not (PREDICTIONS / "ensemble").exists()


def test_a_damaged_array_is_named(maps: list[np.ndarray]) -> None:
    predict("unet", maps[0], ["nucleus"])
    predict("segnet", maps[1], ["nucleus"])
    file = PREDICTIONS / "segnet" / "a.npy"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(PipelineError, match=r"segnet/a\.npy is unreadable"):
        ensemble.main(argparse.Namespace())
