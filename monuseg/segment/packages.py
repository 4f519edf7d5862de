"""Packages that only some results need."""

import importlib.util
from collections.abc import Sequence

from monuseg.core.errors import PipelineError


def require_packages(option: str, names: Sequence[str]) -> None:
    """Refuse an option whose packages are not installed.

    Args:
        option: as the user gave it.
        names: of the packages, which are imported and installed by the same names.

    Raises:
        PipelineError: one is not installed.
    """
    if not all(importlib.util.find_spec(name) for name in names):
        raise PipelineError(
            f"{option}: needs {' and '.join(names)}; run `pip install {' '.join(names)}`"
        )
