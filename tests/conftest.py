"""Fixtures that tests of several folders share."""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.repository import PACKAGES, Project, Smoke, copy_of_the_repository

ROOT = Path(__file__).resolve().parents[1]

# Tests that import Keras without `configure` would read the developer's own keras.json.
_KERAS_HOME = tempfile.TemporaryDirectory()
os.environ["KERAS_HOME"] = _KERAS_HOME.name

# Always the same examples: what fails does so on every run, and for everybody. More of them, new
# ones each time: HYPOTHESIS_PROFILE=long.
settings.register_profile("short", derandomize=True, deadline=None)
settings.register_profile("long", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

SMOKE = "smoke"

SetParams = Callable[[dict[str, object]], None]


class OneSmokeRun(LoadFileScheduling):
    """Tests of one file go to one process, and all that share the smoke graph to the same.

    By files, since xdist 3.8 writes its groups where pytest 9 no longer looks for them.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return SMOKE if shares_smoke(ROOT / file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneSmokeRun:
    """Divide the tests between processes."""
    return OneSmokeRun(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what shares the smoke graph, which takes longest."""
    items.sort(key=lambda item: not shares_smoke(item.path))


@functools.cache
def shares_smoke(file: Path) -> bool:
    """Whether a file's tests run in the graph of the fixture `smoke`."""
    return "pytest.mark.graph" in file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of the real MoNuSeg archives; skips where MONUSEG_ARCHIVES names none."""
    folder = os.environ.get("MONUSEG_ARCHIVES")
    if not folder:
        pytest.skip("MONUSEG_ARCHIVES does not name the folder of the real archives")
    return Path(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the committed params.yaml, dvc.yaml and code, as the current folder.

    Parallel maps run in this process, where a test's own changes count.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    for package in PACKAGES:
        (folder / package).symlink_to(ROOT / package)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    monkeypatch.delenv("MONUSEG_SCHEDULER", raising=False)
    return folder


@pytest.fixture
def set_params(project: Path) -> SetParams:
    """Set values of the project's params.yaml by dotted key, keys that it does not have too."""
    file = project / "params.yaml"

    def change(values: dict[str, object]) -> None:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in values.items():
            *parents, last = key.split(".")
            block = content
            for parent in parents:
                block = block[parent]
            block[last] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """Run the graph at preset `smoke`, once; use `graph` to change anything in it."""
    caches, reads = tmp_path_factory.mktemp("caches"), tmp_path_factory.mktemp("reads")
    project = copy_of_the_repository(tmp_path_factory.mktemp("project"), caches)
    project.python("tools.preset", "smoke")
    plain = project.environment
    project.environment = plain | {
        "PYTHONPATH": str(ROOT / "tests/watch"),
        "MONUSEG_TEST_WATCH": str(reads),
    }
    ran = project.repro()
    project.environment = plain
    project.commit()
    return Smoke(project, ran, reads)


@pytest.fixture
def graph(smoke: Smoke) -> Iterator[Project]:
    """The graph after its run; what a test changes is taken back."""
    yield smoke.project
    smoke.project.restore()
