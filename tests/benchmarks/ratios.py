"""Ours against PyTorch on this processor: `python -m tests.benchmarks.ratios [--rounds 15]`.

Both sides of a row take turns in one sitting, and the ratio is that of their medians, so that a
machine that is busy for a while slows both. The table goes to docs/performance.md.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import pandas as pd
from tqdm import tqdm

from stages.train.params import TrainParams
from tests.benchmarks.sides import BATCH, NETWORKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- ratios: written by make bench -->", "<!-- end of ratios -->"
PRECISIONS = ("float32", "mixed_bfloat16")
WORKS = ("training", "forward")


@contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A side that is warm."""
    command = [sys.executable, "-m", "tests.benchmarks.sides", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as side:
        assert side.stdout is not None
        try:
            for line in side.stdout:
                if line.strip() == "ready":
                    yield side
                    break
            else:
                sys.exit(f"{' '.join(command)} failed")
        finally:
            side.kill()


def seconds(side: "subprocess.Popen[str]") -> float:
    """How long one round takes."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write("\n")
    side.stdin.flush()
    return float(side.stdout.readline())


def paired(sides: list[tuple[str, ...]], rounds: int) -> list[float]:
    """The median seconds of each side, which take turns."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(*side)) for side in sides]
        times = [[seconds(process) for process in processes] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def table(rounds: int) -> pd.DataFrame:
    """A row for each kind of work, network and precision."""
    rows = []
    kinds = [(work, network, p) for work in WORKS for network in NETWORKS for p in PRECISIONS]
    for work, network, precision in tqdm(kinds, disable=not sys.stderr.isatty()):
        ours, theirs = paired(
            [("keras", work, network, precision), ("torch", work, network, precision)], rounds
        )
        shown = (lambda s: f"{BATCH / s:.1f} tiles/s") if work == "training" else "{:.3f} s".format
        rows.append(
            {
                "work": "training step, 8 x 256 px" if work == "training" else "image, 1008 px",
                "network": network,
                "precision": precision.removeprefix("mixed_"),
                "this project": shown(ours),
                "PyTorch": shown(theirs),
                "speed, ours / PyTorch": f"{theirs / ours:.2f}",
            }
        )
    return pd.DataFrame(rows)


def processor() -> str:
    """What it was measured on."""
    name = platform.processor() or platform.machine()
    with suppress(FileNotFoundError):  # of Linux
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(
            (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line),
            name,
        )
    return f"Measured on: {name}, {TrainParams.load().threads} threads."


def main() -> None:
    """Print the table and put it into docs/performance.md."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rounds", type=int, default=15)
    made = table(command.parse_args().rounds)
    cells = [list(made.columns), ["---"] * len(made.columns), *made.to_numpy().tolist()]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    print(lines)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [f"{before}{BEGIN}", processor(), lines, f"{END}{after}"]
    PAGE.write_text("\n\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
