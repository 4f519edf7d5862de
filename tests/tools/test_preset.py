"""Tests of `tools.preset`."""

import argparse
import difflib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.params import parse_yaml, read_params
from stages.train.params import TrainParams
from tests.repository import PACKAGES
from tools import preset
from tools.preset import PRESETS, changed

COMMITTED = (Path(__file__).resolve().parents[2] / "params.yaml").read_text(encoding="utf-8")
NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


def apply(name: str, *changes: str) -> str:
    """The text of params.yaml after `python -m tools.preset NAME [key=value ...]`."""
    preset.main(argparse.Namespace(name=name, changes=list(changes)))
    return Path("params.yaml").read_text(encoding="utf-8")


def merged(base: Any, top: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    return {key: merged(base[key], top.get(key, base[key])) for key in base}


def leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, content


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def differing(old: str, new: str) -> list[str]:
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [line[2:] for line in lines if line.startswith("+ ")]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_goes_onto_the_committed_parameters(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = parse_yaml((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    before = parse_yaml(COMMITTED)
    known = {key for key, _ in leaves(before)}
    assert {key for key, _ in leaves(wanted)} <= known
    text = apply(name)
    assert parse_yaml(text) == merged(before, wanted)
    assert comments(text) == comments(COMMITTED)
    # What is printed is what is another value now, and no other line of the file is touched.
    others = [(key, value) for key, value in leaves(wanted) if dict(leaves(before))[key] != value]
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == [key for key, _ in others]
    assert printed
    if not any(isinstance(value, list) and isinstance(value[0], dict) for _, value in others):
        assert len(differing(COMMITTED, text)) == len(others)
    # Again: nothing is left to do.
    assert apply(name) == text
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("project")
def test_default_is_no_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert apply("default") == COMMITTED
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("change", "value", "line"),
    [
        ("unet.width=32", 32, "  width: 32"),
        ("unet.learning_rate=1e-4", 0.0001, "  learning_rate: "),
        ("train.xla=on", "on", "  xla: on "),
        ("train.deterministic=false", False, "  deterministic: false "),
        ("evaluate.threshold=0.5", 0.5, "  threshold: 0.5 "),
        ("evaluate.splits=[train, validation]", ["train", "validation"], "  splits: ["),
        ("evaluate.nuclei.smoothing=[1.5]", [1.5], "    smoothing: [1.5] "),
        ("tile.validation.images=[a, b]", ["a", "b"], "    images: [a, b] "),
        ("dataset.synthetic.organs=[lung]", ["lung"], "    organs: [lung]"),
    ],
)
def test_a_single_value_changes_a_single_line(
    change: str, value: object, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = apply("default", change)
    (new,) = differing(COMMITTED, text)
    assert new.startswith(line)
    assert comments(text) == comments(COMMITTED)
    key = change.partition("=")[0]
    assert dict(leaves(parse_yaml(text)))[key] == value
    assert capsys.readouterr().out.startswith(f"{key}: ")


def test_a_list_of_archives_stands_in_lines() -> None:
    archives = [{"name": "a.zip", "url": "https://host/a", "sha256": None}]
    text, _ = changed(COMMITTED, [("dataset.url.archives", archives)])
    assert parse_yaml(text)["dataset"]["url"]["archives"] == archives
    assert "    archives:\n      - name: a.zip\n        url: https://host/a\n" in text


@pytest.mark.usefixtures("project")
def test_values_come_on_top_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    apply("smoke", "train.epochs=7", "train.epochs=9")
    assert TrainParams.load().epochs == 9
    printed = capsys.readouterr().out.splitlines()
    assert "train.epochs: 8 -> 2" in printed
    assert printed[-2:] == ["train.epochs: 2 -> 7", "train.epochs: 7 -> 9"]


@pytest.mark.usefixtures("project")
def test_other_models_need_another_dvc_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    apply("default", "models=[unet]")
    assert "python -m tools.check" in capsys.readouterr().out
    apply("default", "models=[unet]", "train.seed=5")
    assert "dvc.yaml" not in capsys.readouterr().out


def test_text_after_a_value_is_quoted_where_yaml_needs_it() -> None:
    text, applied = changed(COMMITTED, [("train.xla", "no: yes # x")])
    assert parse_yaml(text)["train"]["xla"] == "no: yes # x"
    assert applied == ['train.xla: "auto" -> "no: yes # x"']


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("default", ["train.epoch=3"], "params.yaml has no key train.epoch; keys are dotted"),
        ("default", ["epochs=3"], "params.yaml has no key epochs"),
        ("default", ["unet.width.x=3"], "params.yaml has no key unet.width.x"),
        ("default", ["train.no.such=3"], "params.yaml has no key train.no.such"),
        ("default", ["=3"], "params.yaml has no key"),
        ("default", ["train.epochs"], "'train.epochs' is not key=value"),
        ("default", ["evaluate.splits=[train"], "the value is not YAML"),
        ("default", ["train.epochs=many"], "params.yaml: train.epochs: "),
        ("default", ["tile.stride=300"], "params.yaml: tile: a stride above the size"),
        ("default", ["models=[no_such]"], "models: 'no_such'"),
        ("default", ["train.epochs=3", "train.x=3"], "params.yaml has no key train.x"),
        ("smoke", ["train.x=3"], "params.yaml has no key train.x"),
        ("no-such", [], "there is no preset 'no-such'; the presets are default, monuseg, "),
        ("../smoke", [], "there is no preset"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_the_file_as_it_was(
    name: str, changes: list[str], said: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        apply(name, *changes)
    assert said in str(caught.value)
    assert ".writing-" not in str(caught.value)
    assert {path.name for path in Path().iterdir()} == {"params.yaml", "dvc.yaml", *PACKAGES}
    assert Path("params.yaml").read_text(encoding="utf-8") == COMMITTED


@pytest.mark.usefixtures("project")
def test_line_ends_and_letters_beyond_ascii_stay() -> None:
    file = Path("params.yaml")
    file.write_text(COMMITTED.replace("# pixels", "# µm², größer"), encoding="utf-8")
    apply("smoke")
    assert "# µm², größer" in file.read_text(encoding="utf-8")
    assert b"\r" not in file.read_bytes()
    assert read_params()["tile"]["size"] == 64


@pytest.mark.usefixtures("project")
def test_params_are_put_back_to_the_byte_and_with_their_mode() -> None:
    path = Path("params.yaml")
    before = path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(before)
    path.chmod(0o600)
    with pytest.raises(PipelineError, match="no training"), preset.params_put_back():
        apply("default", "train.seed=7")
        assert read_params()["train"]["seed"] == 7
        raise PipelineError("no training")
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


PUT_BACK = """
import os, signal, time
from contextlib import contextmanager
from monuseg.core.supervision import supervised
from tools import preset

real = preset.replacing

@contextmanager
def signalled(place):
    with real(place) as temporary:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)  # the handler runs here
        yield temporary

with supervised(), preset.params_put_back():
    preset.apply([("train.seed", 7)])
    preset.replacing = signalled
"""


@pytest.mark.usefixtures("project")
def test_a_signal_while_params_are_put_back_comes_after_that() -> None:
    before = Path("params.yaml").read_bytes()
    done = subprocess.run([sys.executable, "-c", PUT_BACK], capture_output=True, text=True)
    assert "interrupted by SIGTERM" in done.stderr
    assert Path("params.yaml").read_bytes() == before
