"""Time and memory of `monuseg segment` by the size of the slide.

    $ python -m tests.benchmarks.bench_slide [SIDE ...]

Slides of synthetic tissue on their left half, glass beside, at 0.25 um per pixel, 2,560 pixels or a
multiple along a side; one view, the weights that come along, GeoJSON, table and label map. A
million pixels of tissue: seconds in all, of bare forward passes over as many windows by the same
engine, and of the rest. The table goes to standard output.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from monuseg.segment.models import find, load, predict_params
from tests.monuseg.segment.large_slides import segment, write_slide

SIDES = (5120, 10240, 20480)
FORMATS = "labels,csv,geojson"
ROUNDS = 5
MILLION = 1e6


def seconds_of_passes() -> float:
    """Of bare forward passes, a million pixels that count: windows overlap."""
    params = predict_params("auto")
    network = load(find("unet"), params)
    window = np.full((1, params.window, params.window, 3), 0.5, np.float32)
    network.forward(window)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        network.forward(window)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / (params.window - params.overlap) ** 2 * MILLION


def main() -> None:
    """Print a line a size."""
    sides = [int(text) for text in sys.argv[1:]] or SIDES
    passes = seconds_of_passes()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            slide = Path(folder) / f"{side}.svs"
            write_slide(slide, side)
            taken = segment(slide, Path(folder) / "results", "--views", "1", "--write", FORMATS)
            tissue = side * side / 2 / MILLION
            written = sum(
                path.stat().st_size for path in (Path(folder) / "results").glob(f"{side}*")
            )
            found = int(taken.said.partition(" nuclei at ")[0].rpartition(" ")[2])
            rows.append(
                {
                    "side": side,
                    "tissue, Mpx": f"{tissue:.0f}",
                    "nuclei": found,
                    "seconds": f"{taken.seconds:.0f}",
                    "s a Mpx of tissue": f"{taken.seconds / tissue:.3f}",
                    "of them passes": f"{passes:.3f}",
                    "the rest": f"{taken.seconds / tissue - passes:.3f}",
                    "peak, MB": f"{taken.peak:.0f}",
                    "bytes a nucleus": f"{written / found:.0f}",
                }
            )
            slide.unlink()
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
