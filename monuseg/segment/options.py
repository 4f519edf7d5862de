"""What options of `monuseg segment` and `monuseg export` can be; imports nothing that loads slowly.

Their help shows it, and is not to wait for the libraries of what they do.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from monuseg.models.shared.runtime import Backend

PRETRAINED = Path(__file__).parent / "pretrained"
SETTINGS = ".settings.json"
# In this order: the first that is installed computes.
BACKENDS: tuple["Backend", ...] = ("openvino", "tensorflow", "jax", "torch")
# Views by their number: upright alone, with flips, and with quarter turns.
VIEWS = {1: (False, False), 4: (True, False), 8: (True, True)}
# Up to as many pixels, an image is searched as a whole and seen in four views, which takes seconds;
# of a larger one, glass is left out, and it is seen upright alone.
FEW_PIXELS = 4_000_000
# Of results.
FORMATS = ("labels", "csv", "parquet", "geojson", "overlay", "tissue")
# Where to look for nuclei, besides a file of regions.
AUTO, EVERYWHERE = "auto", "none"
REGION = "--region"

ExportFormat = Literal["onnx", "savedmodel", "keras"]


def pretrained() -> list[str]:
    """The names of the models that come along."""
    return sorted(path.name.removesuffix(SETTINGS) for path in PRETRAINED.glob(f"*{SETTINGS}"))
