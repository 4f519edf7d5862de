"""A full disk and a read-only folder, in each stage: one line, and nothing half written."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Smoke
from tests.repository import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
RUNNER = Path(__file__).with_name("failing_disk.py")
ENTER = ["unshare", "--user", "--map-root-user", "--mount"]

pytestmark = pytest.mark.graph


@dataclass(frozen=True)
class Stage:
    """A stage and what it writes, largest first, in the order in which it does."""

    module: str
    outs: list[str]
    words: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As DVC names it."""
        return "@".join([self.module, *self.words])


PARTS = ("train", "validation", "test")
STAGES = [
    Stage("download", ["data/archives"]),
    Stage("extract", ["data/raw"]),
    Stage("masks", ["data/masks"]),
    Stage(
        "tile", ["data/tiles/train", "data/tiles/validation", "data/tiles/test", "data/splits.csv"]
    ),
    Stage("baseline", ["data/predictions/otsu"]),
    Stage("ensemble", ["data/predictions/ensemble"]),
    Stage("evaluate", ["data/nuclei/otsu", "metrics/otsu.json"], ["otsu"]),
    Stage("report", ["metrics/report.md", "metrics/report.html"]),
    Stage("train", ["data/models/unet.weights.h5", "data/models/unet.json"], ["unet"]),
    Stage("predict", ["data/predictions/unet"], ["unet"]),
]


@dataclass(frozen=True)
class Job:
    """A run on a disk that fails (see failing_disk.py).

    Attributes:
        module: the stage's.
        words: its arguments.
        outs: what it writes, removed before as DVC does.
        free: bytes left on the disk.
        read_only: the folder that cannot be written; empty for a full disk.
        changes: of params.yaml before, as key=value.
        served: an archive that a server on this machine has.
        called: in the process that runs all jobs; else in one of its own, as DVC does.
    """

    module: str
    words: Sequence[str]
    outs: Sequence[str]
    free: int = 0
    read_only: str = ""
    changes: Sequence[str] = ()
    served: str = ""
    called: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a stage said and left; see failing_disk.py."""

    status: object
    stdout: str
    stderr: str
    outs: list[str]
    unfinished: list[str]
    params: bool


def size(folder: Path, out: str) -> int:
    path = folder / out
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


@pytest.fixture(scope="module")
def finished(smoke: Smoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest folder in which every stage can run: params, code, data and metrics."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("params.yaml", "requirements-compute.txt"):
        shutil.copy(smoke.project.folder / name, folder)
    for name in ("data", "metrics"):
        shutil.copytree(smoke.project.folder / name, folder / name)
    for package in PACKAGES:
        (folder / package).symlink_to(ROOT / package)
    return folder


def environment(folder: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MONUSEG_", "KERAS_"))
    }
    return {**inherited, "MONUSEG_WORKERS": "1", "PYTHONPATH": str(folder)}


def runners_environment(folder: Path) -> dict[str, str]:
    """The environment of failing_disk.py, which takes disks away from under its child processes.

    A resource tracker that still imports by then would die on Python 3.13.0, which raises a
    SystemError where `sys.path` begins with a current folder that is gone
    (https://github.com/python/cpython/issues/130932), and the next stage would warn of it. So the
    current folder is left out. No disk goes away below a stage of a user's.
    """
    return environment(folder) | {"PYTHONSAFEPATH": "1"}


def jobs(folder: Path) -> dict[str, Job]:
    made = {}
    for stage in STAGES:
        short = ["train.epochs=1", "train.steps_per_epoch=1"] if stage.module == "train" else []
        # In the middle of its first out, and before it.
        for free, when in ((size(folder, stage.outs[0]) // 2, "midway"), (0, "at once")):
            made[f"{stage.name}, full {when}"] = Job(
                stage.module, stage.words, stage.outs, free, changes=short
            )
        made[f"{stage.name}, read-only"] = Job(
            stage.module,
            stage.words,
            stage.outs,
            read_only=stage.outs[0].partition("/")[0],
            changes=short,
        )
    archives = ["data/archives"]
    web, archive = ["dataset.source=url"], "data/archives/synthetic-training.zip"
    made["cache, full"] = Job("download", [], archives, 100_000, changes=web, served=archive)
    made["cache, read-only"] = Job(
        "download", [], archives, read_only="cache", changes=web, served=archive
    )
    made["masks, started"] = Job("masks", [], ["data/masks"], called=False)
    made["preset, full"] = Job("preset", ["default", "train.epochs=77"], [])
    return made


@pytest.fixture(scope="module")
def outcomes(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of all jobs, run by one process in a namespace where it may mount disks."""
    if not shutil.which("unshare") or subprocess.run([*ENTER, "mount", "-t", "tmpfs", "x", "/mnt"],
        capture_output=True).returncode:  # fmt: skip
        pytest.skip("this machine allows no mount namespaces to users, so no disk can be made")
    (finished / "cache").mkdir(exist_ok=True)
    wanted = jobs(finished)
    work, results = tmp_path_factory.mktemp("disk"), tmp_path_factory.mktemp("told") / "told.json"
    done = subprocess.run(
        [*ENTER, sys.executable, str(RUNNER), str(finished), str(work), str(results)],
        input=json.dumps([asdict(job) for job in wanted.values()]),
        env=runners_environment(finished), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "resource_tracker" not in done.stderr, done.stderr
    told = [Outcome(**outcome) for outcome in json.loads(results.read_text())]
    return dict(zip(wanted, told, strict=True))


def line_of(outcome: Outcome) -> str:
    """The one line of a stage that failed and left nothing."""
    assert outcome.status == 1
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert outcome.unfinished == []
    assert outcome.params
    assert ".writing-" not in outcome.stderr
    return outcome.stderr.removeprefix("error: ").rstrip("\n")


def test_the_runners_children_start_where_the_disk_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import joblib.externals.loky.backend.resource_tracker"],
        cwd=gone, env=runners_environment(ROOT), capture_output=True, text=True,
        preexec_fn=gone.rmdir,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("when", ["midway", "at once"])
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_full_disk(stage: Stage, when: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[f"{stage.name}, full {when}"]
    file, _, said = line_of(outcome).partition(": ")
    assert said == "no space left on its disk; free some and run again"
    assert file.startswith((*stage.outs, ".scratch/training"))
    # Whole or not there: only the last that it writes is missing, or more.
    assert outcome.outs == stage.outs[: len(outcome.outs)]
    assert len(outcome.outs) < len(stage.outs)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_read_only_folder(stage: Stage, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[f"{stage.name}, read-only"]
    file, _, said = line_of(outcome).partition(": ")
    assert said == "on a read-only file system; make it writable, or run in a folder that is"
    assert file.startswith((*stage.outs, str(Path(stage.outs[0]).parent)))
    assert outcome.outs == []


@pytest.mark.parametrize("failure", ["full", "read-only"])
def test_the_cache_of_downloads(failure: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[f"cache, {failure}"]
    line = line_of(outcome)
    assert line.startswith("cache")
    assert ("no space left" if failure == "full" else "read-only") in line.lower()
    assert outcome.outs == []


def test_the_lock_of_a_stage(outcomes: dict[str, Outcome]) -> None:
    # The stage takes it before anything else. A full disk has room for the file, which is empty.
    line = line_of(outcomes["masks, started"])
    assert line.startswith("data/masks: no space left on its disk; free some")


def test_a_training_goes_on_without_its_checkpoint(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["train@unet, full midway"]
    assert "no checkpoint saved" in outcome.stdout
    assert line_of(outcome).startswith("data/models/unet.weights.h5: no space left")


def test_a_preset_leaves_params_as_they_were(outcomes: dict[str, Outcome]) -> None:
    line = line_of(outcomes["preset, full"])
    assert line == "params.yaml: no space left on its disk; free some and run again"


@pytest.mark.parametrize(("stage", "workers"), [("extract", "1"), ("masks", "2")])
def test_a_file_that_may_not_grow(stage: str, workers: str, finished: Path, tmp_path: Path) -> None:
    # The nearest to a full disk that any user of any machine can have.
    project = shutil.copytree(finished, tmp_path / "project", symlinks=True)
    outs = next(candidate.outs for candidate in STAGES if candidate.module == stage)
    shutil.rmtree(project / outs[0])
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=project, env=environment(project) | {"MONUSEG_WORKERS": workers},
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith(f"error: {outs[0]}")
    assert "more bytes than a file may have; raise the limit (`ulimit -f`)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project / outs[0]).exists()
    assert not list(project.rglob(".writing-*"))
