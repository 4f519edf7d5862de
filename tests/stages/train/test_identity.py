"""The key of a training changes with each thing that can change its bytes."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stages.train import identity
from stages.train.identity import training_key
from stages.train.params import TrainParams

PARAMS = TrainParams.load()
CODE = "rate = 1\n"


class Inputs:
    """The inputs of a key, in folders that a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = PARAMS
        self.initial = [np.zeros((2, 3), np.float32), np.ones(3, np.float32)]
        self.folders = [folder / "train", folder / "validation"]
        for tiles in self.folders:
            tiles.mkdir(parents=True)
            np.save(tiles / "a.image.npy", np.arange(48, dtype=np.uint8))
        (folder / "stages").mkdir()
        (folder / "stages/lazy.py").write_text(CODE)
        (folder / "compute.txt").write_text("numpy==1  # why\nno-such-package==2\n")

    def key(self) -> str:
        """The key of what they are now."""
        return training_key([self.params.model_dump(mode="json")], self.initial, self.folders)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    made = Inputs(tmp_path)
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    monkeypatch.setattr(identity, "COMPUTE", tmp_path / "compute.txt")
    lazy = ModuleType("stages.lazy")
    lazy.__file__ = str(tmp_path / "stages/lazy.py")
    monkeypatch.setitem(sys.modules, "stages.lazy", lazy)
    return made


def test_the_same_inputs_elsewhere_have_the_same_key(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inputs.key()
    assert len(before) == 64
    elsewhere = inputs.folder / "elsewhere"
    for name in ("train", "validation", "stages"):
        shutil.copytree(inputs.folder / name, elsewhere / name)
    inputs.folders = [elsewhere / "train", elsewhere / "validation"]
    monkeypatch.setattr(identity, "ROOT", elsewhere)
    monkeypatch.setattr(sys.modules["stages.lazy"], "__file__", str(elsewhere / "stages/lazy.py"))
    assert inputs.key() == before


def a_parameter(inputs: Inputs) -> None:
    inputs.params = PARAMS.model_copy(update={"weight_decay": PARAMS.weight_decay * 1.001})


def how_crops_are_bent(inputs: Inputs) -> None:
    augmentation = PARAMS.augmentation.model_copy(update={"elastic": 1e-3})
    inputs.params = PARAMS.model_copy(update={"augmentation": augmentation})


def where_crops_are_cut(inputs: Inputs) -> None:
    sampling = PARAMS.sampling.model_copy(update={"nuclei": 1e-3})
    inputs.params = PARAMS.model_copy(update={"sampling": sampling})


def one_byte_of_an_array(inputs: Inputs) -> None:
    file = inputs.folders[0] / "a.image.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def one_byte_of_a_validation_array(inputs: Inputs) -> None:
    inputs.folders.reverse()
    one_byte_of_an_array(inputs)
    inputs.folders.reverse()


def the_name_of_an_array(inputs: Inputs) -> None:
    (inputs.folders[0] / "a.image.npy").rename(inputs.folders[0] / "b.image.npy")


def one_array_more(inputs: Inputs) -> None:
    shutil.copy(inputs.folders[0] / "a.image.npy", inputs.folders[0] / "b.image.npy")


def one_line_of_code(inputs: Inputs) -> None:
    (inputs.folder / "stages/lazy.py").write_text(CODE + "rate = 2\n")


def one_initial_weight(inputs: Inputs) -> None:
    inputs.initial[1][2] += 1e-6


def the_shape_of_initial_weights(inputs: Inputs) -> None:
    inputs.initial[0] = inputs.initial[0].T


@pytest.mark.parametrize(
    "change",
    [
        a_parameter,
        how_crops_are_bent,
        where_crops_are_cut,
        one_byte_of_an_array,
        one_byte_of_a_validation_array,
        the_name_of_an_array,
        one_array_more,
        one_line_of_code,
        one_initial_weight,
        the_shape_of_initial_weights,
    ],
)
def test_another_key_after(change, inputs: Inputs) -> None:
    before = inputs.key()
    change(inputs)
    assert inputs.key() != before


def test_another_version_of_what_computes_is_another_key(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inputs.key()
    installed = identity.importlib.metadata.version
    monkeypatch.setattr(
        identity.importlib.metadata, "version",
        lambda name: "0" if name == "numpy" else installed(name),
    )  # fmt: skip
    assert inputs.key() != before


def test_versions_are_those_installed_of_the_packages_named(inputs: Inputs) -> None:
    assert identity._versions() == {"numpy": np.__version__, "no-such-package": None}


def test_code_is_that_of_the_project_as_loaded(inputs: Inputs) -> None:
    assert list(identity.code()) == ["stages/lazy.py"]


def test_the_projects_own_code_is_found() -> None:
    found = identity.code()
    assert {"stages/train/identity.py", "stages/train/params.py", "monuseg/__init__.py"} <= set(
        found
    )
    assert not any(name.startswith("monuseg/core/") for name in found)
