"""Which changes of the code are tried: a sample of Cosmic Ray's, of those that could do harm."""

import ast
import difflib
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# Left out: what Python itself refuses nearly always (shifts, bits of floats, `is` with a number,
# an exception that does not exist), and what another operator does too (`+x` is `x`).
_ARITHMETIC = "(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)"
_ORDER = "(Eq|NotEq|Lt|LtE|Gt|GtE)"
UNFIT = re.compile(
    f"Shift|_{_ARITHMETIC}_Bit|_Bit[A-Z][a-z]+_{_ARITHMETIC}|_{_ORDER}_Is|_Is(Not)?_{_ORDER}"
    "|_(UAdd|Invert)$|ExceptionReplacer"
)
OPERATORS = {
    name: get_operator(name)()
    for name in operator_names()
    if not UNFIT.search(name) and not get_operator(name).arguments()
}


@dataclass(frozen=True)
class Place:
    """Where a file can be changed; `path` and `line` move when other code does, the rest does not.

    Attributes:
        path: of the file, from the root of the tree.
        line: in the file.
        column: in the line without its indentation.
        function: that is changed, or class.
        text: of the line.
    """

    path: str
    line: int
    column: int
    function: str
    text: str


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        place: where.
        code: the whole file, changed.
        key: the file's stem and the function, then the lines taken out and put in.
    """

    place: Place
    code: str
    key: str


def draw(paths: Iterable[str], sample: int, seed: int) -> list[Mutant]:
    """Places by lot and of each one change by lot; a second of each where places run out.

    Lots depend on the function and the line alone, so a sample stays nearly the same where files
    move or other code is edited.
    """

    def lot(place: Place, *change: object) -> str:
        words = (seed, place.column, place.function, place.text, *change)
        return hashlib.sha256(repr(words).encode()).hexdigest()

    changes = defaultdict(list)
    for path in paths:
        for place, operator, occurrence in _changes(path):
            of_place = changes[place]
            of_place.append((lot(place, operator, len(of_place)), operator, occurrence))
    in_turn = sorted(
        (turn, lot(place), place.path, place.line, place, *change)
        for place, of_place in changes.items()
        for turn, change in enumerate(sorted(of_place))
    )
    drawn: dict[str, Mutant] = {}
    for *_, place, _, operator, occurrence in in_turn:
        if len(drawn) == sample:
            break
        source = Path(place.path).read_text(encoding="utf-8")
        code = mutate_code(source, OPERATORS[operator], occurrence)
        if code and _does_more(source, code):
            mutant = Mutant(place, code, _key(place, source, code))
            drawn.setdefault(mutant.key, mutant)
    return list(drawn.values())


def _changes(path: str) -> Iterator[tuple[Place, str, int]]:
    """Every place of a file with an operator that fits, and the operator's count in the file."""
    source = Path(path).read_text(encoding="utf-8")
    lines = source.splitlines()
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in OPERATORS.items():
        at = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (node, (line, column)) in enumerate(at):
            text = lines[line - 1]
            text, column = text.strip(), column - len(text) + len(text.lstrip())
            function = ASTQuery(node).get_definition_name() or "module"
            yield Place(path, line, column, function, text), name, occurrence


def _key(place: Place, before: str, after: str) -> str:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    changed = [f"{line[0]} {line[2:].strip()}" for line in lines if line[0] in "-+"]
    return "\n".join([f"{Path(place.path).stem}.{place.function}", *changed])


def _does_more(before: str, after: str) -> bool:
    """Whether a change is valid Python and not of annotations, of errors or of decorators alone."""
    try:
        return _bare(before) != _bare(after)
    except SyntaxError:
        return False


def _bare(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.arg() | ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.FunctionDef():
                node.returns = None
            case ast.ClassDef():
                node.decorator_list = [getattr(one, "func", one) for one in node.decorator_list]
            case ast.Raise():
                node.exc = None
    return ast.dump(tree)
