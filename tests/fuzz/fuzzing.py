"""What the fuzzers have in common: folders, findings and how libFuzzer is started.

A finding does not end a run: each place in the code that raises something new has its first input
saved as <folder>/findings/<exception>-<file>-<line>, and its traceback printed. What libFuzzer
itself stops at (a crash of native code, too much memory, too long a time) it saves there too.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import atheris
from numpy.random import default_rng

from tests.fuzz.mutations import Mutation

ROOT = Path(__file__).resolve().parents[2]


class Findings:
    """A context that keeps, for each place that raises, the first input that made it do so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = b""
        self._counts: Counter[str] = Counter()

    def of(self, content: bytes) -> "Findings":
        """The context for one input."""
        self._content = content
        return self

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Save an unexpected exception; an interruption goes on its way."""
        if kind is None:
            return True
        if not issubclass(kind, Exception):
            return False
        name = f"{kind.__name__}-{_place(trace)}"
        self._counts[name] += 1
        if self._counts[name] == 1:
            (self._folder / name).write_bytes(self._content)
            print(f"FINDING {name}", file=sys.stderr)
            traceback.print_exception(error, limit=-6, file=sys.stderr)
        return True


def _place(trace: TracebackType | None) -> str:
    """File and line of the innermost frame that is the project's own."""
    own = [
        frame
        for frame in traceback.extract_tb(trace)
        if Path(frame.filename).is_relative_to(ROOT) and Path(frame.filename) != Path(__file__)
    ]
    return f"{Path(own[-1].filename).stem}-{own[-1].lineno}" if own else "elsewhere"


def fuzz(
    check: Callable[[bytes], str],
    *,
    seeds: list[bytes],
    words: list[str],
    mutation: Mutation,
    longest: int,
) -> None:
    """Run libFuzzer until its time is over; never returns.

    Args:
        check: one of `tests.fuzz.contracts`.
        seeds: valid inputs to start from.
        words: of the format, for the dictionary.
        mutation: one of `tests.fuzz.mutations`.
        longest: bytes of an input.
    """
    command = argparse.ArgumentParser()
    command.add_argument("folder", type=Path, help="for corpus and findings")
    command.add_argument("--seconds", type=int, required=True)
    arguments = command.parse_args()
    corpus, findings = arguments.folder / "corpus", arguments.folder / "findings"
    dictionary = arguments.folder / "dictionary"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words), encoding="ascii")
    # An odd archive makes `zipfile` and OpenCV warn; here a thousand times a second.
    warnings.simplefilter("ignore")
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    found = Findings(findings)

    def one(content: bytes) -> None:
        with found.of(content):
            check(content)

    def mutate(content: bytes, max_size: int, seed: int) -> bytes:
        made = mutation(content, lambda part: atheris.Mutate(part, max_size), default_rng(seed))
        return made if len(made) <= max_size else atheris.Mutate(content, max_size)

    options = {
        "artifact_prefix": f"{findings}/",
        "dict": dictionary,
        "max_len": longest,
        "max_total_time": arguments.seconds,
        "print_final_stats": 1,
        "rss_limit_mb": 2048,
        "report_slow_units": 30,
        "timeout": 30,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], str(corpus), *flags], one, custom_mutator=mutate)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    # Words of one byte a character are bytes of a format, others are text.
    content = word.encode("latin-1" if max(word) <= "\xff" else "utf-8")
    return "".join(f"\\x{byte:02x}" for byte in content)
