"""The folder of the project, found from any folder below it, as git and DVC do."""

import os
import sys
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.core.paths import PARAMS

PACKAGES = ("monuseg", "stages")


def enter_project() -> None:
    """Make the project's root the current folder; outside a project nothing changes.

    Raises:
        PipelineError: the code that runs is another clone's: results would be of code that the
            project does not show.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise PipelineError("the current folder is gone; change to another") from error
    folder = next((one for one in (here, *here.parents) if _is_root(one)), None)
    if folder is None:
        return
    for code in (Path(sys.modules[name].__path__[0]) for name in PACKAGES if name in sys.modules):
        # The same file, not the same path: a project may link to its code.
        if not code.samefile(folder / code.name):
            raise PipelineError(
                f"{folder}: its commands run the code of another clone, {code.parent}; use this "
                "project's own environment (`make environment`, then .venv/bin/python), and unset "
                "PYTHONPATH"
            )
    os.chdir(folder)


def _is_root(folder: Path) -> bool:
    wanted = (str(PARAMS), *PACKAGES)
    return os.access(folder, os.X_OK) and all((folder / name).exists() for name in wanted)
