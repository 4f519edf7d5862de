"""What `make check-reference` lets pass, and what it does not."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monuseg.core.errors import PipelineError
from tools import check_reference
from tools.check_reference import EXACT, NUCLEI, PIXELS, tolerance
from tools.dvc import DVC

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_of_its_own(project: Path) -> Path:
    """A project with the committed metrics, and git that has them committed."""
    shutil.copytree(ROOT / "metrics", project / "metrics")
    for command in (
        ["init", "-q"],
        ["add", "params.yaml", "dvc.yaml", "metrics"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "made"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    subprocess.run([*DVC, "init", "-q"], cwd=project, check=True)
    return project


def check(revision: str = "HEAD") -> None:
    check_reference.main(argparse.Namespace(revision=revision))


def change(file: Path, split: str, score: str, by: float) -> None:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    content[split][score] += by
    file.write_text(json.dumps(content), encoding="utf-8")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_same_metrics_pass(run_of_its_own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check()
    assert capsys.readouterr().out == "metrics/ is that of HEAD, to the last digit\n"


@pytest.mark.parametrize("row", ["unet", "ensemble"])
def test_trained_rows_have_some_play(
    run_of_its_own: Path, row: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_of_its_own / f"metrics/{row}.json"
    change(file, "test", "dice", 0.9 * PIXELS)
    check()
    shown = capsys.readouterr().out
    assert f"metrics/{row}.json: test.dice" in shown
    assert "True" not in shown
    change(file, "test", "dice", 0.2 * PIXELS)
    with pytest.raises(PipelineError, match=rf"{row}\.json: test\.dice and 0 more .* HEAD"):
        check()
    assert capsys.readouterr().out.count("True") == 1


def test_the_baseline_has_none(run_of_its_own: Path) -> None:
    change(run_of_its_own / "metrics/otsu.json", "validation", "pq", -2 * EXACT)
    with pytest.raises(PipelineError, match=r"otsu\.json: validation\.pq"):
        check()


def test_a_score_that_is_gone_or_new_does_not_pass(run_of_its_own: Path) -> None:
    file = run_of_its_own / "metrics/segnet.json"
    replace(file, '"aji_lo"', '"other"')
    with pytest.raises(PipelineError, match=r"test\.(aji_lo|other) and 1 more"):
        check()


def test_other_parameters_do_not_compare(run_of_its_own: Path) -> None:
    file = run_of_its_own / "params.yaml"
    replace(file, "threads: 2", "threads: 3")
    replace(file, "device: auto", "device: cpu")
    check()
    replace(file, "learning_rate: 0.003", "learning_rate: 0.004")
    with pytest.raises(PipelineError, match=r"\w+\.learning_rate is 0.004, and 0.003 in HE"):
        check()


@pytest.mark.parametrize("revision", ["no-such-revision", "--help", "HEAD~7"])
def test_what_is_no_revision_is_one_line(run_of_its_own: Path, revision: str) -> None:
    with pytest.raises(PipelineError, match=rf"^{revision}: ERROR: .*[Rr]ev.*"):
        check(revision)


def test_missing_metrics_do_not_pass(run_of_its_own: Path) -> None:
    (run_of_its_own / "metrics/otsu.json").unlink()
    with pytest.raises(PipelineError, match=r"metrics/otsu\.json: "):
        check()


@pytest.mark.parametrize(
    ("file", "key", "expected"),
    [
        ("metrics/unet.json", "test.pq_hi", NUCLEI),
        ("metrics/ensemble.json", "validation.aji", NUCLEI),
        ("metrics/segnet.json", "train.loss", PIXELS),
        ("metrics/otsu.json", "test.pq", EXACT),
    ],
)
def test_scores_of_nuclei_have_more_play_and_the_baseline_has_none(
    file: str, key: str, expected: float
) -> None:
    assert tolerance(Path(file), key) == expected
