"""Which stages a changed file or parameter makes stale, by DVC's own word, against a prediction.

Which modules a stage imports is found in their bytecode, and which stages a parameter concerns
stands here: the prediction owes nothing to what checks dvc.yaml elsewhere.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.dependency import param
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from tests.repository import MODELS, PACKAGES, ROWS, Project

pytestmark = [
    pytest.mark.graph,
    pytest.mark.filterwarnings("default"),  # dvc runs in this process, with its libraries' own
]

Stale = dict[str, set[str]]


def each(stage: str, items: list[str]) -> set[str]:
    return {f"{stage}@{item}" for item in items}


# The prediction

# A stage's module, and the model whose module it looks up by name.
STAGES: Mapping[str, tuple[str, str | None]] = {
    **{
        name: (name, None)
        for name in ("download", "extract", "masks", "tile", "ensemble", "baseline", "report")
    },
    **{f"{name}@{model}": (name, model) for name in ("train", "predict") for model in MODELS},
    **{f"evaluate@{row}": ("evaluate", None) for row in ROWS},
}

TRAINING = each("train", MODELS)
PREDICTION = each("predict", MODELS)
EVALUATION = each("evaluate", ROWS)

# What stages read that is neither code, nor params.yaml, nor written by another stage.
FILES: Mapping[str, set[str]] = {
    "requirements-compute.txt": TRAINING | PREDICTION,
    "metrics/reference/": {"report"},
    "stages/report/": {"report"},  # templates, and what others published
}

# By the longest prefix. A model's own block is its training's alone: what prediction needs of it
# stands on the model's card.
PARAMS: Mapping[str, set[str]] = {
    "models": {"ensemble", "report"},
    "dataset.synthetic": {"download"},
    "dataset.gdrive": set(),
    "dataset.file": set(),
    "dataset.url": set(),
    "extract": {"extract"},
    "masks": {"masks"},
    "tile": {"tile"},
    "train": TRAINING,
    **{model: {f"train@{model}"} for model in MODELS},
    "predict": PREDICTION,
    "baseline": {"baseline"},
    "evaluate": EVALUATION,
    "report": {"report"},
}


def imported(folder: Path, stage: str) -> set[str]:
    """The folders of files that the bytecode of a stage's module asks for, at whatever depth."""
    module, model = STAGES[stage]
    # Of this path only: what lies outside the project is not found, and not followed.
    finder = ModuleFinder(path=[str(folder)])
    finder.import_hook(f"stages.{module}.__main__")
    if model:
        finder.import_hook(f"monuseg.models.{model}.network")
    files = (found.__file__ for found in finder.modules.values())
    return {str(Path(file).relative_to(folder).parent) for file in files if file}


def watched(file: str) -> str | None:
    """The folder that dvc.yaml watches a file of code through, if any."""
    parts = Path(file).parts
    depth = 3 if parts[:2] == ("monuseg", "models") else 2
    if len(parts) <= depth or parts[:2] == ("monuseg", "core"):
        return None
    return "/".join(parts[:depth])


def predicted_for(key: str) -> set[str]:
    parts = key.split(".")
    prefixes = (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))
    return next(PARAMS[prefix] for prefix in prefixes if prefix in PARAMS)


# DVC's word


class Words:
    """What DVC says of the project, asked in this process: a `dvc status` costs seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stages = Repo(str(folder)).index.stages

    def stale_by_files(self) -> set[str]:
        """The stages of which a dependency is not what dvc.lock says; params aside."""
        changed: dict[str, bool] = {}
        stale = set()
        for stage in self._stages:
            for dependency in stage.deps:
                if isinstance(dependency, ParamsDependency):
                    continue
                path = dependency.fs_path
                # Each path once: that all stages' locks agree on it, a clean start has shown.
                if path not in changed:
                    changed[path] = bool(dependency.status())
                if changed[path]:
                    stale.add(stage.addressing)
        return stale

    def stale_by_params(self) -> set[str]:
        """The stages of which a parameter is not what dvc.lock says."""
        return {
            stage.addressing
            for stage in self._stages
            for dependency in stage.deps
            if isinstance(dependency, ParamsDependency) and dependency.status()
        }


def told_by_dvc_status(project: Project) -> set[str]:
    """The stages that a real `dvc status` says have changed dependencies."""
    told = json.loads(project.run("dvc", "status", "--json"))
    return {
        stage
        for stage, changes in told.items()
        if any("changed deps" in change for change in changes if isinstance(change, dict))
    }


@pytest.fixture
def words(graph: Project, monkeypatch: pytest.MonkeyPatch) -> Words:
    for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.setenv(name, graph.environment[name])
    monkeypatch.chdir(graph.folder)
    # Each stage would parse params.yaml anew; here once for each of its contents.
    parsed: dict[str, Any] = {}
    read = param.read_param_file

    def read_once(fs: Any, path: str, *arguments: Any, **options: Any) -> Any:
        key = repr((Path(path).read_text(encoding="utf-8"), arguments, options))
        if key not in parsed:
            parsed[key] = read(fs, path, *arguments, **options)
        return parsed[key]

    monkeypatch.setattr(param, "read_param_file", read_once)
    made = Words(graph.folder)
    assert made.stale_by_files() | made.stale_by_params() == set()
    return made


def while_changed(file: Path, content: bytes, ask: Callable[[], set[str]]) -> set[str]:
    """What `ask` says while a file has other content; its old content and time come back."""
    before, times = file.read_bytes(), file.stat()
    file.write_bytes(content)
    try:
        return ask()
    finally:
        file.write_bytes(before)
        # DVC takes a file of the same time and size for the one that it knows.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def stale_by_lines(files: list[Path], words: Words) -> Stale:
    return {
        str(file.relative_to(words.folder)): while_changed(
            file, file.read_bytes() + b"# changed\n", words.stale_by_files
        )
        for file in files
    }


# Code


def test_each_module_makes_exactly_the_stages_stale_that_import_its_folder(words: Words) -> None:
    folders = {stage: imported(words.folder, stage) for stage in STAGES}
    predicted: Stale = {}
    for package in PACKAGES:
        for path in sorted((words.folder / package).rglob("*.py")):
            file = str(path.relative_to(words.folder))
            place = watched(file)
            predicted[file] = {
                stage
                for stage, found in folders.items()
                if place and any(f"{name}/".startswith(f"{place}/") for name in found)
            }
    # That the oracle follows imports within functions, packages and names looked up.
    assert predicted["stages/train/loop.py"] == TRAINING
    assert predicted["monuseg/scoring/__init__.py"] == EVALUATION | {"report"}
    assert predicted["stages/evaluate/images.py"] == EVALUATION
    assert predicted["monuseg/nuclei/watershed.py"] == EVALUATION
    assert predicted["monuseg/models/segnet/network.py"] == {"train@segnet", "predict@segnet"}
    for name in ("monuseg/core/parallel.py", "monuseg/segment/command.py", "tools/check.py"):
        assert predicted[name] == set()
    assert stale_by_lines([words.folder / file for file in predicted], words) == predicted


def test_of_all_other_files_only_those_that_stages_read_make_any_stale(
    words: Words, graph: Project
) -> None:
    folder = graph.folder
    # What the graph itself writes, what says what it is, and what no line can be added to.
    left_out = {out.fs_path for stage in Repo(str(folder)).index.stages for out in stage.outs}
    left_out |= {str(folder / name) for name in ("dvc.yaml", "dvc.lock", "params.yaml")}
    files = [
        folder / name
        for name in graph.run("git", "ls-files", "-z").split("\0")
        if name and not name.endswith((".py", ".jpg", ".png"))
    ]
    predicted: Stale = {}
    for file in files:
        if str(file) not in left_out:
            name = str(file.relative_to(folder))
            readers = (stages for place, stages in FILES.items() if name.startswith(place))
            predicted[name] = next(readers, set())
    assert {"requirements.txt", "constraints.txt", "README.md", "Makefile"} <= set(predicted)
    assert stale_by_lines([folder / name for name in predicted], words) == predicted


def test_dvc_status_says_the_same_of_files(graph: Project) -> None:
    changes = ["monuseg/models/unet/network.py", "monuseg/scoring/pixels.py", "requirements.txt"]
    for name in changes:
        file = graph.folder / name
        file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert told_by_dvc_status(graph) == {"train@unet", "predict@unet", "report"} | EVALUATION


# Parameters


def leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys that hold no further keys, with their values."""
    if not isinstance(content, dict):
        yield prefix, content
        return
    for key, value in content.items():
        yield from leaves(value, f"{prefix}.{key}" if prefix else key)


def other(value: Any) -> Any:
    """A value that is not this one; whether it is a valid one does not matter here."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case list():
            return [*value, "changed"]
        case _:
            return f"not {value}"


def changed(content: Any, key: str) -> str:
    """params.yaml with another value of one key."""
    made = yaml.safe_load(yaml.safe_dump(content))
    *parents, last = key.split(".")
    block = made
    for parent in parents:
        block = block[parent]
    block[last] = other(block[last])
    return yaml.safe_dump(made, sort_keys=False)


def test_each_parameter_makes_exactly_its_stages_stale(words: Words) -> None:
    file = words.folder / "params.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    # The source decides which keys the graph watches: it has a test of its own.
    keys = [key for key, _ in leaves(content) if key != "dataset.source"]
    assert {"unet.width", "train.augmentation.flip", "evaluate.nuclei.min_area"} <= set(keys)
    assert all(any(f"{key}.".startswith(f"{block}.") for key in keys) for block in PARAMS)
    stale = {
        key: while_changed(file, changed(content, key).encode(), words.stale_by_params)
        for key in keys
    }
    assert stale == {key: predicted_for(key) for key in keys}


def test_comments_and_order_of_params_make_nothing_stale(words: Words) -> None:
    file = words.folder / "params.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    text = "# other\n" + yaml.safe_dump(dict(reversed(content.items())), sort_keys=False)
    assert while_changed(file, text.encode(), words.stale_by_params) == set()


def test_another_source_makes_the_download_stale_and_nothing_else(graph: Project) -> None:
    graph.change("dataset.source=file")
    assert told_by_dvc_status(graph) == {"download"}


def test_dvc_status_says_the_same_of_params(graph: Project) -> None:
    graph.change("segnet.width=6", "masks.rasterisation=center", "dataset.url.retries=7")
    assert told_by_dvc_status(graph) == {"train@segnet", "masks"}
