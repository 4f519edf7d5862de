"""The whole graph at preset `smoke`, through the real dvc, on a copy of the repository."""

import json
import sys

import numpy as np
import pytest

from tests.repository import MODELS, ROWS, Project, copy_of_the_repository

PARAMS = '''"""Block `tiny`."""

from monuseg.models.shared.params import ModelParams

DIVISOR = 1


class Params(ModelParams):
    """Block `tiny`."""
'''
NETWORK = '''"""One convolution."""

import keras

from monuseg.models.tiny.params import Params


def build(params: Params, classes: int) -> keras.Model:
    """Logits of a single 3 x 3 convolution."""
    image = keras.Input((None, None, 3), name="image")
    logits = keras.layers.Conv2D(classes, 3, padding="same", name="logits")(image)
    return keras.Model(image, logits, name="tiny")
'''

pytestmark = pytest.mark.graph

SCORED = {*(f"evaluate@{row}" for row in ROWS), "report"}


def after(model: str) -> set[str]:
    """The stages that a change of one model's code or params reruns."""
    own = {f"{stage}@{model}" for stage in ("train", "predict", "evaluate")}
    return own | {"ensemble", "evaluate@ensemble", "report"}


@pytest.fixture
def project(graph: Project) -> Project:
    """The graph after its run; what a test changes is taken back."""
    return graph


def test_the_committed_lock_is_that_of_the_committed_code_and_params(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    fresh = copy_of_the_repository(
        tmp_path_factory.mktemp("fresh"), tmp_path_factory.mktemp("caches")
    )
    assert fresh.repro("--dry", "--allow-missing") == []


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert project.repro() == []


def test_every_row_has_its_metrics_and_none_is_nan(project: Project) -> None:
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    assert sorted(files) == sorted(f"metrics/{row}.json" for row in ROWS)
    for row in ROWS:
        test = files[f"metrics/{row}.json"]["data"]["test"]
        assert {"accuracy", "f1", "dice", "iou", "aji", "pq", "dice_lo", "dice_hi"} <= set(test)
        assert all(np.isfinite(value) for value in test.values())


def test_probabilities_are_of_whole_images(project: Project) -> None:
    for file in sorted((project.folder / "data/predictions").glob("*/*.npy")):
        array = np.load(file)
        assert array.dtype == np.float16
        assert array.shape == (128, 160, 1)
        assert array.min() >= 0
        assert array.max() <= 1


def test_an_experiment_with_another_threshold_repeats_the_scoring_alone(project: Project) -> None:
    assert set(project.experiment("-S", "evaluate.threshold=0.3")) == SCORED
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert difference["metrics/unet.json"]["test.dice"]["diff"] != 0
    changed = json.loads(project.run("dvc", "params", "diff", "--json"))
    assert list(changed["params.yaml"]) == ["evaluate.threshold"]
    assert changed["params.yaml"]["evaluate.threshold"]["new"] == 0.3
    project.run("dvc", "plots", "diff", "-o", "dvc_plots")
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert "Validation Dice" in page
    assert "workspace" in page


def test_other_test_images_retrain_nothing(project: Project) -> None:
    project.change("dataset.synthetic.test_images=3")
    ran = {*project.repro("tile"), *project.repro("--dry")}
    assert not {f"train@{model}" for model in MODELS} & ran
    assert {"download", "tile", "baseline", *(f"predict@{model}" for model in MODELS)} <= ran


@pytest.mark.parametrize(
    ("changed", "reached"),
    [
        ("stages/evaluate/summary.py", SCORED),
        ("monuseg/nuclei/watershed.py", SCORED),
        ("monuseg/models/segnet/network.py", after("segnet")),
        ("stages/report/tables.py", {"report"}),
        ("unet.learning_rate=0.02", after("unet")),
        ("monuseg/core/parallel.py", set()),
        ("monuseg/segment/command.py", set()),
        ("tools/compare.py", set()),
    ],
)
def test_a_change_reaches_what_it_must_and_no_more(
    changed: str, reached: set[str], project: Project
) -> None:
    if "=" in changed:
        project.change(changed)
    else:
        code = project.folder / changed
        code.write_text(code.read_text() + "# changed\n")
    assert set(project.repro("--dry", "--force-downstream")) == reached


def test_a_fourth_model_is_a_folder_a_block_an_entry_and_the_lines_that_check_names(
    project: Project,
) -> None:
    folder = project.folder / "monuseg/models/tiny"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "params.py").write_text(PARAMS)
    (folder / "network.py").write_text(NETWORK)
    params = project.folder / "params.yaml"
    text = params.read_text().replace("models: [", "models: [tiny, ")
    params.write_text(f"{text}\ntiny:\n  learning_rate: 0.01\n")
    said = project.finished(sys.executable, "-m", "tools.check", status=1).stderr
    assert "stages.evaluate.foreach: `tiny` is missing; add it" in said
    project.set_models(["tiny", *MODELS])
    assert set(project.repro()) == after("tiny")
    assert "test" in json.loads((project.folder / "metrics/tiny.json").read_text())
    assert "tiny" in (project.folder / "metrics/report.md").read_text()


def test_models_train_side_by_side(project: Project) -> None:
    models = ["unet", "segnet"]
    project.change("train.seed=7")
    project.set_models(models)
    trained = {f"train@{model}" for model in models}
    assert trained <= set(project.repro("--dry"))
    project.python("tools.side_by_side")
    assert not trained & set(project.repro("--dry"))


def test_a_stage_runs_without_dvc(project: Project) -> None:
    before = (project.folder / "metrics/otsu.json").read_bytes()
    project.python("stages.evaluate", "otsu")
    assert (project.folder / "metrics/otsu.json").read_bytes() == before


def test_bad_params_end_in_one_line_and_leave_no_out(project: Project) -> None:
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("  sigma: 2.0", "  sigma: -1"))
    done = project.finished(sys.executable, "-m", "stages.baseline", status=1)
    assert done.stderr.count("\n") == 1
    assert "params.yaml: baseline.sigma" in done.stderr
