"""Blocks of params.yaml as frozen, validated models."""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.errors import PipelineError
from stages.paths import PARAMS


class Model(BaseModel):
    """Part of a block: frozen; an unknown key is an error, and so is a NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Block(Model):
    """A block of params.yaml that stages read as a whole.

    A stage declares a block by importing its module; `stages.graph` writes what `dvc_keys` returns
    under that stage's `params:` in dvc.yaml.

    Attributes:
        key: the block's top-level key in params.yaml.
    """

    key: ClassVar[str]

    @classmethod
    def dvc_keys(cls) -> list[str]:
        """The keys of params.yaml that the block consists of, as dvc.yaml names them."""
        return [cls.key]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """What the block is validated from: only what `dvc_keys` names."""
        return content[cls.key]

    @classmethod
    def load(cls, file: Path = PARAMS) -> Self:
        """Read and validate the block.

        Raises:
            PipelineError: the file cannot be read, or a key is missing, unknown or out of range.
        """
        content = read_params(file)
        if cls.key not in content:
            raise PipelineError(f"{file}: the block `{cls.key}:` is missing; add it")
        made: Self = validated(cls, cls.select(content), where=f"{file}: {cls.key}")
        return made


def read_params(file: Path = PARAMS) -> dict[str, Any]:
    """The whole of a params file, unvalidated.

    Raises:
        PipelineError: the file is missing, is no YAML, or is no mapping of blocks.
    """
    try:
        content = parse_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PipelineError(f"{file} is missing; run this in the project's folder") from error
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise PipelineError(f"{place}: no valid YAML: {problem}") from error
    if not isinstance(content, dict):
        raise PipelineError(f"{file}: expected a mapping of blocks, found {type(content).__name__}")
    return content


def parse_yaml(text: str) -> Any:
    """What a text means in YAML 1.2, as DVC reads it: `on` is a word, `1e-3` a number.

    Raises:
        YAMLError: it is none, or a key stands twice in one mapping.
    """
    return YAML(typ="safe", pure=True).load(text)


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
        first, *more = error.errors()
        place = ".".join([where, *(str(part) for part in first["loc"])])
        others = f" (and {len(more)} more)" if more else ""
        message = first["msg"].removeprefix("Value error, ")
        raise PipelineError(f"{place}: {message}, found {first['input']!r}{others}") from error
