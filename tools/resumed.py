"""The JSON files in which commands that run the graph many times keep what they ran."""

import json
import tempfile
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.files import naming
from monuseg.formats.files import read_json

JSON = ".json"


def runs_before(path: Path, setting: dict[str, Any], kind: type) -> Any:
    """The runs that an interrupted command left in its output; none without the file.

    Args:
        path: of the output.
        setting: what else the output holds, the parameters that all runs share.
        kind: of `runs` in the output, list or dict.

    Raises:
        PipelineError: the path has no name for a JSON file, or is a folder; or the file is of other
            parameters, of another command, or none of JSON.
        OSError: nothing can be written there.
    """
    if path.suffix != JSON:
        raise PipelineError(f"{path}: other files are named after it; let it end in {JSON}")
    if path.is_dir():
        raise PipelineError(f"{path}: a folder; name a file")
    # What cannot be written is refused before hours of training.
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    if not path.is_file():
        return kind()
    try:
        found = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = None
    if (
        not isinstance(found, dict)
        or any(found.get(name) != setting[name] for name in setting)
        or not isinstance(found.get("runs"), kind)
    ):
        raise PipelineError(
            f"{path}: of other parameters than these; give another --output, or move it away"
        )
    return found["runs"]
