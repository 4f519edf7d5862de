"""dvc.yaml: each stage depends on the folders that its code is in, and on no other."""

from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tests.repository import MODELS, PACKAGES, REPOSITORY

REGISTRY = "monuseg.models.shared.registry"  # which imports models by their names
ITEM = "monuseg/models/${item}"
# Decides how a stage is run, never what it computes.
PLUMBING = "monuseg/core"

DVC_YAML = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in DVC_YAML["stages"].items()
}


@pytest.fixture
def imports() -> grimp.ImportGraph:
    """Every import of the project, those within functions too."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def folder_of(module: str) -> str:
    """The folder of dvc.yaml that a module belongs to; of a package above them its own."""
    depth = 3 if module.startswith("monuseg.models.") else 2
    return "/".join(module.split(".")[:depth])


def needed(imports: grimp.ImportGraph, stage: str) -> set[str]:
    """The folders of all that a stage's code imports, at whatever remove."""
    start = {f"stages.{stage}.__main__"}
    modules = start | imports.find_upstream_modules(f"stages.{stage}", as_package=True)
    folders = {folder_of(module) for module in modules}
    if REGISTRY in modules:
        for model in MODELS:
            own = imports.find_upstream_modules(f"monuseg.models.{model}", as_package=True)
            folders |= {folder_of(module) for module in own if f".{model}" not in module}
        folders.add(ITEM)
    return folders - {PLUMBING, *PACKAGES, "monuseg/models"}


def listed(stage: str) -> set[str]:
    """The folders of code that dvc.yaml lists for a stage."""
    return {dep for dep in STAGES[stage]["deps"] if dep.startswith(PACKAGES)}


@pytest.mark.parametrize("stage", STAGES)
def test_the_listed_folders_are_those_that_the_stage_imports(
    stage: str, imports: grimp.ImportGraph
) -> None:
    assert listed(stage) == needed(imports, stage)


def test_a_planted_import_is_missed_in_the_list(imports: grimp.ImportGraph) -> None:
    imports.add_import(importer="monuseg.readers.aperio", imported="monuseg.scoring.pixels")
    assert needed(imports, "masks") - listed("masks") == {"monuseg/scoring"}
    assert needed(imports, "tile") == listed("tile")


def test_there_is_a_folder_for_each_stage_and_nothing_else() -> None:
    folders = {path.name for path in (REPOSITORY / "stages").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(STAGES)
    for stage in STAGES:
        assert STAGES[stage]["cmd"].split()[:3] == ["python", "-m", f"stages.{stage}"]
        assert (REPOSITORY / "stages" / stage / "__main__.py").is_file()


@pytest.mark.parametrize("package", ["stages", "monuseg"])
def test_packages_alone_lie_in_the_two_trees(package: str) -> None:
    files = {path.name for path in (REPOSITORY / package).iterdir() if path.is_file()}
    assert files <= {"__init__.py", "__main__.py"}


def test_what_lies_above_the_listed_folders_only_says_what_it_is() -> None:
    """It is loaded by every stage and is a dependency of none."""
    allowed = {"from monuseg.core.startup import end_quietly_on_interrupt"}
    for path in ("monuseg/__init__.py", "stages/__init__.py", "monuseg/models/__init__.py"):
        docstring, *code = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()
        assert docstring.startswith('"""')
        assert docstring.endswith('"""')
        assert set(filter(None, code)) <= allowed | {"end_quietly_on_interrupt()"}


def test_every_data_dependency_is_an_output_of_another_stage() -> None:
    outputs = set()
    for name, stage in STAGES.items():
        items = DVC_YAML["stages"][name].get("foreach", [""])
        for item in MODELS if items == "${models}" else items:
            for out in [*stage["outs"], *stage.get("metrics", [])]:
                path = next(iter(out)) if isinstance(out, dict) else out
                outputs.add(path.replace("${item}", item))
    folders = {str(Path(path).parent) for path in outputs}
    read = {
        dep.replace("${item}", MODELS[0])
        for stage in STAGES.values()
        for dep in stage["deps"]
        if dep.startswith(("data/", "metrics/"))
    }
    assert read - {"metrics/reference"} <= outputs | folders


def test_training_never_reads_test_images() -> None:
    data = [dep for dep in STAGES["train"]["deps"] if dep.startswith("data/")]
    assert data == ["data/tiles/train", "data/tiles/validation"]


def test_scoring_and_the_data_stages_load_no_keras() -> None:
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    for stage in set(STAGES) - {"train", "predict"}:
        assert "keras" not in graph.find_upstream_modules(f"stages.{stage}", as_package=True)
    assert "keras" in graph.find_upstream_modules("stages.train", as_package=True)


def test_people_can_read_it() -> None:
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert (REPOSITORY / "dvc.lock").stat().st_size <= 40_000
