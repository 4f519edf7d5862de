"""List the commands of a clone: `python -m tools`."""

import ast
from pathlib import Path

COMMAND = 'if __name__ == "__main__":'


def main() -> None:
    """Print a line a command; none is imported for it."""
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        if COMMAND in text:
            first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
            print(f"python -m tools.{path.stem:<16} {first.partition(': `')[0].rstrip('.')}")


if __name__ == "__main__":
    main()
