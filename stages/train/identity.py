"""The key of a training: two trainings share one only if they end in the same bytes."""

import hashlib
import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import monuseg
from monuseg.core.files import sha256_of

ROOT = Path(monuseg.__file__).resolve().parents[1]
CODE = ("monuseg", "stages")
NOT_CODE = ("monuseg", "core")  # decides how a training runs, not what it computes
# Lists the packages that can change what the stages compute.
COMPUTE = Path("requirements-compute.txt")
REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+", re.MULTILINE)
PROCESSOR = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)


def training_key(
    facts: Sequence[Any],
    initial: Iterable[npt.NDArray[np.generic]],
    folders: Iterable[Path],
) -> str:
    """A SHA-256 of everything that decides the bytes that a training ends in.

    Besides the arguments, that is the versions of the packages that compute, the processor, and the
    project's code as loaded so far; so call it once everything is imported.

    Args:
        facts: parameters and what the backend made of them, as JSON can hold them.
        initial: the variables that training starts from, whether they come from a seed or from a
            file of pre-trained weights.
        folders: of the data.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    parts: list[Any] = [facts, _versions(), _processor(), code()]
    parts += [{path.name: _contents(path)} for path in folders]
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for array in initial:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def code() -> dict[str, str]:
    """SHA-256 of each loaded module of the project, by path."""
    files = {
        Path(file).resolve()
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    own = [
        file.relative_to(ROOT)
        for file in sorted(files)
        if any(file.is_relative_to(ROOT / package) for package in CODE)
    ]
    return {file.as_posix(): sha256_of(ROOT / file) for file in own if file.parts[:2] != NOT_CODE}


def _contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by path within the folder."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _versions() -> dict[str, str | None]:
    """The versions of the packages that can change the bytes; None if one is not installed."""
    found: dict[str, str | None] = {}
    for name in REQUIREMENT.findall(COMPUTE.read_text(encoding="utf-8")):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> list[str]:
    """The kind of processor: libraries choose their instructions, and so their roundings, by it."""
    try:
        models = PROCESSOR.findall(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        models = []
    return [platform.machine(), *sorted(set(models))]
