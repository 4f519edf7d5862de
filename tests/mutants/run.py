"""Change the code in one place at a time, and see whether a test notices.

A fixed sample of changes by Cosmic Ray's operators, each tried in a copy of the working tree on the
tests that `tests.mutants.table` names for the file. Which changes are drawn depends on nothing but
the changed function, so the sample stays nearly the same when code moves or is edited elsewhere.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.testing import TestOutcome, run_tests
from tqdm import tqdm

from tests.mutants.drawing import Mutant, draw
from tests.mutants.table import DESELECTED, TESTS

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = Path(__file__).with_name("equivalents.txt")
PYTEST = "-m pytest -x -q -p no:cacheprovider -p tests.mutants.first_failure"


def main() -> int:
    """Try the sample; 1 if too few changes are noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="how many changes to try")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--least", type=float, default=0.85, help="share that tests must notice")
    parser.add_argument(
        "--results", type=Path, default=ROOT / ".scratch/mutants.jsonl", help="goes on from these"
    )
    arguments = parser.parse_args()
    results = arguments.results.resolve()
    os.environ.pop("MONUSEG_ARCHIVES", None)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = _copy_of_the_tree(Path(folder))
        with contextlib.chdir(folder):
            mutants = draw(TESTS, arguments.sample, arguments.seed)
            noticed = _tried(mutants, results, tree)
    return _report(mutants, noticed, arguments.least)


def _copy_of_the_tree(folder: Path) -> str:
    """Copy what git tracks or would track, and return a digest of what tests may depend on."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    digest = hashlib.sha256()
    for name in sorted(set(listed.split("\0")) - {""}):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
            if ROOT / name != EQUIVALENTS and not name.endswith(".md"):
                digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()


def _tried(mutants: list[Mutant], results: Path, tree: str) -> set[str]:
    """The keys of the changes that tests notice; those in `results` are not tried again."""
    results.parent.mkdir(parents=True, exist_ok=True)
    results.touch()
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    noticed = {one["key"]: one["noticed"] for one in found if one["tree"] == tree}
    left = [mutant for mutant in mutants if mutant.key not in noticed]
    files = sorted({mutant.place.path for mutant in left})
    limits = {file: _time_limit(TESTS[file]) for file in tqdm(files, "unchanged", disable=None)}
    for mutant in tqdm(left, "changed", disable=None):
        file = Path(mutant.place.path)
        original = file.read_bytes()
        file.write_text(mutant.code, encoding="utf-8")
        noticed[mutant.key] = not _pass(TESTS[mutant.place.path], limits[mutant.place.path])
        file.write_bytes(original)
        content = {"tree": tree, "key": mutant.key, "noticed": noticed[mutant.key]}
        with results.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(content) + "\n")
    return {mutant.key for mutant in mutants if noticed[mutant.key]}


def _time_limit(tests: list[str]) -> float:
    """Seconds after which a change counts as noticed; without any change all tests must pass."""
    started = time.monotonic()
    if not _pass(tests, 600):
        raise SystemExit(f"error: without any change a test fails in {' '.join(tests)}")
    return 10 + 4 * (time.monotonic() - started)


def _pass(tests: list[str], limit: float) -> bool:
    words = [f"--deselect={test}" for test in DESELECTED] + tests
    outcome, output = run_tests(f"{sys.executable} {PYTEST} {shlex.join(words)}", limit)
    if outcome is TestOutcome.INCOMPETENT:
        raise SystemExit(f"error: the tests cannot be started\n{output}")
    return outcome is TestOutcome.SURVIVED


def _report(mutants: list[Mutant], noticed: set[str], least: float) -> int:
    """Print what no test noticed, and the share; 1 if that is below `least`."""
    equivalent = _equivalents()
    counted = [one for one in mutants if one.key in noticed or one.key not in equivalent]
    for mutant in counted:
        if mutant.key not in noticed:
            print(f"{mutant.place.path}:{mutant.place.line}\n{mutant.key}\n")
    for mutant in mutants:
        if mutant.key in noticed & equivalent:
            print(f"in {EQUIVALENTS.name}, but a test notices it:\n{mutant.key}\n")
    share = len(noticed) / len(counted)
    print(
        f"{len(noticed)} of {len(mutants)} changes are noticed, "
        f"{len(mutants) - len(counted)} change nothing: {share:.1%}, at least {least:.0%}"
    )
    return int(share < least)


def _equivalents() -> set[str]:
    """The keys in the list: blocks as they are printed here, each with its reason as a comment."""
    text = EQUIVALENTS.read_text(encoding="utf-8")
    return {
        "\n".join(line for line in block.splitlines() if not line.startswith("#"))
        for block in text.strip().split("\n\n")
    }


if __name__ == "__main__":
    sys.exit(main())
