"""Where the stages' files lie, relative to the project's folder, in which every command runs."""

from pathlib import Path

PARAMS = Path("params.yaml")

DATA = Path("data")
ARCHIVES = DATA / "archives"
RAW = DATA / "raw"
MASKS = DATA / "masks"
TILES = DATA / "tiles"
SPLITS = DATA / "splits.csv"
MODELS = DATA / "models"
PREDICTIONS = DATA / "predictions"
NUCLEI = DATA / "nuclei"

# No stage's output; see `Settings.scratch`.
SCRATCH = Path(".scratch")

METRICS = Path("metrics")
HISTORY = METRICS / "history"
DETAIL = METRICS / "detail"
PER_IMAGE = METRICS / "per_image"
REFERENCE = METRICS / "reference"
