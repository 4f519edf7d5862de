"""How a stage that refuses its input is judged."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from monuseg.core.command import parser, run

Main = Callable[[argparse.Namespace], None]
Refused = Callable[..., str]

LONGEST_LINE = 600


def below(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def refused(project: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a stage that must refuse its input, by its `main`; gives the one line that it says.

    Its status is 1, nothing else stands on standard error, whoever writes there, and data/ holds
    what it held before, so no out and no temporary file.
    """

    def failing(main: Main, *said: str) -> str:
        before = below(project / "data")
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(main, parser("").parse_args([]))
        assert ended.value.code == 1
        line = capfd.readouterr().err
        assert line.startswith("error: ")
        assert line.endswith("\n")
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
        assert len(line) < LONGEST_LINE
        assert "; " in line  # the remedy
        for words in said:
            assert words in line
        assert below(project / "data") == before
        return line

    return failing
