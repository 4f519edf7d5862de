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
from tools.check_reference import EXACT, NUCLEI, PIXELS, Difference, compared, tolerance, values

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_of_its_own(project: Path) -> Path:
    """A project with the committed metrics, and git that has them committed."""
    shutil.copytree(ROOT / "metrics", project / "metrics")
    for command in (
        ["init", "-q"],
        ["add", "params.yaml", "metrics"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "made"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    return project


def check(reference: str = "HEAD") -> None:
    check_reference.main(argparse.Namespace(reference=reference))


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
    assert "BEYOND" not in shown
    change(file, "test", "dice", 0.2 * PIXELS)
    with pytest.raises(PipelineError, match=rf"{row}\.json: test\.dice and 0 more .* HEAD"):
        check()
    assert capsys.readouterr().out.count("BEYOND") == 1


def test_the_baseline_has_none(run_of_its_own: Path) -> None:
    change(run_of_its_own / "metrics/otsu.json", "validation", "pq", -2 * EXACT)
    with pytest.raises(PipelineError, match=r"otsu\.json: validation\.pq"):
        check()


def test_a_score_that_is_gone_or_new_does_not_pass(run_of_its_own: Path) -> None:
    file = run_of_its_own / "metrics/segnet.json"
    replace(file, '"aji_lo"', '"other"')
    with pytest.raises(PipelineError, match=r"test\.aji_lo and 1 more"):
        check()


def test_of_a_history_the_outcome_counts(run_of_its_own: Path) -> None:
    file = run_of_its_own / "metrics/history/unet.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([lines[0], "1,9,9,9,9,9\n", *lines[2:]]), encoding="utf-8")
    check()
    file.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"history/unet\.csv: epoch"):
        check()


def test_a_folder_is_a_reference_too(run_of_its_own: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(run_of_its_own / "metrics", kept / "metrics")
    shutil.copy(run_of_its_own / "params.yaml", kept)
    check(str(kept))
    change(kept / "metrics/unet.json", "train", "loss", 1)
    with pytest.raises(PipelineError, match=r"unet\.json: train\.loss and 0 more"):
        check(str(kept))


def test_other_parameters_do_not_compare(run_of_its_own: Path) -> None:
    file = run_of_its_own / "params.yaml"
    replace(file, "threads: 2", "threads: 3")
    replace(file, "device: auto", "device: cpu")
    check()
    replace(file, "learning_rate: 0.003", "learning_rate: 0.004")
    with pytest.raises(PipelineError, match=r"train\.\w+\.learning_rate is 0.004, and 0.003 in HE"):
        check()


@pytest.mark.parametrize("reference", ["no-such-revision", "--help", "HEAD~7"])
def test_a_reference_that_is_none_is_told(run_of_its_own: Path, reference: str) -> None:
    with pytest.raises(PipelineError, match=rf"reference {reference}: no params\.yaml there"):
        check(reference)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "{"), ("a.json", '{"x": NaN}'), ("a.json", '{"x": "y"}'), ("a.csv", "epoch\n")],
)
def test_what_is_no_metrics_file_is_told(name: str, text: str) -> None:
    with pytest.raises(PipelineError, match="HEAD: no metrics file"):
        values(Path(name), text, where="HEAD")


def test_missing_metrics_are_told(run_of_its_own: Path) -> None:
    (run_of_its_own / "metrics/otsu.json").unlink()
    with pytest.raises(PipelineError, match=r"metrics/otsu\.json is missing; run `dvc repro`"):
        check()


def test_only_what_differs_is_listed() -> None:
    file = Path("metrics/unet.json")
    found = compared(file, {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2 + PIXELS / 2, "d": 4})
    assert found == [
        Difference(f"{file}: b", 2, 2 + PIXELS / 2, PIXELS),
        Difference(f"{file}: c", 3, None, PIXELS),
        Difference(f"{file}: d", None, 4, PIXELS),
    ]
    assert [difference.beyond for difference in found] == [False, True, True]


@pytest.mark.parametrize(
    ("file", "key", "expected"),
    [
        ("metrics/unet.json", "test.pq_hi", NUCLEI),
        ("metrics/ensemble.json", "validation.aji", NUCLEI),
        ("metrics/segnet.json", "train.loss", PIXELS),
        ("metrics/history/unet.csv", "validation_dice", PIXELS),
        ("metrics/otsu.json", "test.pq", EXACT),
    ],
)
def test_scores_of_nuclei_have_more_play_and_the_baseline_has_none(
    file: str, key: str, expected: float
) -> None:
    assert tolerance(Path(file), key) == expected
