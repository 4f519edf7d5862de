"""A copy of the repository with git and DVC of its own, for tests that run the real `dvc`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monuseg.core.paths import PARAMS
from tools.models import model_names

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = model_names(REPOSITORY / PARAMS)
ROWS = [*MODELS, "ensemble", "otsu"]
RUNNING = "Running stage '"
PACKAGES = ("monuseg", "stages", "tools")

# What decides where caches lie and how git behaves: a copy has its own.
_OTHERS = ("MONUSEG_", "GIT_", "DVC_", "KERAS_", "TF_", "AWS_", "SLURM_")


class Project:
    """A copy of the repository.

    Attributes:
        folder: where it lies.
        environment: what its commands run in.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._data_changed = False

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command in the folder; return its standard output."""
        return self.finished(*command, status=status).stdout

    def finished(self, *command: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command in the folder; return both its outputs."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, module: str, *arguments: str) -> str:
        """`python -m MODULE`; return its standard output."""
        # Only these leave data as it is; of any other the next test needs to know.
        self._data_changed |= module not in {"tools.preset", "tools.check"}
        return self.run(sys.executable, "-m", module, *arguments)

    def repro(self, *options: str) -> list[str]:
        """`dvc repro`; the stages that ran."""
        self._data_changed |= "--dry" not in options
        return stages_run(self.run("dvc", "repro", *options))

    def experiment(self, *options: str) -> list[str]:
        """`dvc exp run`; the stages that ran."""
        self._data_changed = True
        return stages_run(self.run("dvc", "exp", "run", *options))

    def change(self, *changes: str) -> None:
        """Change params.yaml by key=value."""
        self.python("tools.preset", "default", *changes)

    def set_models(self, models: Sequence[str]) -> None:
        """List other models in params.yaml, and name them where dvc.yaml does one by one."""
        self._rewrite("params.yaml", lambda content: content.update(models=list(models)))
        self._rewrite("dvc.yaml", lambda content: name_models(content, models))
        self.python("tools.check")

    def _rewrite(self, name: str, change: Callable[[Any], None]) -> None:
        file = self.folder / name
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        change(content)
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def commit(self) -> None:
        """Commit all that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")

    def restore(self) -> None:
        """Take back all that was changed since the last commit, data included."""
        self.run("git", "checkout", "-q", "--", ".")
        self.run("git", "clean", "-qfd")
        if self._data_changed:
            self.run("dvc", "checkout", "-q", "--force")
            self._data_changed = False


@dataclass(frozen=True)
class Smoke:
    """The graph after one run at preset `smoke`, which all tests of a session share.

    Attributes:
        project: where it ran; committed.
        ran: the stages that dvc ran, in order.
        reads: a file for each stage of what it read (see tests/watch).
    """

    project: Project
    ran: list[str]
    reads: Path


def name_models(content: Any, models: Sequence[str]) -> None:
    """Name these models, and no others, wherever dvc.yaml names models one by one."""
    stages = content["stages"]
    stages["evaluate"]["foreach"] = [*models, "ensemble", "otsu"]
    for stage, lines in (
        ("ensemble", ["data/predictions/{}"]),
        ("report", ["metrics/{}.json", "data/nuclei/{}"]),
    ):
        deps = stages[stage]["deps"]
        named = {line.format(model) for line in lines for model in MODELS}
        stages[stage]["deps"] = [dep for dep in deps if dep not in named] + [
            line.format(model) for line in lines for model in models
        ]
    for figure in content["plots"]:
        for plot in figure.values():
            (column,) = set(plot["y"].values())
            (folder,) = {Path(file).parent for file in plot["y"]}
            beside = {"curves": ["ensemble"], "per_image": ["ensemble", "otsu"]}
            rows = [*models, *beside.get(folder.name, [])]
            plot["y"] = {f"{folder.as_posix()}/{row}.csv": column for row in rows}
    content["artifacts"] = {
        model: {"path": f"data/models/{model}.weights.h5", "type": "model"} for model in models
    }


def stages_run(output: str) -> list[str]:
    """The stages that dvc says it ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith(RUNNING)]


def environment_of(caches: Path) -> dict[str, str]:
    """This process's environment, with caches in a folder of the test's and no user's settings."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(_OTHERS)}
    return inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]]),
        "XDG_CACHE_HOME": str(caches),
        "DVC_SITE_CACHE_DIR": str(caches / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(caches / "dvc-config"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def copy_of_the_repository(folder: Path, caches: Path, source: Path = REPOSITORY) -> Project:
    """The work tree as it is, committed to a git of its own.

    Args:
        folder: to copy to.
        caches: where its commands keep what they download.
        source: what is copied: the repository, or a copy of it.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)
    project = Project(folder, environment_of(caches))
    project.run("git", "init", "-q")
    project.commit()
    return project
