"""Tests of `stages.graph`: what dvc.yaml lists is what the code imports."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import graph
from stages.errors import PipelineError
from stages.graph import blocks, closure, model_names, updated_graph
from stages.params.block import parse_yaml

ROOT = Path(__file__).resolve().parents[1]
STAGES = sorted(
    [
        *("download", "extract", "masks", "tile", "train", "predict", "ensemble", "baseline"),
        *("evaluate", "report"),
    ]
)

Content = dict[str, Any]


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> str:
    """The committed dvc.yaml, with the project's folder as the current one."""
    monkeypatch.chdir(ROOT)
    return (ROOT / "dvc.yaml").read_text(encoding="utf-8")


@pytest.fixture
def copy(project: Path) -> Path:
    """A project with code of its own, to be changed, and the committed dvc.yaml."""
    (project / "stages").unlink()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "stages", project / "stages", ignore=ignored)
    shutil.copy(ROOT / "dvc.yaml", project)
    return project


def append(file: Path, code: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + code, encoding="utf-8")


def updated(folder: Path, models: list[str] | None = None) -> Content:
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    content: Content = parse_yaml(updated_graph(text, models or model_names()))
    return content


def stages_of(content: Content) -> Content:
    """Each stage, of those that are made for every model what each is made as."""
    return {name: stage.get("do", stage) for name, stage in content["stages"].items()}


def code_of(content: Content, stage: str) -> set[str]:
    return {dep for dep in stages_of(content)[stage]["deps"] if dep.startswith("stages/")}


def changed_stages(before: Content, after: Content) -> set[str]:
    return {name for name in STAGES if stages_of(before)[name] != stages_of(after)[name]}


# The committed graph


def test_dvc_yaml_lists_what_the_code_imports(text: str) -> None:
    assert updated_graph(text, model_names()) == text


def test_there_is_a_module_for_each_stage(text: str) -> None:
    content = parse_yaml(text)
    assert sorted(stages_of(content)) == STAGES
    for name, stage in stages_of(content).items():
        words = stage["cmd"].split()
        assert words[:3] == ["python", "-m", f"stages.{name}"]
        assert f"stages/{name}.py" in stage["deps"]


def test_each_stage_tracks_the_blocks_that_it_reads(text: str) -> None:
    params = {name: stage["params"] for name, stage in stages_of(parse_yaml(text)).items()}
    train = params.pop("train")
    assert params == {
        "download": ["dataset.${dataset.source}", "dataset.source"],
        "extract": ["extract"],
        "masks": ["masks"],
        "tile": ["tile"],
        "predict": ["predict"],
        "ensemble": ["models"],
        "baseline": ["baseline"],
        "evaluate": ["evaluate"],
        "report": ["evaluate.bootstrap", "evaluate.seed", "models", "report"],
    }
    assert {"train.${item.model}", "train.augmentation", "train.seed"} <= set(train)
    assert all(key.startswith("train.") for key in train)
    # A model's own block in full would make it stale with the other models.
    assert not any(key.startswith("train.unet") for key in train)


def test_every_data_dependency_is_an_output_of_another_stage(text: str) -> None:
    content = parse_yaml(text)
    outs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in stages_of(content).values()
        for out in stage["outs"]
    }
    rows = content["vars"][1]["rows"]
    models = [row for row in rows if row != graph.BASELINE_ROW]
    made = {out.replace("${item.model}", model) for out in outs for model in models}
    made |= {out.replace("${item.row}", row) for out in outs for row in rows}
    made |= {out.replace("${item.model}", "${item.row}") for out in outs}
    read = {
        dep
        for stage in stages_of(content).values()
        for dep in stage["deps"]
        if not dep.startswith(("stages/", "requirements", graph.ITEM_CODE))
    }
    assert read - {"metrics/reference"} <= made | outs


def test_training_never_reads_test_images(text: str) -> None:
    deps = stages_of(parse_yaml(text))["train"]["deps"]
    data = [dep for dep in deps if dep.startswith("data/")]
    assert data == ["data/tiles/train", "data/tiles/validation"]


def test_scoring_and_data_set_import_no_keras() -> None:
    for folder in ("dataset", "scoring"):
        for file in sorted((ROOT / "stages" / folder).rglob("*.py")):
            assert "keras" not in set(graph._imported(file)), file


@pytest.mark.parametrize("stage", ["download", "masks", "evaluate"])
def test_what_python_loads_is_what_is_listed(stage: str, text: str) -> None:
    code = (
        f"import sys, stages.{stage}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'stages'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {str(Path(file).relative_to(ROOT)) for file in ended.stdout.split()}
    listed = code_of(parse_yaml(text), stage)
    assert f"stages/{stage}.py" in loaded
    assert loaded <= listed
    # What is listed besides is imported within a function: seen in the source of a listed file.
    lazy = {name for file in loaded for name in graph._imported(Path(file))}
    assert listed - loaded <= set(map(str, set().union(*map(closure, lazy))))


def test_comments_stay_and_a_second_pass_changes_nothing(copy: Path) -> None:
    text = (copy / "dvc.yaml").read_text(encoding="utf-8")
    append(copy / "stages/masks.py", "from stages.dataset import tiles\n")
    once = updated_graph(text, model_names())
    assert once != text
    assert updated_graph(once, model_names()) == once
    assert [line for line in once.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ]


# Which files an import statement means


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """The closure of stages.start in a folder of files that are given by name and text."""
    monkeypatch.chdir(tmp_path)

    def made(**files: str) -> set[str]:
        for name, code in files.items():
            path = tmp_path / "stages" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
        found = {path.relative_to("stages").as_posix() for path in closure("stages.start")}
        assert {"__init__.py", "start.py"} <= found
        return found - {"__init__.py", "start.py"}

    return made


@pytest.mark.parametrize(
    "statement",
    [
        "import stages.a.one",
        "import os, stages.a.one as one",
        "from stages.a import one",
        "from stages.a.one import anything",
        "from stages.a.one import *",
        "def f():\n    from stages.a.one import anything\n",
        "if TYPE_CHECKING:\n    from stages.a import one\n",
        "try:\n    import stages.a.one\nexcept ImportError:\n    pass\n",
        "class A:\n    def f(self):\n        import stages.a.one\n",
        "from stages.middle import x",
    ],
)
def test_every_way_of_importing_counts(package: Callable[..., set[str]], statement: str) -> None:
    found = package(
        start=statement, a__one="X = 1", a__two="Y = 1", middle="import stages.a.one\nx = 1"
    )
    assert found - {"middle.py"} == {"a/__init__.py", "a/one.py"}


def test_names_in_a_module_and_other_packages_are_no_files(
    package: Callable[..., set[str]],
) -> None:
    start = "import os\nimport numpy.linalg\nfrom stagesx import a\nfrom stages.one import a, two\n"
    assert package(start=start, one="a = two = 1", two="") == {"one.py"}


def test_importing_a_package_runs_its_init_and_what_that_imports(
    package: Callable[..., set[str]], tmp_path: Path
) -> None:
    package(start="import stages.a", a__one="", b__deep__two="")
    (tmp_path / "stages/a/__init__.py").write_text("from stages.b.deep import two\n")
    assert {path.as_posix() for path in closure("stages.start")} == {
        "stages/__init__.py",
        "stages/start.py",
        "stages/a/__init__.py",
        "stages/b/__init__.py",
        "stages/b/deep/__init__.py",
        "stages/b/deep/two.py",
    }


def test_modules_that_import_each_other_come_to_an_end(package: Callable[..., set[str]]) -> None:
    assert package(start="import stages.one", one="import stages.two", two="import stages.one") == {
        "one.py",
        "two.py",
    }


@pytest.mark.parametrize("statement", ["from . import one", "from .one import x"])
def test_a_relative_import_is_refused_by_file_and_line(
    package: Callable[..., set[str]], statement: str
) -> None:
    with pytest.raises(PipelineError, match=r"stages/start\.py, line 2: write the import in full"):
        package(start=f"import os\n{statement}\n", one="x = 1")


# What a change of the code changes in the lists


def test_a_new_import_lists_the_module_what_it_imports_and_its_block(copy: Path) -> None:
    before = updated(copy)
    append(
        copy / "stages/extract.py",
        "\n\ndef late() -> None:\n    from stages.dataset import rasterise\n    rasterise\n",
    )
    after = updated(copy)
    assert changed_stages(before, after) == {"extract"}
    assert code_of(after, "extract") - code_of(before, "extract") == {
        "stages/dataset/rasterise.py",
        "stages/params/masks.py",
    }
    assert stages_of(after)["extract"]["params"] == ["extract", "masks"]
    # Data that a stage reads stands by hand and stays.
    assert "data/archives" in stages_of(after)["extract"]["deps"]


def test_a_module_that_is_imported_no_more_is_listed_no_more(copy: Path) -> None:
    before = updated(copy)
    file = copy / "stages/masks.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace(
            "from stages.params.masks import", "from x import"
        ),
        encoding="utf-8",
    )
    (copy / "stages/dataset/rasterise.py").write_text("", encoding="utf-8")
    after = updated(copy)
    assert code_of(before, "masks") - code_of(after, "masks") == {
        "stages/params/block.py",
        "stages/params/masks.py",
    }
    assert "params" not in stages_of(after)["masks"]
    assert changed_stages(before, after) == {"masks"}


def test_another_model_adds_its_row_and_no_dependency_to_other_stages(copy: Path) -> None:
    before = updated(copy, ["unet"])
    folder = copy / "stages/models"
    shutil.copy(folder / "unet.py", folder / "tiny.py")
    after = updated(copy, ["unet", "tiny"])
    assert after["vars"][1]["rows"] == ["unet", "tiny", "ensemble", "otsu"]
    assert after["vars"][0]["networks"] == {
        model: {"model": model, "code": f"stages/models/{model}.py"} for model in ("unet", "tiny")
    }
    assert after["metrics"] == [
        f"metrics/{row}.json" for row in ("unet", "tiny", "ensemble", "otsu")
    ]
    assert list(after["artifacts"]) == ["unet", "tiny"]
    assert after["artifacts"]["tiny"]["path"] == "data/models/tiny.weights.h5"
    for plot in after["plots"]:
        (options,) = plot.values()
        assert list(options["y"]) == ["metrics/history/unet.csv", "metrics/history/tiny.csv"]
    added = set(stages_of(after)["report"]["deps"]) - set(stages_of(before)["report"]["deps"])
    assert added == {
        "data/nuclei/tiny",
        "metrics/tiny.json",
        "metrics/detail/tiny.json",
        "metrics/per_image/tiny.csv",
        "metrics/history/tiny.csv",
    }
    # The model's own module comes in by its name: no other model's stage depends on it.
    assert changed_stages(before, after) == {"ensemble", "report"}
    members = ["data/predictions/unet", "data/predictions/tiny", "data/splits.csv"]
    assert set(members) <= set(stages_of(after)["ensemble"]["deps"])
    for stage in ("train", "predict"):
        assert graph.ITEM_CODE in stages_of(after)[stage]["deps"]
        assert "stages/models/unet.py" not in stages_of(after)[stage]["deps"]
    # And away again.
    (copy / "dvc.yaml").write_text(
        updated_graph((copy / "dvc.yaml").read_text(encoding="utf-8"), ["unet", "tiny"])
    )
    assert updated(copy, ["unet"]) == before


def test_what_a_model_imports_is_listed_where_models_run(copy: Path) -> None:
    before = updated(copy, ["unet"])
    (copy / "stages/models/pooling.py").write_text("SIZE = 2\n", encoding="utf-8")
    append(copy / "stages/models/unet.py", "from stages.models import pooling\n")
    after = updated(copy, ["unet"])
    assert changed_stages(before, after) == {"train", "predict"}
    for stage in ("train", "predict"):
        assert code_of(after, stage) - code_of(before, stage) == {"stages/models/pooling.py"}


def test_a_models_folder_is_listed_as_a_whole_and_for_that_model_only(copy: Path) -> None:
    before = updated(copy, ["unet"])
    folder = copy / "stages/models/large"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from stages.models import convolution, pooling\n"
        "from stages.models.large import encoder\n"
        "class Params: ...\n",
        encoding="utf-8",
    )
    (folder / "encoder.py").touch()
    (copy / "stages/models/pooling.py").touch()
    after = updated(copy, ["unet", "large"])
    assert after["vars"][0]["networks"]["large"]["code"] == "stages/models/large"
    for stage in ("train", "predict"):
        assert code_of(after, stage) - code_of(before, stage) == {"stages/models/pooling.py"}


def test_a_model_that_imports_anothers_own_code_is_refused(copy: Path) -> None:
    append(copy / "stages/models/segnet.py", "from stages.models.deeplabv3plus import head\n")
    with pytest.raises(PipelineError, match=r"segnet\.py imports .* deeplabv3plus's own; move"):
        updated(copy)


def test_blocks_are_those_that_a_module_itself_defines() -> None:
    files = [
        Path("stages/params") / f"{name}.py" for name in ("train", "runtime", "block", "model")
    ]
    assert [block.__name__ for block in blocks(files)] == ["TrainParams"]
    assert blocks([Path("stages/train.py"), Path("stages/params/__init__.py")]) == []


@pytest.mark.parametrize(
    "code",
    [
        "def late(importlib):\n    importlib.import_module('stages.dataset.aperio')\n",
        "from importlib import import_module\nimport_module('stages.dataset.aperio')\n",
        "__import__('stages.dataset.aperio')\n",
        "class Late:\n    from stages.dataset import aperio\n",
        "if True:\n    import stages.dataset.aperio as other\n",
    ],
)
def test_an_import_in_any_form_is_followed(copy: Path, code: str) -> None:
    before = closure("stages.baseline")
    append(copy / "stages/inference/otsu.py", code)
    added = closure("stages.baseline") - before
    assert Path("stages/dataset/aperio.py") in added
    # What that imports in turn, too.
    assert added == closure("stages.dataset.aperio") - before


def test_packages_on_the_way_count(copy: Path) -> None:
    (copy / "stages/dataset/__init__.py").write_text("import stages.scoring.pixels\n")
    assert {Path("stages/scoring/__init__.py"), Path("stages/scoring/pixels.py")} <= closure(
        "stages.masks"
    )


@pytest.mark.parametrize(
    "code",
    ["import_module(name)", "importlib.import_module(f'stages.{name}')", "runpy.run_path(x)"],
)
def test_an_import_that_nothing_can_follow_is_refused(copy: Path, code: str) -> None:
    append(copy / "stages/files.py", f"def late(name):\n    {code}\n")
    with pytest.raises(PipelineError, match=r"files\.py, line \d+: an import that .* in full"):
        updated(copy)


# The command


def run(*, write: bool) -> None:
    graph.main(argparse.Namespace(write=write))


def test_the_command_compares_and_writes(copy: Path) -> None:
    file = copy / "dvc.yaml"
    run(write=True)
    committed = file.read_text(encoding="utf-8")
    run(write=False)
    lines = committed.splitlines()
    number = lines.index("      - stages/command.py") + 1
    del lines[number - 1]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(PipelineError, match=rf"dvc\.yaml, line {number}: not what the code"):
        run(write=False)
    assert file.read_text(encoding="utf-8") != committed
    run(write=True)
    assert file.read_text(encoding="utf-8") == committed


def test_a_file_that_is_right_is_not_written(copy: Path) -> None:
    run(write=True)
    before = (copy / "dvc.yaml").stat()
    run(write=True)
    assert (copy / "dvc.yaml").stat().st_ino == before.st_ino
