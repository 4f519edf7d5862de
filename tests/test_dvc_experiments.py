"""Experiments that run in a copy of the workspace, through the real dvc: whose code they run.

The stage `download` alone, on a few tiny slides: it takes a second, and draws in worker processes.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.repository import Project, copy_of_the_repository

CODE = "stages/download/synthetic/archive.py"
SEED = "[params.seed, drawing.index]"  # of a slide, in a worker process


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project at preset `smoke` whose archives are made and committed."""
    project = copy_of_the_repository(
        tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("caches")
    )
    project.python("tools.preset", "smoke")
    assert project.repro("download") == ["download"]
    project.commit()
    return project


@pytest.fixture
def project(downloaded: Project) -> Iterator[Project]:
    """That project; what a test changes in its code is taken back."""
    yield downloaded
    downloaded.run("git", "checkout", "-q", "--", "stages")


def change(project: Project, added: int) -> None:
    """Draw other slides, by a line of code alone, and show where the code lies."""
    file = project.folder / CODE
    text = file.read_text(encoding="utf-8")
    assert text.count(SEED) == 1
    text = text.replace(SEED, f"[params.seed + {added}, drawing.index]")
    file.write_text(f"{text}\n\nprint('code:', __file__)\n", encoding="utf-8")


def archives_of(project: Project, revision: str) -> str:
    """The hash of the archives in the dvc.lock of a revision."""
    lock = yaml.safe_load(project.run("git", "show", f"{revision}:dvc.lock"))
    (archives,) = lock["stages"]["download"]["outs"]
    return str(archives["md5"])


def reference(project: Project, experiment: str) -> str:
    """Git's reference of an experiment's result."""
    found = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (name,) = [one for one in found if one.endswith(f"/{experiment}")]
    return name


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_experiment_in_a_copy_runs_the_code_of_the_copy(project: Project) -> None:
    archives = contents(project.folder / "data/archives")
    change(project, added=1)
    said = project.run("dvc", "exp", "run", "--temp", "--name", "copied", "download")
    code = [line.removeprefix("code: ") for line in said.splitlines() if line.startswith("code:")]
    copies = project.folder / ".dvc/tmp/exps"
    assert code
    assert all(Path(file).is_relative_to(copies) and file.endswith(CODE) for file in code)
    assert archives_of(project, reference(project, "copied")) != archives_of(project, "HEAD")
    assert contents(project.folder / "data/archives") == archives


@pytest.mark.long  # a copy as above, through DVC's queue and its worker
def test_a_queued_experiment_runs_the_code_that_it_was_queued_with(project: Project) -> None:
    change(project, added=2)
    project.run("dvc", "exp", "run", "--queue", "--name", "queued", "download")
    project.run("git", "checkout", "-q", "--", "stages")
    # The workspace's code is again that of HEAD: with it the archives would be those of HEAD.
    project.run("dvc", "exp", "run", "--run-all")
    assert archives_of(project, reference(project, "queued")) != archives_of(project, "HEAD")
