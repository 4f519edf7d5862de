"""What became of nuclei, by their size."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.fates import fates_of
from monuseg.scoring.rows import Row
from stages.report.overlays import predicted_nuclei, true_nuclei


def count_fates(records: Sequence[SplitRecord], rows: Sequence[Row]) -> pd.DataFrame | None:
    """Count the nuclei of some images by method, size and fate.

    Args:
        records: images whose annotation tells nuclei apart.
        rows: whose predictions.

    Returns:
        `method`, `size` (a quarter of the true nuclei each, with its limits in pixels), `fate` and
        `nuclei`; None if there is no true nucleus.

    Raises:
        PipelineError: a label map is missing or of the wrong size.
    """
    found = [
        fates_of(truth, predicted_nuclei(record, row, truth.shape)).assign(method=row.title)
        for record in records
        for truth in [true_nuclei(record)]
        for row in rows
    ]
    nuclei = pd.concat(found) if found else pd.DataFrame({"area": [], "fate": []})
    true = nuclei.query("fate != 'invented'")["area"]
    if true.empty:
        return None
    limits = np.unique(np.ceil(np.quantile(true, (0.25, 0.5, 0.75)))).astype(int)
    between = [f"{low} to {high - 1} px" for low, high in pairwise(limits)]
    sizes = [f"under {limits[0]} px", *between, f"{limits[-1]} px and more"]
    edges = [0, *limits, np.inf]
    nuclei["size"] = pd.cut(nuclei["area"], edges, right=False, labels=sizes)
    counts = nuclei.groupby(["method", "size", "fate"], sort=False, observed=True).size()
    return counts.rename("nuclei").reset_index()
