"""A few interruptions of cheap stages; many of all stages are in tests/long."""

from pathlib import Path

import pytest
import yaml

from tests.interruptions import Interruption, Repro, contents, leftovers, reproduce
from tests.repository import Project, Smoke, copy_of_the_repository

pytestmark = pytest.mark.graph

TARGET = "masks"


def test_interrupted_stages_write_what_uninterrupted_ones_do(smoke: Smoke, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = copy_of_the_repository(tmp_path / "project", tmp_path / "caches")
    for name in ("params.yaml", "dvc.yaml"):
        text = (smoke.project.folder / name).read_text(encoding="utf-8")
        (project.folder / name).write_text(text, encoding="utf-8")
    (project.folder / "dvc.lock").unlink()
    planned = [
        Interruption("download", 0, "KILL dvc"),
        Interruption("download", 0, "KILL stage"),
        Interruption("extract", 0, "TERM dvc"),
        Interruption("masks", 0, "Ctrl-C"),
    ]

    def writing(run: Repro, interruption: Interruption) -> bool:
        return any((project.folder / "data").glob(f".writing-{interruption.stage}=*/*/*"))

    happened = reproduce(project, planned, writing, TARGET)
    assert happened == [(each.stage, each.kind) for each in planned]
    assert _of_the_first_stages(project) == _of_the_first_stages(smoke.project)
    assert leftovers(project.folder) == []
    assert not set(project.repro("--dry", TARGET))


def _of_the_first_stages(project: Project) -> tuple[list[object], dict[str, str]]:
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))
    wrote = tuple(f"data/{folder}/" for folder in ("archives", "raw", "masks"))
    return (
        [lock["stages"][stage] for stage in ("download", "extract", "masks")],
        {name: sha for name, sha in contents(project.folder).items() if name.startswith(wrote)},
    )
