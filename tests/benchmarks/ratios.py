"""Ours against PyTorch on this processor: `python -m tests.benchmarks.ratios [--rounds 15]`.

Both sides of a row take turns in one sitting, and the ratio is that of their medians, so that a
machine that is busy for a while slows both. Beside the networks: AJI and PQ against a mask a
nucleus, and `dvc repro` with nothing to do against `dvc status`, in a clone that is up to date.
With --full-size the networks of preset `monuseg` too, a minute a round. The table goes to
docs/performance.md.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from stages.train.params import TrainParams
from tests.benchmarks import sides
from tests.benchmarks.sides import BATCH, NETWORKS, SIZES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- ratios: written by make bench -->", "<!-- end of ratios -->"
PRECISIONS = ("float32", "mixed_bfloat16")
WORKS = ("training", "forward")
CPU, FULL = SIZES
FEW = 3  # rounds of what takes many seconds
SECONDS = "{:.3f} s".format
HEADS = ["work", "network", "precision", "this project", "the other side", "speed, ours / theirs"]


class Row(NamedTuple):
    """A row of the table, under `HEADS`."""

    work: str
    network: str
    precision: str
    ours: str
    theirs: str
    ratio: str


@contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A side that is warm."""
    command = [sys.executable, "-m", "tests.benchmarks.sides", *arguments]
    pipe = subprocess.PIPE
    # JAX would take most of a card's memory, and sides share it.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as side:
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


def paired(commands: list[tuple[str, ...]], rounds: int) -> list[float]:
    """The median seconds of each side, which take turns."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(*side)) for side in commands]
        times = [[seconds(process) for process in processes] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def networks(rounds: int, size: str) -> Iterator[Row]:
    """A row for each kind of work, network and precision."""
    kinds = list(product(WORKS, NETWORKS, PRECISIONS))
    for work, network, precision in tqdm(kinds, disable=not sys.stderr.isatty()):
        ours, theirs = paired(
            [(side, work, network, precision, size) for side in ("keras", "torch")], rounds
        )
        shown = (lambda s: f"{BATCH['cpu'] / s:.1f} tiles/s") if work == "training" else SECONDS
        what = "training step, 8 x 256 px" if work == "training" else "image, 1008 px"
        yield Row(
            f"{what}, full size" if size == FULL else what,
            network,
            precision.removeprefix("mixed_"),
            shown(ours),
            shown(theirs),
            f"{theirs / ours:.2f}",
        )


def scoring(rounds: int) -> Row:
    """AJI and PQ against a mask a nucleus, the values of which are the same."""
    assert np.allclose(sides.ours_scoring()(), sides.masks_scoring()(), rtol=1e-9)
    ours, theirs = paired([("ours", "scoring"), ("masks", "scoring")], rounds)
    nuclei = len(np.unique(sides.label_maps()[0])) - 1
    what = f"AJI and PQ of {nuclei:,} nuclei, against a mask a nucleus"
    return Row(what, "", "", SECONDS(ours), SECONDS(theirs), f"{theirs / ours:.0f}")


def whole_images(rounds: int) -> Iterator[Row]:
    """An image in eight views by the preset's engine, against Keras and against bare passes."""
    sides_of = [("preset", "views"), ("keras", "views"), ("passes", "views")]
    ours, keras, passes = paired(sides_of, rounds)
    for what, theirs in (("Keras in float32", keras), ("its forward passes alone", passes)):
        work = f"image, 1000 px, eight views, all in, against {what}"
        yield Row(work, "unet", "auto", SECONDS(ours), SECONDS(theirs), f"{theirs / ours:.2f}")


def batches(rounds: int) -> Row:
    """Training on crops as they come against one batch again and again."""
    ours, theirs = paired([("real", "batches"), ("fixed", "batches")], rounds)
    what = "20 training steps on crops as they come, against one batch again and again"
    return Row(what, "unet", "auto", SECONDS(ours), SECONDS(theirs), f"{theirs / ours:.2f}")


def graph(rounds: int) -> Row | None:
    """`dvc repro` with nothing to do against `dvc status`; None where there is something to do."""
    status = [sys.executable, "-m", "dvc", "status", "--quiet"]
    if subprocess.run(status, check=False).returncode:
        print("no row of `dvc repro`: this clone is not up to date", file=sys.stderr)
        return None
    ours, theirs = paired([("repro", "graph"), ("status", "graph")], rounds)
    what = "`dvc repro` with nothing to do, against `dvc status`"
    return Row(what, "", "", SECONDS(ours), SECONDS(theirs), f"{theirs / ours:.2f}")


def rows(rounds: int, *, full_size: bool) -> Iterator[Row]:
    """All rows of the table."""
    yield from networks(rounds, CPU)
    yield from whole_images(FEW)
    yield batches(FEW)
    yield scoring(FEW)
    if row := graph(rounds):
        yield row
    if full_size:
        yield from networks(min(rounds, FEW), FULL)


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
    command.add_argument("--full-size", action="store_true", help="of preset `monuseg` too")
    given = command.parse_args()
    lines = []
    heads = [HEADS, ["---"] * len(HEADS)]
    for cells in chain(heads, rows(given.rounds, full_size=given.full_size)):
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)  # as they come: a later side may fail
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [f"{before}{BEGIN}", processor(), "\n".join(lines), f"{END}{after}"]
    PAGE.write_text("\n\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
