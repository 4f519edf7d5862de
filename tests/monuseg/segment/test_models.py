"""What `--model` stands for, and several networks as one."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from monuseg.inference.sliding_window import Forward
from monuseg.models.shared.backend import Runtime
from monuseg.segment import folds, models, options
from monuseg.segment.models import ModelChoice, find, predict_params, views_for
from tests.monuseg.segment.networks import (
    PARAMS,
    SETTINGS,
    darkness,
    network,
    save_settings,
    save_undecided,
    save_unet,
)

CARD = SimpleNamespace(
    model="unet", classes=["nucleus"], stain_normalisation="none", um_per_pixel=0.25
)

MEAN = ModelChoice("mean", [(Path("a"), "unet"), (Path("b"), "segnet")], SETTINGS, [])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `models` of two networks, beside their settings; not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    save_unet(folder / "models")
    save_undecided(folder / "models")
    for row in ("unet", "ensemble"):
        save_settings(folder / "predictions", row)
    return folder


@pytest.fixture
def data(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "data"))


@pytest.fixture
def along(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that comes along."""
    folder = data / "models"
    sha256 = {name: sha256_of(folder / f"{name}.weights.h5") for name in ("unet", "segnet")}
    content = {"settings": asdict(SETTINGS), "sha256": sha256}
    (folder / "mean.settings.json").write_text(json.dumps(content))
    for module in (models, options):
        monkeypatch.setattr(module, "PRETRAINED", folder)
    return folder


@pytest.mark.parametrize("name", ["unet.json", "unet.weights.h5", "unet"])
def test_a_trained_model_by_its_card_or_weights(name: str, data: Path) -> None:
    named = find(str(data / "models" / name))
    assert named.members == [(data / "models", "unet")]
    assert (named.name, named.settings, named.notice) == ("unet", SETTINGS, None)
    assert named.identity == [sha256_of(data / "models/unet.weights.h5")]


def test_a_folder_is_the_mean_of_its_models(data: Path) -> None:
    named = find(str(data / "models"))
    assert [name for _, name in named.members] == ["segnet", "unet"]
    assert named.name == "ensemble"
    (data / "models/segnet.json").unlink()
    assert find(str(data / "models")).name == "unet"


def test_what_was_not_evaluated_has_no_settings(data: Path) -> None:
    with pytest.raises(PipelineError, match=r"segnet\.json is missing; run `dvc repro evaluate@s"):
        find(str(data / "models/segnet.json"))


@pytest.mark.parametrize("name", ["unett", "otsu", "../unet", "", "data/models/gone.json"])
def test_what_is_no_model_is_refused(
    name: str, along: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PipelineError, match=r"no model in it|comes along \(mean\).*models/unet"
    ) as e:
        find(name)
    assert "\n" not in str(e.value)


@pytest.fixture
def cross_validated(data: Path) -> Path:
    """The folder of a cross-validation of two folds."""
    root = data / "folds"
    (root / "models").mkdir(parents=True)
    for fold, name in enumerate(("unet", "segnet")):
        for file in folds.network(root, fold):
            shutil.copy(data / "models" / file.name.replace(f"fold-{fold}", name), file)
    save_settings(root / "predictions", "ensemble")
    (root / folds.NOTE).write_text('{"folds": 2}')
    return root


@pytest.mark.parametrize("of", ["", "models"])
def test_a_cross_validation_is_the_mean_of_its_folds(of: str, cross_validated: Path) -> None:
    (cross_validated / "models/.note.json").write_text("{}")
    named = find(str(cross_validated / of))
    assert named.members == [(cross_validated / "models", f"fold-{fold}") for fold in (0, 1)]
    assert named.settings == SETTINGS


def test_a_single_fold_has_no_settings(cross_validated: Path) -> None:
    with pytest.raises(PipelineError, match=rf"mean of all folds; name {cross_validated}"):
        find(str(cross_validated / "models/fold-0.json"))


@pytest.mark.parametrize(
    "name", ["models/fold-1.json", "models/fold-1.weights.h5", "predictions/ensemble.json"]
)
def test_an_unfinished_cross_validation_is_refused(name: str, cross_validated: Path) -> None:
    (cross_validated / name).unlink()
    with pytest.raises(
        PipelineError, match=rf"{name} is missing: .* run the same .*cross_validate"
    ):
        find(str(cross_validated))


@pytest.mark.parametrize("note", ["{", "{}", "[]", '{"folds": "many"}'])
def test_a_damaged_note_of_a_cross_validation_is_named(note: str, cross_validated: Path) -> None:
    (cross_validated / folds.NOTE).write_text(note)
    with pytest.raises(
        PipelineError, match=r"cross-validation\.json: not as tools\.cross_validate"
    ):
        find(str(cross_validated))


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no model in it; name a folder such as data/models"):
        find(str(tmp_path))


def test_a_model_that_comes_along(along: Path) -> None:
    named = find("mean")
    assert named.members == [(along, "unet"), (along, "segnet")]
    assert named.settings == SETTINGS
    assert "not for commercial use" in str(named.notice)


@pytest.mark.parametrize("change", ["altered", "gone"])
def test_weights_that_are_not_those_of_the_settings_are_refused(change: str, along: Path) -> None:
    weights = along / "segnet.weights.h5"
    if change == "gone":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(
        PipelineError,
        match=rf"segnet\.weights\.h5.*{'is missing' if change == 'gone' else 'install'}",
    ):
        find("mean")


@pytest.mark.parametrize(("pixels", "views"), [(1, 4), (4_000_000, 4), (4_000_001, 1)])
def test_a_small_image_is_worth_more_views(pixels: int, views: int) -> None:
    assert views_for(pixels) == views


@pytest.mark.parametrize("views", [1, 4, 8])
def test_a_network_is_called_once_a_view(views: int) -> None:
    calls = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        calls.append(pixels[0, 0, 0, 0])
        return darkness(pixels)

    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    seen = network(forward).with_views(views)
    np.testing.assert_allclose(seen.forward(pixels), darkness(pixels), rtol=1e-6)
    assert len(calls) == views
    assert models.describe(seen)["rotations"] == (views == 8)


def test_params_need_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONUSEG_WORKERS", "3")
    params = predict_params("tensorflow")
    assert (params.backend, params.threads, params.batch_size) == ("tensorflow", 3, 1)
    assert 2 * params.overlap <= params.window
    assert params.window % 16 == 0


def test_the_first_installed_backend_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = ["tensorflow", "jax"]
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: name in installed or None)
    assert predict_params("auto").backend == "tensorflow"
    with pytest.raises(PipelineError, match="--backend torch: not installed; run `pip install"):
        predict_params("torch")
    installed.clear()
    with pytest.raises(PipelineError, match="no backend is installed; run `pip install openvino`"):
        predict_params("auto")


def test_a_backend_that_the_environment_names_is_one_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("numpy", "a.b", "nonsense"):
        monkeypatch.setenv("KERAS_BACKEND", name)
        with pytest.raises(
            PipelineError, match=f"KERAS_BACKEND='{name}': none of openvino, .*; unset"
        ):
            predict_params("auto")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(PipelineError, match="KERAS_BACKEND=torch contradicts openvino"):
        predict_params("openvino")


def loads(cards: Sequence[SimpleNamespace], forwards: Sequence[Forward]) -> object:
    runtime = Runtime("openvino", False, "mixed_bfloat16", False, threads=2)
    return lambda members, params: (list(zip(forwards, cards, strict=True)), runtime)


def test_probabilities_of_several_networks_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = [darkness, lambda pixels: np.full_like(darkness(pixels), 0.5)]
    other = SimpleNamespace(**{**vars(CARD), "model": "segnet"})
    monkeypatch.setattr(models, "load_forwards", loads([CARD, other], forwards))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    loaded = models.load(MEAN, PARAMS)
    np.testing.assert_allclose(loaded.forward(pixels), darkness(pixels) / 2 + 0.25, rtol=1e-6)
    assert loaded.forward(pixels).dtype == np.float32
    assert (loaded.um_per_pixel, loaded.classes) == (0.25, ["nucleus"])
    assert models.describe(loaded)["precision"] == "mixed_bfloat16"  # what auto came to
    assert loaded.divisor % 16 == 0


@pytest.mark.parametrize(("other_um", "expected"), [(0.25, 0.25), (0.252, 0.251)])
def test_resolutions_of_other_training_images_are_averaged(
    other_um: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(**{**vars(CARD), "um_per_pixel": other_um})
    monkeypatch.setattr(models, "load_forwards", loads([CARD, other], [darkness] * 2))
    assert models.load(MEAN, PARAMS).um_per_pixel == expected


@pytest.mark.parametrize(
    "differing",
    [
        {"classes": ["nucleus", "boundary"]},
        {"stain_normalisation": "macenko"},
        {"um_per_pixel": 0.5},
    ],
)
def test_networks_that_do_not_go_together_are_refused(
    differing: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(**{**vars(CARD), "model": "segnet", **differing})
    monkeypatch.setattr(models, "load_forwards", loads([CARD, other], [darkness] * 2))
    with pytest.raises(
        PipelineError, match=f"mean: unet and segnet differ in {next(iter(differing))}; "
    ):
        models.load(MEAN, PARAMS)
