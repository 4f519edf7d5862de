"""What each stage really read in the smoke run, file by file and key by key, against dvc.yaml.

The reading was recorded by the kernel and by the params' models while dvc ran (see tests/watch).
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
import yaml

from monuseg.core.params import Model
from monuseg.models.shared.registry import architecture
from stages.evaluate.params import RowSettings
from tests.repository import MODELS, PACKAGES, REPOSITORY, Smoke
from tools.check import BLOCKS

pytestmark = [
    pytest.mark.graph,
    pytest.mark.skipif(sys.platform != "linux", reason="files are watched through Linux's inotify"),
]

# Read without being declared.
ALLOWED: Mapping[str, str] = {
    "params.yaml": "declared by its keys",
}
# Decides how a stage is run and not what it computes; or only says what lies below it.
PLUMBING = (
    "monuseg/core/",
    "monuseg/__init__.py",
    "monuseg/models/__init__.py",
    "stages/__init__.py",
)
# Declared without being read.
UNREAD: Mapping[str, str] = {"requirements-compute.txt": "stands for the libraries it names"}

# Keys that a stage declares and in some runs does not ask for, with their condition.
UNASKED: Mapping[str, str] = {
    "evaluate.threshold": "a mask (Otsu's) has no probabilities to set a threshold on",
    **{
        f"evaluate.settings.{name}": "no row of the smoke run is scored with settings kept before"
        for name in RowSettings.model_fields
    },
}


def read_files(smoke: Smoke, stage: str) -> set[str]:
    """The files that a stage read, a module's compiled form counted as the module."""
    found = set()
    for line in (smoke.reads / f"{stage}.files").read_text(encoding="utf-8").splitlines():
        path = Path(line)
        if path.parent.name == "__pycache__":
            path = path.parent.parent / f"{path.name.split('.')[0]}.py"
        found.add(path.as_posix())
    return found


def is_below(path: str, places: set[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


@pytest.fixture(scope="module")
def declared(smoke: Smoke) -> dict[str, dict[str, Any]]:
    """Each stage as dvc.lock has it: resolved, with its deps and the values of its params."""
    text = (smoke.project.folder / "dvc.lock").read_text(encoding="utf-8")
    stages: dict[str, dict[str, Any]] = yaml.safe_load(text)["stages"]
    return stages


def test_every_stage_was_watched(smoke: Smoke, declared: dict[str, Any]) -> None:
    assert {file.stem for file in smoke.reads.glob("*.files")} == set(declared)
    for stage in declared:
        files = read_files(smoke, stage)
        assert f"stages/{stage.split('@')[0]}/__main__.py" in files
        assert "TOO MANY EVENTS" not in files


def test_a_stage_reads_nothing_that_it_does_not_declare(
    smoke: Smoke, declared: dict[str, Any]
) -> None:
    for stage, entry in declared.items():
        deps = {dep["path"] for dep in entry["deps"]}
        undeclared = {path for path in read_files(smoke, stage) if not is_below(path, deps)}
        assert {path for path in undeclared if not path.startswith(PLUMBING)} <= set(ALLOWED), stage


def test_a_stage_reads_all_that_it_declares(smoke: Smoke, declared: dict[str, Any]) -> None:
    for stage, entry in declared.items():
        read = read_files(smoke, stage)
        deps = {dep["path"] for dep in entry["deps"]}
        unread = {dep for dep in deps if not any(is_below(path, {dep}) for path in read)}
        assert unread <= set(UNREAD), stage


# Params


def keys_of_fields(model: type[Model], key: str) -> Iterator[tuple[str, str]]:
    """For each field of a params' model `module.Class field`, and its dotted key."""
    name = f"{model.__module__}.{model.__qualname__}"
    for field, info in model.model_fields.items():
        # The list `models` has a name of its own in its block.
        dotted = key if key == "models" else f"{key}.{field}"
        yield f"{name} {field}", dotted
        for kind in (info.annotation, *get_args(info.annotation)):
            if inspect.isclass(kind) and issubclass(kind, Model):
                yield from keys_of_fields(kind, dotted)


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """The key in params.yaml of every field of every params' model."""
    kinds = [*BLOCKS, *(architecture(model).params for model in MODELS)]
    return {field: key for kind in kinds for field, key in keys_of_fields(kind, kind.key)}


def read_keys(smoke: Smoke, stage: str, keys: dict[str, str]) -> set[str]:
    lines = (smoke.reads / f"{stage}.params").read_text(encoding="utf-8").splitlines()
    # Other models than those of params.yaml are validated too: a report's kept runs, for one.
    read = {keys[line] for line in lines if line in keys}
    assert all(line in keys or ".params." not in line for line in lines)
    return read


def is_part(key: str, wholes: set[str]) -> bool:
    return any(key == whole or key.startswith(f"{whole}.") for whole in wholes)


def test_a_stage_asks_for_no_parameter_that_it_does_not_declare(
    smoke: Smoke, declared: dict[str, Any], keys: dict[str, str]
) -> None:
    for stage, entry in declared.items():
        listed = set(entry["params"]["params.yaml"])
        # To ask for a block on the way to a key is no more than to ask for the key. A prediction
        # has the model's own block from its card, data/models/<name>.json, which it declares.
        card = {stage.removeprefix("predict@")} if stage.startswith("predict@") else set()
        undeclared = {
            key
            for key in read_keys(smoke, stage, keys)
            if not is_part(key, listed | card)
            and not any(is_part(whole, {key}) for whole in listed)
        }
        assert undeclared == set(), stage


def test_a_stage_asks_for_every_parameter_that_it_declares(
    smoke: Smoke, declared: dict[str, Any], keys: dict[str, str]
) -> None:
    blocks = {key.rpartition(".")[0] for key in keys.values()}
    for stage, entry in declared.items():
        listed = set(entry["params"]["params.yaml"])
        leaves = {key for key in keys.values() if is_part(key, listed) and key not in blocks}
        assert leaves, stage
        assert leaves - read_keys(smoke, stage, keys) <= set(UNASKED), stage


def test_params_reach_a_stage_through_their_models_alone() -> None:
    """What the two tests above see is all: no stage's code handles the file itself."""
    imports = grimp.build_graph(*PACKAGES, cache_dir=None)
    readers = imports.find_modules_that_directly_import("monuseg.core.params")
    for reader in readers:
        if reader.startswith("tools.") or reader.endswith(".params"):
            continue
        source = REPOSITORY / f"{reader.replace('.', '/')}.py"
        tree = ast.parse(source.read_text(encoding="utf-8"))
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert not imported & {"read_params", "parse_yaml"}, reader
