"""The package: what it needs is pinned, and its wheel holds the library and nothing else."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement

from tests.repository import PACKAGES, REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"^([\w.\[\]-]+)==([^\s#]+)", re.MULTILINE)
# Where the package's name is not the module's.
MODULES = {
    "opencv-python-headless": "cv2",
    "openslide-python": "openslide",
    "pillow": "PIL",
    "ruamel.yaml": "ruamel",
    "scikit-image": "skimage",
}


def pins(*files: str) -> dict[str, str]:
    """The pinned version of each package in some requirements files."""
    text = "".join((REPOSITORY / file).read_text(encoding="utf-8") for file in files)
    return {name.split("[")[0].lower(): version for name, version in PIN.findall(text)}


def needed(specifications: list[str]) -> list[Requirement]:
    return [Requirement(text) for text in specifications]


def test_what_the_package_needs_is_pinned_within_its_ranges() -> None:
    pinned = pins("requirements.txt", "requirements-compute.txt")
    for requirement in needed(PROJECT["dependencies"]):
        assert requirement.name in pinned, requirement
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
    tested = pinned | pins("requirements-dev.txt")
    for extra in PROJECT["optional-dependencies"].values():
        for requirement in needed(extra):
            assert requirement.name in tested, requirement
            assert requirement.specifier.contains(tested[requirement.name]), requirement


def test_what_the_library_imports_is_what_the_package_needs() -> None:
    graph = grimp.build_graph("monuseg", include_external_packages=True, cache_dir=None)
    imported = {
        module
        for module in graph.modules
        if graph.is_module_squashed(module) and module not in sys.stdlib_module_names
    }
    # Other back ends, and what is imported only where a setting asks for it.
    optional = {"tensorflow", "jax", "torch", "distributed", "pyarrow", "shapely"}
    optional |= {"aiohttp", "fsspec"}
    # Comes with pydantic.
    optional.add("pydantic_core")
    names = [requirement.name for requirement in needed(PROJECT["dependencies"])]
    modules = {MODULES.get(name, name) for name in names}
    assert imported - optional <= modules
    # h5py is Keras's own way to weights; openslide-bin is the library that openslide loads.
    assert modules - imported <= {"h5py", "openslide-bin"}


def test_indirect_dependencies_are_pinned_too() -> None:
    constraints = pins("constraints.txt")
    files = [path.name for path in REPOSITORY.glob("requirements*.txt")]
    direct = pins(*files)
    assert {name: constraints.get(name) for name in direct if name in constraints} == {
        name: version for name, version in direct.items() if name in constraints
    }
    for file in ("requirements.txt", "requirements-compute.txt", "requirements-dev.txt"):
        assert set(pins(file)) <= set(constraints), file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of a copy of the package."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "."]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (path,) = copy.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_library_alone(wheel: zipfile.ZipFile) -> None:
    names = {Path(name).parts[0] for name in wheel.namelist()}
    assert names == {"monuseg", f"monuseg-{PROJECT['version']}.dist-info"}
    modules = {name for name in wheel.namelist() if name.endswith(".py")}
    assert {"monuseg/__main__.py", "monuseg/models/unet/network.py"} <= modules


def test_its_one_console_script_is_monuseg(wheel: zipfile.ZipFile) -> None:
    (file,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert wheel.read(file).decode().split() == [
        "[console_scripts]", "monuseg", "=", "monuseg.__main__:main",
    ]  # fmt: skip
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
