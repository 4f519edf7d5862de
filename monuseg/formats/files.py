"""JSON and arrays as files."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monuseg.core.files import write_text


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as `np.save` does, byte for byte.

    `np.save` hands an open file to C code, whose error for a full disk has neither an error number
    nor the file's name ("18000 requested and 3968 written").

    Raises:
        OSError: as the system reports it, with its number.
    """
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    path.write_bytes(content.getbuffer())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON; NaN and infinity are errors, since JSON has neither."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
