"""Bring dvc.yaml's lists up to date with the code: `python -m stages.graph [--write]`.

DVC hashes the dependencies that dvc.yaml lists and does not follow imports. Here each stage's
imports are followed, and what they say is compared with what is listed, or written.
"""

import argparse
import ast
import importlib
import inspect
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.command import parser, run
from stages.errors import PipelineError
from stages.files import write_text
from stages.params.block import Block, read_params
from stages.params.model import is_model
from stages.paths import PARAMS

PACKAGE = "stages"
DVC_YAML = Path("dvc.yaml")
REGISTRY = Path("stages/models/registry.py")
MODEL_FILES = Path("stages/models")
PARAMS_FILES = Path("stages/params")
BACKEND = Path("stages/backend.py")
# These import by names that only a run knows: models, whose code `_models_code` lists; frameworks.
BY_NAME = frozenset({REGISTRY, BACKEND})
IMPORTERS = frozenset({"import_module", "__import__", "run_module", "run_path"})
ENSEMBLE_ROW = "ensemble"
BASELINE_ROW = "otsu"
ITEM_CODE = "${item.code}"  # the file or folder of the model that a stage is made for


def main(arguments: argparse.Namespace) -> None:
    """Compare dvc.yaml with what the code says, or write it."""
    text = DVC_YAML.read_text(encoding="utf-8")
    updated = updated_graph(text, model_names())
    if updated == text:
        return
    if not arguments.write:
        old, new = text.splitlines(), updated.splitlines()
        line = next((n for n, (a, b) in enumerate(zip(old, new, strict=False), 1) if a != b), 0)
        raise PipelineError(
            f"{DVC_YAML}, line {line or min(len(old), len(new)) + 1}: not what the code imports; "
            "run `python -m stages.graph --write`, then `dvc repro`"
        )
    write_text(DVC_YAML, updated)


def row_names(models: Sequence[str]) -> list[str]:
    """The rows that are evaluated: the models, their mean, and the baseline."""
    return [*models, ENSEMBLE_ROW, BASELINE_ROW]


def model_names(params: Path = PARAMS) -> list[str]:
    """The list `models` of a params file.

    Raises:
        PipelineError: it is no list of distinct names of modules in stages/models.
    """
    names = read_params(params).get("models")
    if not isinstance(names, list) or not names:
        raise PipelineError("params.yaml: models: expected a list of at least one model")
    for name in names:
        if not is_model(name) or names.count(name) > 1:
            raise PipelineError(
                f"params.yaml: models: {name!r} is listed twice or has no stages/models/{name}.py"
            )
    return names


def updated_graph(text: str, models: list[str]) -> str:
    """The text of dvc.yaml with every generated list made anew; comments stay.

    Args:
        text: of dvc.yaml.
        models: names of the models.
    """
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(text)
    rows = row_names(models)
    content["vars"][0]["networks"] = {model: _network(model) for model in models}
    content["vars"][1]["rows"][:] = rows
    for name, entry in content["stages"].items():
        stage = entry.get("do", entry)
        module = stage["cmd"].split()[2]
        code = closure(module)
        listed = [dep for dep in stage.get("deps", []) if not _is_code(dep)]
        if name == "report":
            listed = [dep for dep in listed if not _is_of_a_row(dep)] + _files_of_rows(models, rows)
        if name == "ensemble":
            listed = ["data/splits.csv", *(f"data/predictions/{model}" for model in models)]
        own = _models_code(code, models) if REGISTRY in code else []
        stage["deps"] = sorted(listed) + sorted({*map(str, code), *own})
        keys = [key for block in blocks(code) for key in block.dvc_keys()]
        if keys:
            stage["params"] = sorted(keys)
        else:
            stage.pop("params", None)
    content["metrics"] = [f"metrics/{row}.json" for row in rows]
    content["plots"] = _plots(models)
    content["artifacts"] = {model: _artifact(model) for model in models}
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def closure(module: str) -> set[Path]:
    """The files of the project that importing a module loads, directly or through others.

    Imports within functions count too, and so do the `__init__.py` of every package on the way and
    `importlib.import_module` of a name that stands there. Models, which are looked up by name, do
    not.

    Raises:
        PipelineError: an import that cannot be followed.
    """
    found: set[Path] = set()
    pending = [module]
    while pending:
        for file in _files_of(pending.pop()):
            if file not in found:
                found.add(file)
                pending.extend(_imported(file))
    return found


def _files_of(module: str) -> Iterable[Path]:
    """The module's file and the `__init__.py` of the packages above it; none if it is no module."""
    parts = module.split(".")
    path = Path(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if parts[0] != PACKAGE or not file.is_file():
        return []
    packages = [Path(*parts[:depth]) / "__init__.py" for depth in range(1, len(parts))]
    return [*packages, file]


def _imported(file: Path) -> Iterable[str]:
    """What a file's import statements name; `from a import b` may mean the module a.b or not."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise PipelineError(f"{file}, line {node.lineno}: write the import in full")
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in IMPORTERS:
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value
            elif file not in BY_NAME:
                raise PipelineError(
                    f"{file}, line {node.lineno}: an import that dvc.yaml's lists cannot follow; "
                    "write it as a statement, or with the name in full"
                )


def _called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    called = call.func
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""


def blocks(code: Iterable[Path]) -> list[type[Block]]:
    """The blocks of params.yaml that the modules among some files define, by name of the file."""
    found = []
    for file in sorted(code):
        if file.parent != PARAMS_FILES or file.name == "__init__.py":
            continue
        name = ".".join(file.with_suffix("").parts)
        for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(kind, Block) and kind.__module__ == name and "key" in vars(kind):
                found.append(kind)
    return found


def _models_code(code: set[Path], models: list[str]) -> set[str]:
    """The item's own code, and what the listed models' modules import besides their own."""
    shared: set[Path] = set()
    for model in models:
        for file in closure(f"{PACKAGE}.models.{model}") - _own_files(model):
            owner = next((other for other in models if file in _own_files(other)), None)
            if owner:
                raise PipelineError(
                    f"{_code_of(model)} imports {file}, which is {owner}'s own; move what they "
                    f"share to a module beside them in {MODEL_FILES}"
                )
            shared.add(file)
    return {ITEM_CODE, *map(str, shared - code)}


def _network(model: str) -> dict[str, str]:
    """What the stages of each model are made for, as `item`."""
    return {"model": model, "code": str(_code_of(model))}


def _code_of(model: str) -> Path:
    """A model's file, or its folder if it has several files."""
    folder = MODEL_FILES / model
    return folder if (folder / "__init__.py").is_file() else folder.with_suffix(".py")


def _own_files(model: str) -> set[Path]:
    code = _code_of(model)
    return set(code.rglob("*.py")) if code.is_dir() else {code}


def _files_of_rows(models: list[str], rows: list[str]) -> list[str]:
    """What `report` reads of each row; of the baseline it shows no nuclei."""
    return [
        *(f"data/nuclei/{row}" for row in rows if row != BASELINE_ROW),
        *(f"metrics/{row}.json" for row in rows),
        *(f"metrics/detail/{row}.json" for row in rows),
        *(f"metrics/per_image/{row}.csv" for row in rows),
        *(f"metrics/history/{model}.csv" for model in models),
    ]


def _is_code(dependency: str) -> bool:
    return dependency == ITEM_CODE or dependency.startswith(f"{PACKAGE}/")


def _is_of_a_row(dependency: str) -> bool:
    path = Path(dependency)
    folders = ("data/nuclei", "metrics", "metrics/detail", "metrics/history", "metrics/per_image")
    return str(path.parent) in folders and dependency != "metrics/reference"


def _plots(models: list[str]) -> list[dict[str, Any]]:
    titles = {
        "objective": "Training objective",
        "validation_loss": "Validation loss",
        "validation_dice": "Validation Dice",
    }
    return [
        {
            title: {
                "x": "epoch",
                "y": {f"metrics/history/{model}.csv": column for model in models},
                "title": title,
                "x_label": "epoch",
                "y_label": column,
            }
        }
        for column, title in titles.items()
    ]


def _artifact(model: str) -> dict[str, Any]:
    return {
        "path": f"data/models/{model}.weights.h5",
        "type": "model",
        "desc": f"Weights of {model}; data/models/{model}.json says how to rebuild and apply it",
        "labels": ["segmentation", "nuclei", "h-and-e"],
    }


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("--write", action="store_true", help="write dvc.yaml instead of comparing")
    run(main, command.parse_args())
