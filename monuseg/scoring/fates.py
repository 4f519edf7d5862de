"""What became of each nucleus: matched, missed, merged, split, or invented."""

import numpy as np
import pandas as pd

from monuseg.scoring.contingency import AnyLabels, contingency

FATES = ("matched", "missed", "merged", "split", "invented")


def fates_of(truth: AnyLabels, predicted: AnyLabels) -> pd.DataFrame:
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
