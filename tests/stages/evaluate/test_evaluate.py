"""Stage `evaluate`, on small drawn nuclei and predictions made from them."""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from scipy import ndimage

from monuseg.core.errors import PipelineError
from monuseg.core.paths import METRICS
from monuseg.formats.images import read_labels, write_labels
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import DETAIL, MASKS, NUCLEI, PER_IMAGE, PREDICTIONS, SPLITS
from monuseg.formats.predictions import read_probabilities, write_output, write_probabilities
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.scoring.instances import score_nuclei
from stages.evaluate import __main__ as evaluate
from stages.train.targets import FULL, maps_of

ROOT = Path(__file__).parents[3]
SIZE = 96
LEARNED = ["nucleus", "boundary"]

RECORDS = [
    SplitRecord("t1", "lung", "train", 0.25, 0.25, "aperio-xml"),
    SplitRecord("t2", "liver", "train", 0.25, 0.25, "aperio-xml"),
    SplitRecord("v1", "lung", "validation", 0.25, 0.25, "aperio-xml"),
    SplitRecord("v2", "liver", "validation", 0.25, 0.25, "aperio-xml"),
    SplitRecord("x1", "lung", "test", 0.25, 0.25, "aperio-xml"),
    SplitRecord("x2", "liver", "test", 0.25, 0.25, "aperio-xml"),
    SplitRecord("x3", "liver", "test", 0.25, 0.25, "aperio-xml"),
]

PARAMS: dict[str, Any] = {
    "splits": ["train", "validation", "test"],
    "threshold": "auto",
    "nuclei": {
        "separation": ["shape"],
        "smoothing": [0.0, 2.0],
        "min_distance": [3, 6],
        "marker_threshold": [0.5],
        "min_area": [10],
        "min_probability": [0.0, 0.25],
    },
    "settings": {},
}


def draw_truth(seed: int) -> npt.NDArray[np.uint16]:
    """Some twenty discs, in part touching; labels with gaps."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((SIZE, SIZE))
    labels = np.zeros((SIZE, SIZE), np.uint16)
    for number, (y, x) in enumerate(rng.integers(0, SIZE, (20, 2)), start=1):
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= rng.integers(25, 81)
        labels[disc & (labels == 0)] = 3 * number
    return labels


def predict(truth: npt.NDArray[np.uint16], seed: int) -> npt.NDArray[np.float64]:
    """A blurred and noisy P(nucleus) that is best cut well below 0.5, and a second class."""
    blurred = ndimage.gaussian_filter((truth > 0).astype(float), 1.0)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=truth.shape), 2.0)
    nucleus = np.clip(0.6 * blurred + 0.3 * noise, 0, 1)
    return np.stack([nucleus, np.zeros_like(nucleus)], axis=-1)


def write_params(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"evaluate": {**PARAMS, **changes}}))


def run(row: str = "unet") -> None:
    evaluate.main(argparse.Namespace(row=row))


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


def metrics(row: str = "unet") -> Any:
    return read(METRICS / f"{row}.json")


def detail(row: str = "unet") -> Any:
    return read(DETAIL / f"{row}.json")


def chosen(row: str = "unet") -> Any:
    return read(PREDICTIONS / f"{row}.json")


def table(row: str = "unet") -> list[dict[str, str]]:
    with (PER_IMAGE / f"{row}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    write_params()
    write_records(SPLITS, RECORDS)
    for folder in (MASKS, PREDICTIONS / "unet", PREDICTIONS / "otsu"):
        folder.mkdir(parents=True)
    write_output(PREDICTIONS / "unet", LEARNED, probabilities=True)
    write_output(PREDICTIONS / "otsu", ["nucleus"], probabilities=False)
    for seed, record in enumerate(RECORDS):
        truth = draw_truth(seed)
        predicted = predict(truth, seed)
        write_labels(MASKS / f"{record.id}.png", truth)
        write_probabilities(PREDICTIONS / "unet", record.id, predicted)
        write_probabilities(PREDICTIONS / "otsu", record.id, (predicted[..., :1] > 0.3) * 1.0)
    return tmp_path


def test_metrics_are_the_definitions_on_whole_images(project: Path) -> None:
    run()
    settings = {name: chosen()[name] for name in NucleiSettings.__dataclass_fields__}
    for split in ("train", "validation", "test"):
        found = metrics()[split]
        ids = [record.id for record in RECORDS if record.split == split]
        truths = np.array([read_labels(MASKS / f"{name}.png") for name in ids])
        p = np.array([read_probabilities(PREDICTIONS / "unet", name)[..., 0] for name in ids])
        t = truths > 0
        clipped = np.clip(p.astype(float), 2.0**-12, 1 - 2.0**-12)
        mask = p.astype(float) >= settings["threshold"]
        both, either = (mask & t).sum((1, 2)), (mask | t).sum((1, 2))
        chosen_settings = NucleiSettings(**settings)
        nuclei = [
            nuclei_from_predictions(
                read_probabilities(PREDICTIONS / "unet", name), LEARNED, chosen_settings
            )
            for name in ids
        ]
        scores = [score_nuclei(*pair) for pair in zip(truths, nuclei, strict=True)]
        expected = {
            "loss": np.mean(np.where(t, -np.log(clipped), -np.log(1 - clipped))),
            "accuracy": np.mean(mask == t),
            "f1": 2 * both.sum() / (both.sum() + either.sum()),
            "dice": np.mean(2 * both / (both + either)),
            "iou": np.mean(both / either),
            "aji": np.mean([score.aji for score in scores if score.aji is not None]),
            "pq": np.mean([score.pq for score in scores if score.pq is not None]),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert list(found)[:7] == list(expected)
        further = detail()[split]
        assert further["aji_plus"] == pytest.approx(np.mean([s.aji_plus for s in scores]), abs=1e-6)
        p = p.astype(float)
        assert further["pixel_dice"] == pytest.approx(
            np.mean((2 * t * p + 1) / (t + p + 1)), abs=1e-6
        )
        assert further["precision"] == pytest.approx(both.sum() / mask.sum(), abs=1e-6)
        assert further["recall"] == pytest.approx(both.sum() / t.sum(), abs=1e-6)


def test_only_test_has_intervals_and_they_hold_the_mean(project: Path) -> None:
    run()
    ends = {f"{name}_{end}" for name in ("dice", "aji", "pq") for end in ("lo", "hi")}
    assert set(metrics()["test"]) - set(metrics()["train"]) == ends
    assert set(metrics()["train"]) == set(metrics()["validation"])
    for name in ("dice", "aji", "pq"):
        test = metrics()["test"]
        assert test[f"{name}_lo"] < test[name] < test[f"{name}_hi"]


def test_choices_are_the_best_on_validation(project: Path) -> None:
    run()
    candidates = detail()["candidates"]
    assert [one["threshold"] for one in candidates["thresholds"]][:2] == [0.2, 0.22]
    best = max(candidates["thresholds"], key=lambda one: one["dice"])
    assert chosen()["threshold"] == best["threshold"] < 0.45
    assert best["dice"] == metrics()["validation"]["dice"]
    assert len(candidates["nuclei"]) == 8
    best = max(candidates["nuclei"], key=lambda one: one["aji"] + one["pq"])
    scores = {name: best[name] for name in ("aji", "pq")}
    assert {**best, "chosen_on": chosen()["chosen_on"]} == {**chosen(), **scores}
    validation = metrics()["validation"]
    assert scores == {name: validation[name] for name in ("aji", "pq")}
    assert chosen()["chosen_on"] == {"threshold": "validation", "nuclei": "validation"}
    assert detail()["settings"] == chosen()


def test_test_and_train_images_change_no_choice(project: Path) -> None:
    run()
    before, candidates = chosen(), detail()["candidates"]
    scores = metrics()
    rng = np.random.default_rng(99)
    for record in RECORDS:
        if record.split != "validation":
            write_probabilities(PREDICTIONS / "unet", record.id, rng.random((SIZE, SIZE, 2)))
            write_labels(MASKS / f"{record.id}.png", draw_truth(int(rng.integers(1000))))
    run()
    assert chosen() == before
    assert detail()["candidates"] == candidates
    assert metrics()["validation"] == scores["validation"]
    assert metrics()["test"]["dice"] < scores["test"]["dice"]
    # And validation images do change it.
    for name in ("v1", "v2"):
        truth = read_labels(MASKS / f"{name}.png")
        sharp = np.where(truth > 0, 0.9, 0.7)
        write_probabilities(PREDICTIONS / "unet", name, np.stack([sharp] * 2, axis=-1))
    run()
    assert chosen()["threshold"] > 0.7


def test_images_of_other_splits_are_not_read(project: Path) -> None:
    for record in RECORDS:
        if record.split != "validation":
            (PREDICTIONS / "unet" / f"{record.id}.npy").unlink()
            (MASKS / f"{record.id}.png").unlink()
    write_params(splits=["validation"])
    run()
    assert list(metrics()) == ["validation"]
    assert sorted(path.name for path in (NUCLEI / "unet").iterdir()) == ["v1.png", "v2.png"]


def test_choices_are_made_on_validation_when_only_test_is_scored(project: Path) -> None:
    run()
    before = chosen()
    write_params(splits=["test"])
    run()
    assert chosen() == before
    assert list(metrics()) == ["test"]
    assert [row["id"] for row in table()] == ["x1", "x2", "x3"]


def test_a_hard_mask_has_no_loss_and_no_threshold_to_choose(project: Path) -> None:
    run("otsu")
    assert list(metrics("otsu")["train"]) == ["accuracy", "f1", "dice", "iou", "aji", "pq"]
    further = detail("otsu")
    assert "pixel_dice" not in further["test"]
    assert "calibration" not in further["test"]
    assert further["candidates"]["thresholds"] == []
    assert chosen("otsu")["threshold"] == 0.5
    assert chosen("otsu")["chosen_on"] == {"threshold": "given", "nuclei": "validation"}
    assert {row["loss"] for row in table("otsu")} == {""}


def with_boundaries() -> None:
    """Predictions whose second class is the true boundary."""
    for seed, record in enumerate(RECORDS):
        truth = draw_truth(seed)
        predicted = predict(truth, seed)
        predicted[..., 1] = maps_of(truth, LEARNED, 2)[..., 0] / FULL
        write_probabilities(PREDICTIONS / "unet", record.id, predicted)


def test_a_boundary_that_was_learned_well_is_chosen_to_tell_nuclei_apart(project: Path) -> None:
    with_boundaries()
    run()
    by_shape = metrics()["test"]["aji"]
    write_params(nuclei={**PARAMS["nuclei"], "separation": ["shape", "boundary", "distance"]})
    run()
    assert chosen()["separation"] == "boundary"
    assert metrics()["test"]["aji"] > by_shape
    found = {one["separation"] for one in detail()["candidates"]["nuclei"]}
    assert found == {"shape", "boundary"}  # there is no distance among the classes


def test_a_separation_that_no_output_allows_is_told(project: Path) -> None:
    write_params(nuclei={**PARAMS["nuclei"], "separation": ["distance"]})
    with pytest.raises(PipelineError, match=r"evaluate\.nuclei\.separation: distance need.*shape"):
        run()


def test_what_is_given_is_not_chosen(project: Path) -> None:
    given = {"smoothing": [1.5], "min_distance": [4], "min_area": [12], "min_probability": [0.2]}
    write_params(threshold=0.37, nuclei={**PARAMS["nuclei"], **given})
    run()
    assert chosen() == {
        "threshold": 0.37,
        "smoothing": 1.5,
        "min_distance": 4,
        "min_area": 12,
        "separation": "shape",
        "marker_threshold": 0.5,
        "min_probability": 0.2,
        "chosen_on": {"threshold": "given", "nuclei": "given"},
    }
    assert detail()["candidates"] == {
        "images": {"thresholds": [], "nuclei": []},
        "thresholds": [],
        "nuclei": [],
    }


def test_settings_of_a_row_are_its_own_alone(project: Path) -> None:
    run()
    kept = chosen()
    settings = {name: value for name, value in kept.items() if name != "chosen_on"}
    nuclei = {**PARAMS["nuclei"], "smoothing": [1.5], "min_distance": [4]}
    write_params(threshold=0.21, nuclei=nuclei, settings={"unet": settings})
    run()
    assert chosen() == {**settings, "chosen_on": {"threshold": "given", "nuclei": "given"}}
    run("otsu")
    assert chosen("otsu")["smoothing"] == 1.5


def test_without_validation_images_training_images_decide(project: Path) -> None:
    kept = [record for record in RECORDS if record.split != "validation"]
    write_records(SPLITS, kept)
    run()
    assert chosen()["chosen_on"] == {"threshold": "train", "nuclei": "train"}
    assert list(metrics()) == ["train", "test"]


def empty(image: str, wrong: float) -> None:
    """No nucleus on an image, and one predicted there of a given probability."""
    write_labels(MASKS / f"{image}.png", np.zeros((SIZE, SIZE), np.uint16))
    predicted = np.zeros((SIZE, SIZE, 2))
    predicted[40:48, 40:48, 0] = wrong
    write_probabilities(PREDICTIONS / "unet", image, predicted)


def test_an_image_without_nuclei_changes_no_choice_and_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(SPLITS, [record for record in RECORDS if record.id != "v2"])
    run()
    before, candidates = chosen(), detail()["candidates"]
    assert candidates["images"] == {"thresholds": ["v1"], "nuclei": ["v1"]}
    capsys.readouterr()
    write_records(SPLITS, RECORDS)
    empty("v2", before["threshold"] + 0.01)
    run()
    assert chosen() == before
    after = detail()["candidates"]
    assert after["thresholds"] == candidates["thresholds"]
    # All settings of nuclei find the wrong one: 0 in each of their means.
    assert after["images"] == {"thresholds": ["v1"], "nuclei": ["v1", "v2"]}
    told = capsys.readouterr().err
    assert "threshold of unet: chosen without v2: no nucleus there" in told


def test_nuclei_are_chosen_without_images_that_some_candidates_leave_undefined(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 64 pixels: with the larger of the areas nothing is left.
    empty("v2", 0.9)
    areas = {**PARAMS["nuclei"], "min_area": [10, 100]}
    write_params(threshold=0.4, nuclei=areas)
    run()
    assert detail()["candidates"]["images"] == {"thresholds": [], "nuclei": ["v1"]}
    assert "nuclei of unet: chosen without v2: no nucleus there" in capsys.readouterr().err
    kept = detail()["candidates"]["nuclei"]
    write_records(SPLITS, [record for record in RECORDS if record.id != "v2"])
    run()
    assert detail()["candidates"]["nuclei"] == kept


def test_where_no_image_to_choose_on_has_nuclei_a_threshold_is_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in ("v1", "v2"):
        empty(image, 0.5)
    with pytest.raises(PipelineError, match=r"evaluate\.threshold.* has nuclei; give a number"):
        run()
    assert not METRICS.exists()
    write_params(threshold=0.6)
    run()
    assert chosen()["smoothing"] == PARAMS["nuclei"]["smoothing"][0]
    assert chosen()["chosen_on"] == {"threshold": "given", "nuclei": "none"}
    assert "no image to choose on has nuclei that are told apart" in capsys.readouterr().err


def test_without_any_image_to_choose_on_a_number_is_asked_for(project: Path) -> None:
    write_records(SPLITS, [record for record in RECORDS if record.split == "test"])
    with pytest.raises(PipelineError, match=r"evaluate\.threshold.*give a number"):
        run()
    write_params(threshold=0.3)
    run()
    assert chosen()["smoothing"] == PARAMS["nuclei"]["smoothing"][0]
    assert chosen()["chosen_on"] == {"threshold": "given", "nuclei": "none"}


def test_ready_masks_have_no_scores_of_nuclei(project: Path) -> None:
    write_records(SPLITS, [replace(record, annotation="binary-mask") for record in RECORDS])
    run()
    for split in ("train", "validation", "test"):
        assert not {"aji", "pq", "aji_lo", "pq_lo"} & set(metrics()[split])
        assert metrics()[split]["dice"] > 0
        assert detail()[split]["support"]["aji"] == 0
        assert detail()[split]["nuclei"] == {"images": 0}
        assert "dq" not in detail()[split]
    assert "dice_lo" in metrics()["test"]
    assert chosen()["chosen_on"] == {"threshold": "validation", "nuclei": "none"}
    assert {row["nucleus_true_positives"] for row in table()} == {""}


def test_an_undefined_score_is_left_out_with_its_support(project: Path) -> None:
    nothing = np.zeros((SIZE, SIZE))
    write_labels(MASKS / "x1.png", nothing.astype(np.uint16))
    write_probabilities(PREDICTIONS / "unet", "x1", np.stack([nothing] * 2, axis=-1))
    run()
    test = detail()["test"]
    assert test["images"] == 3
    assert test["support"] == dict.fromkeys(test["support"], 2)
    assert test["organs"]["lung"]["images"] == 1
    assert "dice" not in test["organs"]["lung"]
    assert test["organs"]["lung"]["accuracy"] == 1
    assert next(row for row in table() if row["id"] == "x1")["dice"] == ""
    defined = [float(row["dice"]) for row in table() if row["id"] in {"x2", "x3"}]
    assert metrics()["test"]["dice"] == pytest.approx(np.mean(defined), abs=1e-6)


def test_detail_adds_up(project: Path) -> None:
    run()
    for split in ("train", "validation", "test"):
        block = detail()[split]
        rows = [row for row in table() if row["split"] == split]
        assert block["images"] == len(rows)
        assert sum(block["pixels"].values()) == len(rows) * SIZE**2
        for name, count in block["pixels"].items():
            assert count == sum(int(row[f"pixel_{name}"]) for row in rows)
        for name in ("true_positives", "false_positives", "false_negatives"):
            assert block["nuclei"][name] == sum(int(row[f"nucleus_{name}"]) for row in rows)
        assert sum(organ["images"] for organ in block["organs"].values()) == len(rows)
        assert list(block["organs"]) == sorted(block["organs"])
        bins = block["calibration"]["bins"]
        assert sum(one["pixels"] for one in bins) == len(rows) * SIZE**2
        error = sum(
            one["pixels"] * abs(one["mean_probability"] - one["nucleus_fraction"]) for one in bins
        )
        assert block["calibration"]["expected_calibration_error"] == pytest.approx(
            error / (len(rows) * SIZE**2), abs=2e-6
        )
    assert set(detail()["versions"]) == {"numpy", "scipy", "scikit-image", "opencv"}


def test_predicted_nuclei_are_written(project: Path) -> None:
    (NUCLEI / "unet").mkdir(parents=True)
    (NUCLEI / "unet" / "stale.png").touch()
    run()
    names = sorted(path.stem for path in (NUCLEI / "unet").iterdir())
    assert names == [record.id for record in RECORDS]
    labels = read_labels(NUCLEI / "unet" / "x2.png")
    row = next(row for row in table() if row["id"] == "x2")
    predicted = int(row["nucleus_true_positives"]) + int(row["nucleus_false_positives"])
    assert labels.max() == predicted > 5


def test_same_bytes_whatever_the_number_of_workers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> dict[str, bytes]:
        run()
        outs = [*METRICS.rglob("*"), *NUCLEI.rglob("*"), PREDICTIONS / "unet.json"]
        return {str(path): path.read_bytes() for path in outs if path.is_file()}

    alone = written()
    assert len(alone) == 3 + len(RECORDS) + 2
    monkeypatch.setenv("MONUSEG_WORKERS", "2")
    assert written() == alone


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda: write_probabilities(PREDICTIONS / "unet", "v1", np.zeros((SIZE, 9, 2))),
            r"unet/v1\.npy: 96 x 9 pixels, but the mask has 96 x 96; predict 'unet' again",
        ),
        (
            lambda: write_probabilities(
                PREDICTIONS / "unet", "x1", np.full((SIZE, SIZE, 2), np.nan)
            ),
            r"unet/x1\.npy: a probability is NaN",
        ),
        (lambda: (PREDICTIONS / "unet" / "x1.npy").unlink(), r"unet/x1\.npy is missing"),
        (lambda: (PREDICTIONS / "unet" / "output.json").unlink(), r"output\.json is missing"),
        (lambda: write_records(SPLITS, RECORDS[:4]), r"splits\.csv: no image of evaluate\.splits"),
    ],
)
def test_bad_input_is_named(project: Path, spoil: Callable[[], None], message: str) -> None:
    write_params(splits=["test"])
    spoil()
    with pytest.raises(PipelineError, match=message):
        run()
    assert not any(path.is_file() for path in METRICS.rglob("*"))


def test_keras_is_not_imported() -> None:
    code = (
        "import sys, stages.evaluate.__main__, stages.baseline.__main__; "
        "print([name for name in ('keras', 'tensorflow', 'torch', 'jax') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
