"""Compare metrics/ with what is committed, within a tolerance: `make check-reference`; no stage.

`python -m tools.check_reference [REFERENCE]`, where REFERENCE is a git revision (HEAD unless
given) or a folder that holds params.yaml and metrics/. On the same kind of machine, with the same
number of threads, nothing differs at all; elsewhere sums are rounded in another order, training
carries that on, and the scores agree to about what is allowed here.
"""

import argparse
import csv
import io
import json
import math
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monuseg.core import paths
from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.params import ModelsParams, parse_yaml
from monuseg.formats.predictions import BASELINE, row_names

# No training in it: only the rounding of the last of the six printed digits.
EXACT = 1e-5
# Of trained rows. With one thread in place of two, the default run's U-Net changed the losses and
# pixel scores of a split by up to 0.010, AJI and its bounds by up to 0.042, PQ and its by up to
# 0.067: these count nuclei, and settings for parting them are chosen on two images. Twice that.
PIXELS = 0.02
NUCLEI = 0.14
OF_NUCLEI = ("aji", "pq")
# Parameters that may differ: how sums are split and on what they are computed.
RUNTIME = frozenset({"backend", "device", "precision", "xla", "deterministic", "threads"})

Values = Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """A value that is another than in the reference.

    Attributes:
        place: file and key.
        reference: None if only the work tree has it.
        now: None if only the reference has it.
        tolerance: how far apart the two may be.
    """

    place: str
    reference: float | None
    now: float | None
    tolerance: float

    @property
    def beyond(self) -> bool:
        """Whether it is further than the tolerance, or on one side only."""
        if self.reference is None or self.now is None:
            return True
        return abs(self.now - self.reference) > self.tolerance


def main(arguments: argparse.Namespace) -> None:
    """Print what differs.

    Raises:
        PipelineError: the reference has other parameters, is no reference, or a value is further
            from it than the tolerance.
    """
    reference = arguments.reference
    _check_params(reference)
    differences: list[Difference] = []
    for file in compared_files(ModelsParams.load().names):
        old = values(file, text_of(reference, file), where=f"{reference}: {file}")
        new = values(file, _text(file), where=str(file))
        differences += compared(file, old, new)
    if not differences:
        print(f"metrics/ is that of {reference}, to the last digit")
        return
    print("\n".join(table(differences)))
    beyond = [difference for difference in differences if difference.beyond]
    if beyond:
        raise PipelineError(
            f"{beyond[0].place} and {len(beyond) - 1} more are further from {reference} than the "
            "tolerance; look for what differs: code, params (`git diff`), packages (`pip freeze`)"
        )
    print(f"metrics/ is that of {reference} within the tolerance")


def compared_files(models: list[str]) -> list[Path]:
    """The files that are compared; those of epochs' histories for their outcome."""
    return [paths.METRICS / f"{row}.json" for row in row_names(models)] + [
        paths.HISTORY / f"{model}.csv" for model in models
    ]


def tolerance(file: Path, key: str) -> float:
    """How far a value may be from the reference's.

    Args:
        file: that it is in.
        key: its dotted key, or its column.
    """
    if file.stem == BASELINE:
        return EXACT
    return NUCLEI if key.rpartition(".")[2].startswith(OF_NUCLEI) else PIXELS


def values(file: Path, text: str, *, where: str) -> dict[str, float]:
    """The numbers of a metrics file by dotted key, or of the last row of a history by column.

    Raises:
        PipelineError: it is no such file.
    """
    try:
        if file.suffix == ".json":
            return dict(_leaves(json.loads(text), ""))
        *_, last = csv.DictReader(io.StringIO(text))
        return {column: float(value) for column, value in last.items() if value}
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{where}: no metrics file ({error}); run `dvc repro`") from error


def compared(file: Path, old: Values, new: Values) -> list[Difference]:
    """All values that are not the same on both sides, in the order of their keys."""
    return [
        Difference(f"{file}: {key}", old.get(key), new.get(key), tolerance(file, key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def table(differences: list[Difference]) -> list[str]:
    """The lines of a table of differences, those beyond the tolerance marked."""
    width = max(len(difference.place) for difference in differences)
    lines = [f"{'':{width}}  {'reference':>10}  {'now':>10}  {'change':>10}  {'allowed':>8}"]
    for one in differences:
        change = "" if one.reference is None or one.now is None else one.now - one.reference
        lines.append(
            f"{one.place:{width}}  {_shown(one.reference):>10}  {_shown(one.now):>10}  "
            f"{change if change == '' else f'{change:+.6f}':>10}  {one.tolerance:>8g}"
            f"{'  BEYOND' if one.beyond else ''}"
        )
    return lines


def text_of(reference: str, file: Path) -> str:
    """A file of the reference.

    Raises:
        PipelineError: there is none, or no git to ask.
    """
    if Path(reference).is_dir():
        return _text(Path(reference) / file)
    git = shutil.which("git")
    if git is None:
        raise PipelineError("git is not installed; install it, or name a folder as the reference")
    shown = subprocess.run(
        [git, "show", "--end-of-options", f"{reference}:./{file.as_posix()}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if shown.returncode != 0:
        said = shown.stderr.strip().splitlines()
        raise PipelineError(
            f"reference {reference}: no {file} there ({said[-1] if said else 'git said nothing'}); "
            "name a revision that has it, or a folder"
        )
    return shown.stdout


def _check_params(reference: str) -> None:
    """Refuse a reference whose parameters would give other scores anyway."""
    old = dict(_flat(parse_yaml(text_of(reference, paths.PARAMS)), ""))
    new = dict(_flat(parse_yaml(_text(paths.PARAMS)), ""))
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key) and key.rpartition(".")[2] not in RUNTIME:
            raise PipelineError(
                f"{paths.PARAMS}: {key} is {new.get(key)!r}, and {old.get(key)!r} in {reference}; "
                "scores of other parameters do not compare: set it back, or name another reference"
            )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PipelineError(f"{file} is missing; run `dvc repro`") from error


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        yield prefix, content
        return
    for key, value in content.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in _flat(content, prefix):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{key} is {value}")
        yield key, number


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6f}"


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("reference", nargs="?", default="HEAD", help="a git revision or a folder")
    run(main, command.parse_args())
