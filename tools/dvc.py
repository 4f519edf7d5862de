"""What the tools ask of DVC, which they start as a user does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Literal

from monuseg.core.errors import PipelineError

DVC = (sys.executable, "-m", "dvc")


def reproduce(*stages: str, environment: Mapping[str, str] | None = None) -> None:
    """Bring stages up to date.

    Args:
        stages: and options of `dvc repro`.
        environment: variables that stages see besides this process's.

    Raises:
        PipelineError: one failed.
    """
    variables = {**os.environ, **(environment or {})}
    if subprocess.run([*DVC, "repro", *stages], env=variables, check=False).returncode:
        raise PipelineError("dvc repro failed; what it said stands above")


def changes(of: Literal["metrics", "params"], revision: str) -> dict[str, dict[str, Any]]:
    """What `dvc metrics diff` or `dvc params diff` says, by file and dotted key.

    Args:
        of: which of the two.
        revision: of git, which the work tree is compared with.

    Returns:
        `old` and `new` of each value that differs, None where it is missing.

    Raises:
        PipelineError: the revision does not exist, or a file is not a metrics file.
    """
    command = [*DVC, of, "diff", "--json", "--", revision]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise PipelineError(f"{revision}: {said[0] if said else 'dvc diff failed'}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found
