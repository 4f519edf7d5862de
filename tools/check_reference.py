"""Compare metrics/ with those of a commit, within a tolerance: `make check-reference`.

`python -m tools.check_reference [REVISION]` asks `dvc metrics diff`. On the same kind of machine,
with the same number of threads, nothing differs at all; elsewhere sums are rounded in another
order, training amplifies that, and the scores agree to about what is allowed here.
"""

import argparse
from pathlib import Path

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.paths import METRICS, PARAMS
from monuseg.formats.rows import BASELINE
from tools.dvc import changes

# No training in it: only the rounding of the last of the six printed digits.
EXACT = 1e-5
# Of trained rows. With one thread in place of two, the default run's U-Net changed the losses and
# pixel scores of a split by up to 0.010, AJI and its bounds by up to 0.042, PQ and its by up to
# 0.067: these count nuclei, and settings for separating them are chosen on two images. Twice that.
PIXELS = 0.02
NUCLEI = 0.14
OF_NUCLEI = ("aji", "pq")
# Parameters that may differ: how sums are split and on what they are computed.
RUNTIME = frozenset({"backend", "device", "precision", "xla", "deterministic", "threads"})


def main(arguments: argparse.Namespace) -> None:
    """Print what differs.

    Raises:
        PipelineError: the revision has other parameters or does not exist, or a value is further
            from it than the tolerance.
    """
    revision = arguments.revision
    for key, values in changes("params", revision).get(str(PARAMS), {}).items():
        if key.rpartition(".")[2] not in RUNTIME:
            raise PipelineError(
                f"{PARAMS}: {key} is {values['new']!r}, and {values['old']!r} in {revision}; "
                "scores of other parameters do not compare: set it back, or name another revision"
            )
    rows = [
        {"score": f"{file}: {key}", **values, "allowed": tolerance(Path(file), key)}
        for file, scores in changes("metrics", revision).items()
        for key, values in scores.items()
    ]
    if not rows:
        print(f"{METRICS}/ is that of {revision}, to the last digit")
        return
    table = pd.DataFrame(rows, columns=["score", "old", "new", "allowed"]).set_index("score")
    change = (table["new"].astype(float) - table["old"].astype(float)).abs()
    table["beyond"] = ~(change <= table["allowed"])  # also where either is missing
    print(table.to_string(float_format="{:.6f}".format))
    beyond = table.index[table["beyond"]]
    if len(beyond):
        raise PipelineError(
            f"{beyond[0]} and {len(beyond) - 1} more are further from {revision} than the "
            "tolerance; look for what differs: code, params (`git diff`), packages (`pip freeze`)"
        )
    print(f"{METRICS}/ is that of {revision} within the tolerance")


def tolerance(file: Path, key: str) -> float:
    """How far a value may be from the reference's.

    Args:
        file: that it is in.
        key: its dotted key.
    """
    if file.stem == BASELINE:
        return EXACT
    return NUCLEI if key.rpartition(".")[2].startswith(OF_NUCLEI) else PIXELS


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("revision", nargs="?", default="HEAD", help="of git")
    run(main, command.parse_args())
