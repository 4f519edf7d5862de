"""Signals at moments drawn by seed, over all stages: what comes out is the uninterrupted run's."""

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.interruptions import Interruption, Repro, contents, drawn, leftovers, reproduce
from tests.repository import MODELS, Project, copy_of_the_repository

SEED = 20180419

pytestmark = pytest.mark.long


def made(folder: Path, models: list[str]) -> Project:
    """A copy at preset `smoke` with some of the models, before its first run."""
    (folder / "project").mkdir(parents=True)
    project = copy_of_the_repository(folder / "project", folder / "caches")
    project.run(sys.executable, "-m", "tools.preset", "smoke")
    project.set_models(models)
    # What the default run left in git would be there before the first stage has run.
    project.run("git", "rm", "-rq", "--ignore-unmatch", "dvc.lock", *tracked_outs(project))
    project.commit()
    return project


def tracked_outs(project: Project) -> list[str]:
    """The files that stages write and git tracks."""
    listed = project.run("git", "ls-files", "metrics").splitlines()
    return [name for name in listed if not name.startswith(("metrics/reference", "metrics/.git"))]


@pytest.mark.parametrize(
    ("models", "count"), [(["unet"], 32), (MODELS, 16)], ids=["one model", "all models"]
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, models: list[str], count: int
) -> None:
    whole = made(tmp_path / "whole", models)
    repro = Repro(whole)
    assert repro.wait() == 0, repro.output
    stages = list(repro.started)
    begins = [*repro.started.values(), repro.ended]
    lasts = {
        stage: end - begin for stage, begin, end in zip(stages, begins, begins[1:], strict=False)
    }

    def due(run: Repro, interruption: Interruption) -> bool:
        # The next stage's start, if this machine was faster than before.
        later = set(stages[stages.index(interruption.stage) + 1 :]) & set(run.started)
        began = run.started.get(interruption.stage)
        return bool(later) or (began is not None and passed(began, interruption))

    def passed(began: float, interruption: Interruption) -> bool:
        return time.monotonic() - began >= interruption.part * lasts[interruption.stage]

    interrupted = made(tmp_path / "interrupted", models)
    happened = reproduce(interrupted, drawn(stages, count, SEED), due)
    print(f"\nmodels {models}: {len(happened)} interruptions")
    for name, counts in (
        ("by stage", Counter(stage for stage, _ in happened)),
        ("by signal", Counter(kind for _, kind in happened)),
    ):
        print(f"{name}: " + ", ".join(f"{key} {number}" for key, number in counts.items()))

    assert contents(interrupted.folder) == contents(whole.folder)
    assert leftovers(interrupted.folder) == []
    assert interrupted.repro("--dry") == []
    status = ("git", "status", "--porcelain")
    assert interrupted.run(*status) == whole.run(*status)
    assert len(happened) >= 0.8 * count
