"""Stage `baseline`."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.paths import METRICS
from monuseg.formats.files import read_json
from monuseg.formats.images import write_rgb
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import DETAIL, PREDICTIONS, RAW, SPLITS
from monuseg.formats.predictions import read_output, read_probabilities
from stages.baseline import __main__ as baseline
from stages.baseline.otsu import nucleus_mask
from stages.evaluate import __main__ as evaluate
from stages.extract.raw import write_raw
from stages.masks import __main__ as masks

TEST_ARCHIVE = "MoNuSegTestData.zip"


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
    write_records(
        SPLITS, [SplitRecord(name, "lung", "test", 0.25, 0.25, "aperio-xml") for name in made]
    )
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


def test_lengths_are_those_of_the_tiles(images: dict[str, np.ndarray]) -> None:
    # Of half the resolution: sigma of half a pixel, a quarter of the least area.
    write_records(SPLITS, [SplitRecord("a", "lung", "test", 0.5, 0.25, "aperio-xml")])
    image = images["a"].copy()
    image[30:33, 30:32] = (90, 70, 150)
    write_rgb(RAW / "a.tif", image)
    baseline.main(argparse.Namespace())
    found = read_probabilities(PREDICTIONS / "otsu", "a")[..., 0]
    np.testing.assert_array_equal(found, nucleus_mask(image, sigma=0.5, min_area=5))
    assert found[31, 30]
    assert not nucleus_mask(image, sigma=0.5, min_area=20)[31, 30]


def test_same_inputs_same_bytes(images: dict[str, np.ndarray]) -> None:
    def written() -> dict[str, bytes]:
        baseline.main(argparse.Namespace())
        return {path.name: path.read_bytes() for path in (PREDICTIONS / "otsu").iterdir()}

    assert written() == written()


@pytest.mark.real
def test_real_test_images_score_as_measured_elsewhere(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)
    records = write_raw([archives / TEST_ARCHIVE], RAW, max_bytes=10**9)
    write_records(RAW / "manifest.csv", records)
    Path("params.yaml").write_text(
        "masks: {layers: [], rasterisation: official}\n"
        "baseline: {sigma: 2.0, min_area: 30}\n"
        "evaluate:\n"
        "  {splits: [test], threshold: auto, settings: {},\n"
        "   nuclei: {separation: [shape], smoothing: [2.0], min_distance: [7],\n"
        "            marker_threshold: [0.5], min_area: [30], min_probability: [0.0]}}\n"
    )
    masks.main(argparse.Namespace())
    images = [
        SplitRecord(one.id, one.organ, "test", one.um_per_pixel, one.um_per_pixel, one.annotation)
        for one in records
    ]
    write_records(SPLITS, images)
    baseline.main(argparse.Namespace())
    evaluate.main(argparse.Namespace(row="otsu"))
    found = read_json(METRICS / "otsu.json")["test"]
    # Another implementation of the same recipe gave .767, .891, .529 and .490.
    assert found["dice"] == pytest.approx(0.767, abs=0.002)
    assert found["accuracy"] == pytest.approx(0.891, abs=0.002)
    assert found["aji"] == pytest.approx(0.529, abs=0.005)
    assert found["pq"] == pytest.approx(0.490, abs=0.005)
    counts = read_json(DETAIL / "otsu.json")["test"]["nuclei"]
    assert counts["true_positives"] + counts["false_negatives"] == 6697
