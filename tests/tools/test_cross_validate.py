"""Cross-validation: each image is predicted once, by the fold that held it out."""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.params import read_params
from monuseg.formats.files import read_json
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import TEST, VALIDATION, SplitRecord, write_records
from monuseg.formats.paths import MASKS, MODELS, RAW, SPLITS
from monuseg.formats.predictions import read_probabilities, write_output, write_probabilities
from monuseg.nuclei.chosen import read_chosen
from monuseg.segment.folds import NOTE
from monuseg.segment.models import find
from stages.evaluate.choices import Choices
from stages.tile.params import TileParams
from stages.tile.validation import validation_images
from tests.monuseg.segment.networks import save_unet, two_discs
from tools import cross_validate, dvc

FOLDS = 3
ORGANS = dict(zip("abcdef", ["lung", "lung", "lung", "liver", "liver", "liver"], strict=True))
OUTPUT = Path("folds")


def arguments(*changes: str, model: str = "unet", folds: int = FOLDS) -> argparse.Namespace:
    return argparse.Namespace(model=model, folds=folds, set=list(changes), output=OUTPUT)


def threshold() -> float:
    """The one that was chosen."""
    return read_chosen(OUTPUT / "predictions", "ensemble")[0].threshold


def truth() -> np.ndarray:
    """Two nuclei of 20 x 20 pixels in 60 x 60."""
    labels = np.zeros((60, 60), np.uint16)
    labels[5:25, 5:25], labels[32:52, 32:52] = 1, 2
    return labels


@pytest.fixture
def trained(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The folds that were trained; the network of fold k is sure of nuclei to 0.4 + k / 10."""
    folds: list[int] = []
    MASKS.mkdir(parents=True)
    for image in (*ORGANS, "t"):
        write_labels(MASKS / f"{image}.png", truth())

    def reproduce(*stages: str) -> None:
        assert stages in (("train@unet",), ("tile",))
        if Path("few").exists() and TileParams.load().validation.fold > 1:
            raise PipelineError("stage tile: no more than 2 folds")
        held_out = validation_images(ORGANS, TileParams.load().validation)
        write_records(SPLITS, [
            *(
                SplitRecord(
                    image, organ, VALIDATION if image in held_out else "train", 0.25, 0.25,
                    "aperio-xml",
                )
                for image, organ in ORGANS.items()
            ),
            SplitRecord("t", "lung", TEST, 0.25, 0.25, "aperio-xml"),
        ])  # fmt: skip
        if stages == ("tile",):
            return
        fold = read_params()["tile"]["validation"]["fold"]
        if fold == 1 and (Path("fails")).exists():
            raise PipelineError("dvc repro failed")
        folds.append(fold)
        MODELS.mkdir(parents=True, exist_ok=True)
        for name in ("unet.json", "unet.weights.h5"):
            (MODELS / name).write_text(f"fold {fold}", encoding="utf-8")

    def predict(model: str, records: Iterable[SplitRecord], folder: Path) -> None:
        write_output(folder, ["nucleus"], probabilities=True)
        sure = 0.4 + folds[-1] / 10
        for record in records:
            probability = np.where(truth() > 0, sure, 0.1)[..., np.newaxis]
            write_probabilities(folder, record.id, probability.astype(np.float32))

    monkeypatch.setattr(dvc, "reproduce", reproduce)
    monkeypatch.setattr(cross_validate, "predict_apart", predict)
    return folds


def test_each_image_is_predicted_by_the_fold_that_held_it_out(trained: list[int]) -> None:
    before = Path("params.yaml").read_bytes()
    cross_validate.main(arguments())
    assert trained == [0, 1, 2]
    assert Path("params.yaml").read_bytes() == before
    folder = OUTPUT / "predictions/unet"
    assert {path.stem for path in folder.glob("*.npy")} == set(ORGANS)
    for fold in range(FOLDS):
        block = TileParams.load().validation
        held_out = validation_images(
            ORGANS, block.model_copy(update={"method": "fold", "folds": FOLDS, "fold": fold})
        )
        assert len(held_out) == 2
        for image in held_out:
            found = read_probabilities(folder, image).max()
            assert found == pytest.approx(0.4 + fold / 10, abs=1e-3)
        assert (OUTPUT / f"models/fold-{fold}.weights.h5").read_text() == f"fold {fold}"


def test_settings_are_chosen_on_all_folds_together(
    trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    cross_validate.main(arguments())
    settings, chosen_on = read_chosen(OUTPUT / "predictions", "ensemble")
    # Fold 0 finds its nuclei at most at 0.38, fold 2 at any: only up to 0.38 are all perfect.
    assert 0.1 < settings.threshold <= 0.4
    assert chosen_on["threshold"] == "validation"
    assert sorted(read_json(OUTPUT / "candidates.json")["images"]["thresholds"]) == sorted(ORGANS)
    scores = pd.read_csv(OUTPUT / "per_image.csv")
    assert list(scores["id"]) == list(ORGANS)
    assert set(scores["split"]) == {VALIDATION}
    assert scores[["dice", "aji", "pq"]].eq(1).all(axis=None)
    out = capsys.readouterr().out
    assert "unet, 6 images, each held out once:" in out
    assert "  aji 1.0000\n" in out
    assert f"threshold {settings.threshold}" in out


def test_the_folds_networks_are_an_ensemble_for_slides(trained: list[int]) -> None:
    cross_validate.main(arguments())
    named = find(str(OUTPUT))
    assert named.members == [(OUTPUT / "models", f"fold-{fold}") for fold in range(FOLDS)]
    assert named.settings == read_chosen(OUTPUT / "predictions", "ensemble")[0]


def test_folds_that_do_not_all_stand_are_no_ensemble(trained: list[int]) -> None:
    cross_validate.main(arguments())
    (OUTPUT / "models/fold-1.json").unlink()
    with pytest.raises(PipelineError, match=r"fold-1\.json is missing: folds is unfinished; run"):
        find(str(OUTPUT))
    Path("fails").touch()
    with pytest.raises(PipelineError, match="dvc repro failed"):
        cross_validate.main(arguments())
    # What was chosen with the lost network does not outlive it.
    assert not (OUTPUT / "predictions/ensemble.json").exists()


def test_scores_and_settings_are_of_one_choice(
    trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cross_validate.main(arguments())
    kept = [OUTPUT / name for name in ("per_image.csv", "candidates.json")]
    before = [path.read_bytes() for path in kept]
    with monkeypatch.context() as patch:
        patch.setattr(Choices, "as_settings", lambda self: 1 / 0)  # the last to be written
        with pytest.raises(ZeroDivisionError):
            cross_validate.main(arguments("evaluate.threshold=0.75"))
    assert [path.read_bytes() for path in kept] == before
    assert threshold() <= 0.4


def test_a_fold_without_its_card_is_trained_again(trained: list[int]) -> None:
    cross_validate.main(arguments())
    (OUTPUT / "models/fold-1.json").unlink()
    cross_validate.main(arguments())
    assert trained == [0, 1, 2, 1]


def test_what_params_give_for_the_row_is_chosen_anew(trained: list[int]) -> None:
    given = "{threshold: 0.77, smoothing: 1.0, min_distance: 5, min_area: 30, separation: shape, "
    given += "marker_threshold: 0.5, min_probability: 0.0}"
    cross_validate.main(arguments(f"evaluate.settings={{unet: {given}}}"))
    assert threshold() < 0.77


def test_after_a_failure_the_same_command_goes_on(trained: list[int]) -> None:
    before = Path("params.yaml").read_bytes()
    Path("fails").touch()
    with pytest.raises(PipelineError, match="dvc repro failed"):
        cross_validate.main(arguments())
    assert Path("params.yaml").read_bytes() == before
    assert trained == [0]
    Path("fails").unlink()
    cross_validate.main(arguments())
    assert trained == [0, 1, 2]


def test_other_parameters_are_not_mixed_in(trained: list[int]) -> None:
    cross_validate.main(arguments())
    with pytest.raises(PipelineError, match=r"cross-validation\.json: of another model or other"):
        cross_validate.main(arguments("train.epochs=3"))
    with pytest.raises(PipelineError, match="other parameters"):
        cross_validate.main(arguments(folds=2))
    assert trained == [0, 1, 2]


def test_another_way_to_choose_trains_nothing(trained: list[int]) -> None:
    with pytest.raises(PipelineError, match="boundary need outputs that are not predicted"):
        cross_validate.main(arguments("evaluate.nuclei.separation=[boundary]"))
    cross_validate.main(arguments("evaluate.threshold=0.3"))
    assert threshold() == 0.3
    assert trained == [0, 1, 2]


def test_where_all_folds_stand_the_data_are_theirs_again(trained: list[int]) -> None:
    cross_validate.main(arguments())
    before = (OUTPUT / "per_image.csv").read_bytes()
    # As the graph leaves it with another protocol.
    write_records(SPLITS, [SplitRecord("a", "lung", "train", 0.25, 0.25, "aperio-xml")])
    cross_validate.main(arguments())
    assert (OUTPUT / "per_image.csv").read_bytes() == before
    assert trained == [0, 1, 2]


def test_more_folds_than_patients_are_refused_before_one_has_trained(trained: list[int]) -> None:
    Path("few").touch()  # of data whose ids params.yaml does not tell
    with pytest.raises(PipelineError, match="no more than 2 folds"):
        cross_validate.main(arguments())
    assert trained == []
    cross_validate.main(arguments(folds=2))  # into the same folder
    assert trained == [0, 1]


def test_a_broken_note_of_what_the_folder_holds_is_named(trained: list[int]) -> None:
    cross_validate.main(arguments())
    (OUTPUT / NOTE).write_text("{", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"cross-validation\.json is no valid JSON .* --output"):
        cross_validate.main(arguments())
    assert trained == [0, 1, 2]


def test_somebody_elses_folder_is_left_alone(trained: list[int]) -> None:
    OUTPUT.mkdir()
    (OUTPUT / "thesis.txt").write_text("mine")
    with pytest.raises(PipelineError, match="folds: not empty, and no cross-validation"):
        cross_validate.main(arguments())
    assert [path.name for path in OUTPUT.iterdir()] == ["thesis.txt"]


def test_unknown_models_and_changes_train_nothing(trained: list[int]) -> None:
    with pytest.raises(PipelineError, match=r"resnet is no model of params\.yaml"):
        cross_validate.main(arguments(model="resnet"))
    with pytest.raises(PipelineError, match=r"has no key train\.sead"):
        cross_validate.main(arguments("train.sead=1"))
    with pytest.raises(PipelineError, match=r"params\.yaml: tile\.validation\.folds"):
        cross_validate.main(arguments(folds=1))
    # The slides of params.yaml are of ten patients.
    with pytest.raises(PipelineError, match="holds out 0 of 10 training images"):
        cross_validate.main(arguments(folds=11))
    assert trained == []
    assert not OUTPUT.exists()


def slowly(model: str, records: list[SplitRecord], folder: Path) -> None:
    """Stands for `predict`, in a process of its own."""
    folder.write_text(str(os.getpid()))
    time.sleep(60)


def test_an_interruption_does_not_wait_for_the_prediction_of_a_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(cross_validate, "predict", slowly)
    # What runs in the background of a shell ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    begun = tmp_path / "begun"

    def interrupt() -> None:
        while not (begun.is_file() and begun.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        cross_validate.predict_apart("unet", [], begun)
    assert not psutil.pid_exists(int(begun.read_text()))


def killed(model: str, records: list[SplitRecord], folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing(model: str, records: list[SplitRecord], folder: Path) -> None:
    raise PipelineError(f"{model}: no weights")


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (killed, "unet: the process that predicts a fold was killed, .* memory"),
        (failing, "unet: no weights"),
    ],
)
def test_a_fold_that_cannot_be_predicted_is_told(
    predict: Callable[..., None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_validate, "predict", predict)
    with pytest.raises(PipelineError, match=said):
        cross_validate.predict_apart("unet", [], tmp_path)


def test_one_run_predicts_with_the_network_of_each_fold(project: Path) -> None:
    save_unet(MODELS)
    RAW.mkdir(parents=True)
    write_rgb(RAW / "a.tif", two_discs())
    records = [SplitRecord("a", "lung", VALIDATION, 0.25, 0.25, "aperio-xml")]
    for fold in ("0", "1"):
        cross_validate.predict_apart("unet", records, Path(fold))
        found = read_probabilities(Path(fold), "a")[..., 0] > 0.5
        assert np.mean(found == (two_discs()[..., 0] < 128)) > 0.99
