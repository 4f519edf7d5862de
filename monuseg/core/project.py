"""The folder of the project, found from any folder below it, as git and DVC do."""

import os
from pathlib import Path

import monuseg
from monuseg.core.errors import PipelineError
from monuseg.core.paths import PARAMS

PACKAGES = ("monuseg", "stages")


def enter_project() -> None:
    """Make the project's root the current folder; outside a project nothing changes.

    Raises:
        PipelineError: the code that runs is another clone's: results would be of code that the
            project does not show.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PARAMS).is_file() and all((folder / name).is_dir() for name in PACKAGES):
            break
    else:
        return
    # The same file, not the same path: a project may link to its code.
    code = Path(monuseg.__file__).parent
    if not code.samefile(folder / code.name):
        raise PipelineError(
            f"{folder}: its commands run the code of another clone, {code.parent}; use this "
            "project's own environment (`make environment`, then .venv/bin/python)"
        )
    os.chdir(folder)
