"""The folders of a project, relative to its root, which is the current folder of every command."""

from pathlib import Path

PARAMS = Path("params.yaml")
DATA = Path("data")
METRICS = Path("metrics")
SCRATCH = Path(".scratch")  # no stage's output; see `Settings.scratch`
