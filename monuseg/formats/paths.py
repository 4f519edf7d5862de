"""Where the files of stages lie, relative to the project's root."""

from monuseg.core.paths import DATA, METRICS

ARCHIVES = DATA / "archives"
RAW = DATA / "raw"
MASKS = DATA / "masks"
TILES = DATA / "tiles"
SPLITS = DATA / "splits.csv"
MODELS = DATA / "models"
PREDICTIONS = DATA / "predictions"
NUCLEI = DATA / "nuclei"

HISTORY = METRICS / "history"
DETAIL = METRICS / "detail"
PER_IMAGE = METRICS / "per_image"
REFERENCE = METRICS / "reference"
