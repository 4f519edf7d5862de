"""How every command of the project ends: quietly, or with one clear line."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from monuseg.core.errors import PipelineError, explained
from monuseg.core.project import enter_project
from monuseg.core.supervision import Interrupted, supervised
from monuseg.core.turn import stage_of, turn_of

DEBUG_VARIABLE = "MONUSEG_DEBUG"


class Parser(argparse.ArgumentParser):
    """Ends with exit status 1 on a wrong argument: 2 is that some of several inputs failed."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message."""
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


def parser(description: str | None, *, prog: str | None = None) -> argparse.ArgumentParser:
    """An argument parser with the options that all commands share.

    Args:
        description: of the command.
        prog: its name; defaults to how `python -m` was called.
    """
    made = Parser(prog=prog or _called(), description=description)
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def _called() -> str:
    """The command as it was typed; argparse would call it `__main__.py`."""
    specification = getattr(sys.modules["__main__"], "__spec__", None)
    name = specification.name if specification else Path(sys.argv[0]).name
    return f"python -m {name.removesuffix('.__main__')}" if specification else name


def _absolute(value: Any) -> Any:
    """A path among arguments, alone or in a list, from where the command was started."""
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    return value.absolute() if isinstance(value, Path) else value


def run(
    main: Callable[[argparse.Namespace], None],
    arguments: argparse.Namespace,
    *,
    in_project: bool = True,
) -> None:
    """Call `main(arguments)`; turn errors that a user can mend into one line and exit status 1.

    A stage has its turn (see `monuseg.core.turn`) and ends with the dvc that started it; SIGINT,
    SIGTERM and SIGHUP end any command in order, with one line and exit status 130, 143 and 129.

    It works from any folder below the project's root: that becomes the current folder, and paths
    among the arguments are those from where the command was started.

    Args:
        main: the command's work.
        arguments: parsed by a parser from `parser`. `--debug`, or a non-empty MONUSEG_DEBUG in
            the environment (the way to reach a stage that DVC starts), lets the traceback out.
        in_project: False for a command that no project has a part in: the current folder stays, and
            may be in another clone than the code.
    """
    debug = arguments.debug or bool(os.environ.get(DEBUG_VARIABLE))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: names of any script
    try:
        vars(arguments).update({name: _absolute(value) for name, value in vars(arguments).items()})
        if in_project:
            enter_project()
        with supervised(), turn_of(stage_of(arguments)):
            main(arguments)
    except Interrupted as end:
        if debug:
            traceback.print_exc()
        print(f"error: {end}; run it again to go on", file=sys.stderr)
        sys.exit(end.status)
    except UnicodeEncodeError as error:
        if debug:
            raise
        said = f"{error.object!a}: a name that {error.encoding} cannot hold"
        print(f"error: {said}; rename it, or set PYTHONUTF8=1", file=sys.stderr)
        sys.exit(1)
    except (PipelineError, OSError) as error:
        if debug:
            raise
        print(f"error: {explained(error)}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, PipelineError) else 1)
