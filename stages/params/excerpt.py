"""What a model's module says of its block, without Keras, which importing the module would load.

A model is one module, whose layers need Keras; its class `Params` and its constant `DIVISOR` do
not. They are taken out of the source with what they need of it, so that a misspelt key of a model
is told in a second and not when its training starts.
"""

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.abc import InspectLoader

from stages.errors import PipelineError
from stages.params.model import ModelParams, file_of

WANTED = ("Params", "DIVISOR")


@dataclass(frozen=True)
class Excerpt:
    """What there is to know of a model's block.

    Attributes:
        params: the module's class `Params`.
        divisor: its constant `DIVISOR`, which must divide an input's height and width.
    """

    params: type[ModelParams]
    divisor: int


def excerpt_of(model: str) -> Excerpt:
    """The class `Params` and the constant `DIVISOR` of a model.

    Args:
        model: for which `stages.params.model.is_model` holds.

    Raises:
        PipelineError: the module defines no `DIVISOR`.
    """
    loader = _Loader(file_of(model).read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_loader(f"stages.models.{model}", loader)
    if spec is None:
        raise ImportError(f"stages.models.{model} cannot be loaded")
    # Not among `sys.modules`: it is not the whole module.
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    if not hasattr(module, "DIVISOR"):
        raise PipelineError(f"{file_of(model)}: no DIVISOR; define what an input's sides divide by")
    return Excerpt(module.Params, module.DIVISOR)


class _Loader(InspectLoader):
    """Loads of a source the statements that `WANTED` are defined by, and nothing else."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        """The statements that are loaded."""
        tree = ast.parse(self._source)
        wanted, kept = set(WANTED), set[int]()
        while True:
            found = {
                number
                for number, statement in enumerate(tree.body)
                if number not in kept and wanted & set(_defined(statement))
            }
            if not found:
                break
            kept |= found
            for number in found:
                wanted |= {
                    node.id for node in ast.walk(tree.body[number]) if isinstance(node, ast.Name)
                }
        tree.body = [tree.body[number] for number in sorted(kept)]
        return ast.unparse(tree)


def _defined(statement: ast.stmt) -> Iterable[str]:
    """The names that a statement of a module gives a meaning."""
    match statement:
        case ast.Import(names) | ast.ImportFrom(names=names):
            return [(alias.asname or alias.name).partition(".")[0] for alias in names]
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return [name]
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            nodes = ast.walk(statement)
            return [
                node.id
                for node in nodes
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            ]
    return []
