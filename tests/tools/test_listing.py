"""`python -m tools` and `make help` list what a clone offers."""

import subprocess
import sys

from tests.repository import REPOSITORY

COMMANDS = {
    *(
        "ceiling",
        "check",
        "check_reference",
        "compare",
        "cross_validate",
        "finalise",
        "preset",
        "reference",
        "repeat",
    ),
    *("minutes", "pretrain", "score", "shifts", "side_by_side"),
}


def test_every_command_is_listed_with_what_it_does() -> None:
    done = subprocess.run(
        # Without the environment's packages: `make help` works before there is one.
        [sys.executable, "-S", "-m", "tools"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.removeprefix("python -m tools.") for line in done.stdout.splitlines()]
    assert {line.split()[0] for line in lines} == COMMANDS
    assert all(len(line.split()) > 2 for line in lines)


def test_make_help_lists_targets_and_commands() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for wanted in ("repro ", "mutants ", "docs ", "python -m tools.preset "):
        assert f"\n{wanted}" in f"\n{done.stdout}"
