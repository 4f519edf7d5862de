"""Stage `baseline`."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from stages import baseline
from stages.dataset.images import write_rgb
from stages.dataset.manifest import SplitRecord, write_records
from stages.inference.otsu import nucleus_mask
from stages.inference.predictions import read_output, read_probabilities
from stages.paths import PREDICTIONS, RAW, SPLITS


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    Path("params.yaml").write_text("baseline: {sigma: 1.0, min_area: 20}\n")
    RAW.mkdir(parents=True)
    made = {}
    for number, name in enumerate(["a", "b"]):
        image = np.full((40, 50, 3), (230, 190, 210), np.uint8)
        image[5:20, 5 + 10 * number : 20 + 10 * number] = (90, 70, 150)
        write_rgb(RAW / f"{name}.tif", image)
        made[name] = image
    write_records(SPLITS, [SplitRecord(name, "lung", "test", 0.25, "aperio-xml") for name in made])
    return made


def test_writes_a_hard_mask_for_each_image(images: dict[str, np.ndarray]) -> None:
    stale = PREDICTIONS / "otsu" / "gone.npy"
    stale.parent.mkdir(parents=True)
    stale.touch()
    baseline.main(argparse.Namespace())
    folder = PREDICTIONS / "otsu"
    assert sorted(path.name for path in folder.iterdir()) == ["a.npy", "b.npy", "output.json"]
    output = read_output(folder)
    assert (output.classes, output.probabilities) == (("nucleus",), False)
    for name, image in images.items():
        predicted = read_probabilities(folder, name)
        assert predicted.shape == (40, 50, 1)
        expected = nucleus_mask(image, sigma=1.0, min_area=20)
        assert expected.any()
        np.testing.assert_array_equal(predicted[..., 0], expected)


def test_same_inputs_same_bytes(images: dict[str, np.ndarray]) -> None:
    def written() -> dict[str, bytes]:
        baseline.main(argparse.Namespace())
        return {path.name: path.read_bytes() for path in (PREDICTIONS / "otsu").iterdir()}

    assert written() == written()
