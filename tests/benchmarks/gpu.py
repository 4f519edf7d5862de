"""Training on a GPU, ours on JAX against PyTorch: `python -m tests.benchmarks.gpu [--rounds 30]`.

The three networks of preset `monuseg`, batches of 16 crops of 256, bfloat16: ours with and without
`train.deterministic`, PyTorch channels-last under autocast, as it is and by torch.compile. All take
turns in one sitting, batches travel to the card each time, and a figure is of the median round. Use
is what `nvidia-smi` says of the card while one side alone runs. Prints a table.
"""

import argparse
import subprocess
import sys
import time
from statistics import mean

from tqdm import tqdm

from tests.benchmarks.ratios import FULL, paired, seconds, started
from tests.benchmarks.sides import BATCH, NETWORKS

PRECISION = "mixed_bfloat16"
# By head of the column: the side, and its options.
SIDES = {
    "JAX, deterministic": ("keras", []),
    "JAX": ("keras", ["--free"]),
    "PyTorch": ("torch", []),
    "PyTorch, compiled": ("torch", ["--compiled"]),
}
USED = 5.0  # seconds that a side runs alone
UTILISATION = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]


def command(head: str, network: str) -> tuple[str, ...]:
    """The arguments of a side."""
    side, options = SIDES[head]
    return (side, "training", network, PRECISION, FULL, "--device", "gpu", *options)


def utilisation(arguments: tuple[str, ...]) -> float:
    """How busy the card is while a side runs alone, in percent."""
    with started(*arguments) as side:
        found = []
        until = time.perf_counter() + USED
        while time.perf_counter() < until:
            asking = subprocess.Popen(UTILISATION, stdout=subprocess.PIPE, text=True)
            seconds(side)
            found.append(float(asking.communicate()[0].split()[0]))
    return mean(found)


def main() -> None:
    """Print a line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    name = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        print(subprocess.run(name, capture_output=True, text=True, check=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        sys.exit("nvidia-smi finds no GPU; this benchmark needs one, with JAX and PyTorch for it")
    heads = ["network", *SIDES, "best of ours / best of theirs"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for network in tqdm(NETWORKS, disable=not sys.stderr.isatty()):
        commands = [command(head, network) for head in SIDES]
        speeds = [BATCH["gpu"] / taken for taken in paired(commands, rounds)]
        cells = [
            f"{speed:.0f} tiles/s, {utilisation(one):.0f} % used"
            for speed, one in zip(speeds, commands, strict=True)
        ]
        ratio = max(speeds[:2]) / max(speeds[2:])
        print(f"| {network} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
