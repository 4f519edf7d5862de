"""Change params.yaml by a preset and single values, keeping its comments.

`python -m tools.preset NAME [key=value ...]` applies tools/presets/NAME.yaml on top of
params.yaml, then each value, as `unet.width=32`; NAME `default` applies no preset.
"""

import argparse
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.core.params import parse_yaml, read_params, shown
from monuseg.core.paths import PARAMS
from monuseg.core.supervision import uninterrupted
from tools.check import check_params

PRESETS = Path(__file__).resolve().parent / "presets"
NO_PRESET = "default"


def main(arguments: argparse.Namespace) -> None:
    """Write params.yaml with the changes, if the outcome is valid, and print them."""
    lines = apply([*_preset_changes(arguments.name), *parsed(arguments.changes)])
    for line in lines:
        print(line)
    if any(line.startswith("models:") for line in lines):
        print("dvc.yaml names models too: `python -m tools.check` says which lines to change")


def parsed(changes: Iterable[str]) -> list[tuple[str, Any]]:
    """Changes as the command line has them, `key=value`, as keys and values.

    Raises:
        PipelineError: one is not of this form, or its value is not YAML.
    """
    return [_parsed(change) for change in changes]


def apply(changes: list[tuple[str, Any]]) -> list[str]:
    """Write params.yaml with the changes, if the outcome is valid.

    Args:
        changes: dotted keys and their new values.

    Returns:
        A line `key: old -> new` for each value that is another now.

    Raises:
        PipelineError: a key is not in params.yaml, or the outcome is not valid.
    """
    read_params(PARAMS)  # says what is wrong with the file itself, before it is changed
    text, applied = changed(PARAMS.read_text(encoding="utf-8-sig"), changes)
    with replacing(PARAMS) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        shutil.copymode(PARAMS, temporary)
        try:
            check_params(temporary)
        except PipelineError as error:
            raise PipelineError(str(error).replace(str(temporary), str(PARAMS))) from error
    return applied


@contextmanager
def params_put_back() -> Iterator[None]:
    """Let params.yaml be as it was, to the byte, when the block ends, however it ends."""
    before, mode = PARAMS.read_bytes(), PARAMS.stat().st_mode
    try:
        yield
    finally:
        with uninterrupted(), replacing(PARAMS) as temporary:
            temporary.write_bytes(before)
            temporary.chmod(mode)


def changed(text: str, changes: list[tuple[str, Any]]) -> tuple[str, list[str]]:
    """Params with values changed; lists are replaced as a whole.

    Args:
        text: of params.yaml.
        changes: dotted keys, which must be there, and their new values.

    Returns:
        The new text, and a line `key: old -> new` for each value that is another now.

    Raises:
        PipelineError: a key is not in params.yaml.
    """
    loader = _keeping_comments()
    content = loader.load(text)
    applied = []
    for key, value in changes:
        *parents, last = key.split(".")
        block = content
        for parent in parents:
            block = block.get(parent) if isinstance(block, dict) else None
        if not isinstance(block, dict) or last not in block:
            raise PipelineError(f"params.yaml has no key {key}; keys are dotted, as train.seed")
        if block[last] != value:
            applied.append(f"{key}: {_shown(block[last])} -> {_shown(value)}")
            block[last] = _in_brackets(value)
    stream = io.StringIO()
    loader.dump(content, stream)
    return stream.getvalue(), applied


def _in_brackets(value: Any) -> Any:
    """`value`, if it is a list of plain values, in brackets, as all of params.yaml are."""
    if not isinstance(value, list) or any(isinstance(item, dict) for item in value):
        return value
    made = CommentedSeq(value)
    made.fa.set_flow_style()
    return made


def _preset_changes(name: str) -> Iterator[tuple[str, Any]]:
    if name == NO_PRESET:
        return iter(())
    files = {path.stem: path for path in PRESETS.glob("*.yaml")}
    if name not in files:
        known = ", ".join([NO_PRESET, *sorted(files)])
        raise PipelineError(f"there is no preset {name!r}; the presets are {known}")
    return _leaves(read_params(files[name]), "")


def _leaves(content: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parsed(change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not equals:
        raise PipelineError(f"{shown(change)} is not key=value; write it as train.epochs=3")
    try:
        parsed = parse_yaml(value)
        _shown(parsed)
    except (YAMLError, ValueError) as error:
        raise PipelineError(
            f"{shown(change)}: the value is not YAML; quote characters that mean something in YAML"
        ) from error
    return key, parsed


def _keeping_comments() -> YAML:
    loader = YAML()
    loader.preserve_quotes = True
    loader.width = 10_000  # no line is broken
    loader.indent(mapping=2, sequence=4, offset=2)
    # It would leave the place of a null empty.
    loader.representer.add_representer(
        type(None), lambda made, _: made.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return loader


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("name", help="of a file in tools/presets, or `default`")
    command.add_argument("changes", nargs="*", metavar="key=value")
    run(main, command.parse_args())
