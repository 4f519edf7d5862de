"""What became of nuclei: matched, missed, merged, split, or invented, by their size."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from monuseg.formats.images import Labels
from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.contingency import contingency
from stages.report.overlays import predicted_nuclei, true_nuclei
from stages.report.rows import Row

FATES = ("matched", "missed", "merged", "split", "invented")


def fates_of(truth: Labels, predicted: Labels) -> pd.DataFrame:
    """The fate of every nucleus of one image.

    A true nucleus is matched if its IoU with a predicted one is above 0.5, as for PQ; else merged
    if most of it is in a prediction that holds most of another true nucleus too; else split if two
    predictions or more lie mostly in it; else missed. A predicted nucleus is invented if it has no
    match and is no part of a merger or of a split.

    Args:
        truth: (height, width) labels; 0 is background.
        predicted: likewise, of the same shape.

    Returns:
        A line per true nucleus and per invented one: its `area` in pixels and its `fate`.
    """
    table = contingency(truth, predicted)
    trues, founds = table.truth_areas.size, table.prediction_areas.size
    matched = 2 * table.intersection > table.union
    covered = 2 * table.intersection > table.truth_areas[table.truth]
    inside = 2 * table.intersection > table.prediction_areas[table.prediction]
    merging = np.bincount(table.prediction[covered], minlength=founds) > 1
    breaking = np.bincount(table.truth[inside], minlength=trues) > 1
    fate = np.full(trues, "missed", object)
    fate[breaking] = "split"
    fate[table.truth[covered & merging[table.prediction]]] = "merged"
    fate[table.truth[matched]] = "matched"
    invented = ~merging
    invented[table.prediction[matched | (inside & (fate[table.truth] == "split"))]] = False
    return pd.DataFrame(
        {
            "area": np.concatenate([table.truth_areas, table.prediction_areas[invented]]),
            "fate": [*fate, *["invented"] * int(invented.sum())],
        }
    )


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
