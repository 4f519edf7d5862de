"""Tests of `monuseg.core.command`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError

ROOT = Path(__file__).resolve().parents[3]


def arguments(*words: str) -> argparse.Namespace:
    return parser("What it does.").parse_args(words)


def test_a_command_that_works_ends_as_any_function(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    run(seen.append, arguments())
    assert [vars(found) for found in seen] == [{"debug": False}]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PipelineError("a.xml: malformed"), "error: a.xml: malformed"),
        (PipelineError("a:\n  two\tlines  "), "error: a: two lines"),
        (
            FileNotFoundError(2, "No such file or directory", "data/raw/a.tif"),
            "error: data/raw/a.tif: no such file or folder; if a stage makes it, run `dvc repro`",
        ),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(
    error: Exception,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MONUSEG_DEBUG", raising=False)

    def fail(arguments: argparse.Namespace) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run(fail, arguments())
    assert caught.value.code == 1
    assert capsys.readouterr() == ("", line + "\n")
    with pytest.raises(type(error)):
        run(fail, arguments("--debug"))
    monkeypatch.setenv("MONUSEG_DEBUG", "1")
    with pytest.raises(type(error)):
        run(fail, arguments())
    monkeypatch.setenv("MONUSEG_DEBUG", "")
    with pytest.raises(SystemExit):
        run(fail, arguments())


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    def fail(arguments: argparse.Namespace) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fail, arguments())


def start(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.masks", *words],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stage_ends_with_one_line_and_status_1(project: Path) -> None:
    ended = start(project)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: data/raw/manifest.csv: no such file or folder; ")
    assert ended.stderr.count("\n") == 1
    for shown in (start(project, "--debug"), start(project, MONUSEG_DEBUG="1")):
        assert shown.returncode == 1
        assert "Traceback" in shown.stderr


def test_help_says_what_a_stage_does(project: Path) -> None:
    ended = start(project, "--help")
    assert ended.returncode == 0
    assert "instance label maps" in ended.stdout
    assert "--debug" in ended.stdout


@pytest.mark.parametrize(
    ("script", "status", "stdout", "stderr"),
    [
        ("print('Zürich ✓')", 0, "Z\\xfcrich \\u2713\n", ""),
        (
            "open('Zürich.tif', 'w')",
            1,
            "",
            "error: 'Z\\xfcrich.tif': a name that ascii cannot hold; rename it, or set "
            "PYTHONUTF8=1\n",
        ),
    ],
)
def test_names_beyond_the_locale_are_escaped_or_one_line(
    script: str, status: int, stdout: str, stderr: str, tmp_path: Path
) -> None:
    made = tmp_path / "command.py"
    made.write_text(
        "from monuseg.core.command import parser, run\n"
        f"run(lambda arguments: {script}, parser('').parse_args())\n",
        encoding="utf-8",
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, made],
        cwd=tmp_path,
        env=os.environ | ascii_only | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, stdout, stderr)
