"""Blocks of params.yaml as frozen, validated models."""

import difflib
import reprlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from monuseg.core.errors import PipelineError, without_secrets
from monuseg.core.paths import PARAMS

# A list of some ten thousand image ids fits; nobody writes a larger file.
LARGEST_FILE = 1 << 20  # bytes
LONGEST_VALUE = 60  # letters of a wrong value that an error shows
# Seeds beyond this are refused by Keras's random numbers.
LARGEST_SEED = 2**32 - 1
# What pydantic says otherwise.
_SAID = {
    "missing": "missing; add it",
    "model_type": "must be a mapping of keys",
    "invalid_key": "a key must be a word; remove it",
}


class Model(BaseModel):
    """Part of a block: frozen; an unknown key is an error, and so is a NaN or infinity.

    Types are strict: neither `true` nor "3" is a number, and 3.0 is not an integer. An integer is
    accepted where a float is expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Block(Model):
    """A block of params.yaml that stages read as a whole.

    Attributes:
        key: the block's top-level key in params.yaml.
    """

    key: ClassVar[str]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """What the block is validated from."""
        return content[cls.key]

    @classmethod
    def load(cls, file: Path = PARAMS) -> Self:
        """Read and validate the block.

        Raises:
            PipelineError: the file cannot be read, or a key is missing, unknown or out of range.
        """
        return cls.of(read_params(file), file)

    @classmethod
    def of(cls, content: dict[str, Any], file: Path = PARAMS) -> Self:
        """Validate the block in what was read of a params file.

        Raises:
            PipelineError: a key is missing, unknown or out of range.
        """
        if cls.key not in content:
            raise PipelineError(f"{file}: the block `{cls.key}:` is missing; add it")
        made: Self = validated(cls, cls.select(content), where=f"{file}: {cls.key}")
        return made


def read_params(file: Path = PARAMS) -> dict[str, Any]:
    """The whole of a params file, unvalidated.

    Raises:
        PipelineError: the file is missing, is not YAML, or is not a mapping of blocks.
    """
    try:
        text = file.read_bytes()
        if len(text) > LARGEST_FILE:
            raise PipelineError(
                f"{file}: {len(text)} bytes are too many for a params file; restore it"
            )
        content = parse_yaml(text.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise PipelineError(f"{file} is missing; run this in the project's folder") from error
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise PipelineError(
            f"{file}, line {line}: no valid YAML: not in UTF-8; save it in that encoding"
        ) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or str(error)
        said = shorten(problem, 2 * LONGEST_VALUE, placeholder="...")
        raise PipelineError(f"{place}: no valid YAML: {said}; mend it") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise PipelineError(
            f"{file}: expected a mapping of blocks, found {found}; restore it from git"
        )
    return content


def parse_yaml(text: str) -> Any:
    """What a text means in YAML 1.2, as DVC reads it: `on` is a word, `1e-3` a number.

    Nothing in it is run, whatever its tags say. Aliases are refused: nine lines of them hold a
    thousand million values.

    Raises:
        YAMLError: it is none, a key stands twice in one mapping, or a part is repeated by an alias.
    """
    try:
        if "*" in text:
            for event in _reader().parse(text):
                if isinstance(event, AliasEvent):
                    raise _AliasError(event)
        with warnings.catch_warnings(action="ignore"):  # of numbers that YAML 1.1 reads otherwise
            return _reader().load(text)
    # What ruamel.yaml lets through: numbers, dates and keys that are none, and nesting without end.
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise YAMLError(str(error)) from error


class _AliasError(YAMLError):
    """A part of a text that repeats another part."""

    def __init__(self, event: AliasEvent) -> None:
        super().__init__(event.anchor)
        self.problem = f"`*{event.anchor}` repeats another part; write it out"
        self.problem_mark = event.start_mark


def _reader() -> YAML:
    return YAML(typ="safe", pure=True)


def validated(model: type[Any], content: Any, *, where: str) -> Any:
    """`content` as an instance of `model`, with errors that name the key.

    Args:
        model: a subclass of `Model`.
        content: what YAML gave.
        where: the file and key that `content` came from, for the message.

    Raises:
        PipelineError: the first thing wrong, and how many more there are.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key is also a missing one; what was written says more than what was not.
        errors.sort(key=lambda found: found["type"] != "extra_forbidden")
        places = [_place(found["loc"], content) for found in errors]
        problems = zip(errors, places, strict=True)
        said = dict.fromkeys(_said(one, errors) for one, place in problems if place == places[0])
        more = len(set(places)) - 1
        raise PipelineError(
            f"{where}{places[0]}: {' or '.join(said)}{_found(errors[0])}"
            + (f" (and {more} more)" if more else "")
        ) from error


def _place(location: Sequence[int | str], content: Any) -> str:
    """The part of pydantic's location that leads through `content`; it goes on through types."""
    keys = ""
    for key in location:
        if not isinstance(content, dict | list):
            break
        keys += f".{key}"
        try:
            content = content[key]  # type: ignore[index]
        except (LookupError, TypeError):
            content = None
    return keys


def _said(found: ErrorDetails, errors: Sequence[ErrorDetails]) -> str:
    """What is wrong and what would be right."""
    *parent, key = found["loc"] or ("",)
    if found["type"] == "extra_forbidden":
        siblings = (one["loc"] for one in errors if one["type"] == "missing")
        missing = [str(last) for *above, last in siblings if above == parent]
        meant = difflib.get_close_matches(str(key), missing, n=1)
        return f"unknown key; {f'is `{meant[0]}` meant?' if meant else 'remove it'}"
    said = found["msg"].removeprefix("Value error, ")
    said = said.replace("Input should", "must").replace("should", "must")
    return _SAID.get(found["type"], said)


def _found(found: ErrorDetails) -> str:
    """The value that is wrong, if it is a value."""
    value = found["input"]
    if found["type"] in ("missing", "extra_forbidden", "invalid_key"):
        return ""
    if found["type"] == "value_error" and isinstance(value, dict | list | tuple):
        return ""  # the message says what of it is wrong
    return f", found {shown(value)}"


def shown(value: Any) -> str:
    """A value in a line that is never long."""
    try:
        # Before it is cut: half an address would show what its end makes a password.
        return _SHORT.repr(without_secrets(value) if isinstance(value, str) else value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return f"a {type(value).__name__} of very many digits"


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxdict = _SHORT.maxlist = 6
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = LONGEST_VALUE
