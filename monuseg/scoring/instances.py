"""Scores of nuclei: AJI, AJI+, and panoptic quality with its two factors.

What is undefined is None, never 0 or NaN:

| truth | prediction | AJI, AJI+ | PQ, DQ | SQ |
|---|---|---|---|---|
| no nucleus | no nucleus | None | None | None |
| some | no nucleus | 0 | 0 | None |
| no nucleus | some | 0 | 0 | None |
| some | some, but no pair above IoU 0.5 | as computed | 0 | None |
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from monuseg.scoring.contingency import AnyLabels, Contingency, Counts, contingency


@dataclass(frozen=True)
class NucleusScores:
    """The scores of one image's nuclei.

    Attributes:
        aji: aggregated Jaccard index as the challenge computes it.
        aji_plus: the same over a one-to-one assignment.
        pq: panoptic quality, `dq` times `sq`.
        dq: detection quality, the F1 of nuclei matched at an IoU above 0.5.
        sq: segmentation quality, the mean IoU of the matched pairs.
        true_positives: matched pairs.
        false_positives: predicted nuclei without a match.
        false_negatives: true nuclei without a match.
    """

    aji: float | None
    aji_plus: float | None
    pq: float | None
    dq: float | None
    sq: float | None
    true_positives: int
    false_positives: int
    false_negatives: int


class Panoptic(NamedTuple):
    """Panoptic quality, its factors and its counts; see `NucleusScores`."""

    pq: float | None
    dq: float | None
    sq: float | None
    true_positives: int
    false_positives: int
    false_negatives: int


def score_nuclei(truth: AnyLabels, prediction: AnyLabels) -> NucleusScores:
    """All scores of the nuclei of one image.

    Args:
        truth: (height, width) labels of any integer type; 0 is background, gaps are allowed.
        prediction: likewise, of the same shape.

    Raises:
        ValueError: the shapes differ, or a label is negative or not an integer.
    """
    table = contingency(truth, prediction)
    return NucleusScores(aji(table), aji_plus(table), *panoptic(table))


def panoptic(table: Contingency) -> Panoptic:
    """Panoptic quality, as Kirillov et al. define it, https://arxiv.org/abs/1801.00868."""
    # IoU > 0.5 in whole numbers. At most one prediction can overlap a nucleus that much.
    matched = 2 * table.intersection > table.union
    pairs = int(matched.sum())
    missed = table.truth_areas.size - pairs
    invented = table.prediction_areas.size - pairs
    nuclei = pairs + 0.5 * missed + 0.5 * invented
    dq = pairs / nuclei if nuclei else None
    sq = float(table.iou[matched].mean()) if pairs else None
    pq = None if dq is None else dq * (sq or 0.0)
    return Panoptic(pq, dq, sq, pairs, invented, missed)


def aji(table: Contingency) -> float | None:
    """Aggregated Jaccard index, as `Aggregated_Jaccard_Index_v1_0.m` of the challenge computes it.

    Each true nucleus takes the prediction of largest IoU (of equal ones, that of lowest label),
    even if another has taken it. True nuclei that no prediction touches and predictions that are
    never taken add their areas to the union. Kumar et al. 2017, doi:10.1109/TMI.2017.2677499.
    """
    # By true nucleus, then the largest IoU first, then the lowest label first.
    order = np.lexsort((table.prediction, -table.iou, table.truth))
    _, firsts = np.unique(table.truth[order], return_index=True)
    return _aggregated(table, order[firsts])


def aji_plus(table: Contingency) -> float | None:
    """AJI over the one-to-one assignment of largest summed IoU, as HoVer-Net defines AJI+.

    Nuclei of either map without a partner add their areas to the union. If several assignments
    reach the largest sum, the solver decides which one counts (always the same one).
    Graham et al. 2019, doi:10.1016/j.media.2019.101563.
    """
    return _aggregated(table, _assignment(table))


def _aggregated(table: Contingency, pairs: Counts) -> float | None:
    """Intersections of `pairs` (positions in the table) over their unions and unpaired areas."""
    lonely_truth = np.delete(table.truth_areas, np.unique(table.truth[pairs]))
    lonely_predictions = np.delete(table.prediction_areas, np.unique(table.prediction[pairs]))
    union = int(table.union[pairs].sum() + lonely_truth.sum() + lonely_predictions.sum())
    return int(table.intersection[pairs].sum()) / union if union else None


def _assignment(table: Contingency) -> Counts:
    """Positions of the pairs of a one-to-one assignment with the largest summed IoU.

    Nuclei that no overlaps link do not compete, so each linked group is solved alone: for thousands
    of nuclei, one dense matrix would take minutes and gigabytes.
    """
    count = table.truth_areas.size
    nodes = count + table.prediction_areas.size
    links = coo_array(
        (np.ones(table.truth.size, np.int8), (table.truth, count + table.prediction)),
        shape=(nodes, nodes),
    )
    _, group_of_node = connected_components(links, directed=False)
    group_of_pair = group_of_node[table.truth]
    order = np.argsort(group_of_pair, kind="stable")
    starts = np.flatnonzero(np.diff(group_of_pair[order])) + 1
    chosen = [_best_of_group(table, pairs) for pairs in np.split(order, starts)]
    return np.concatenate(chosen)


def _best_of_group(table: Contingency, pairs: Counts) -> Counts:
    if pairs.size < 2:
        return pairs
    rows, row = np.unique(table.truth[pairs], return_inverse=True)
    columns, column = np.unique(table.prediction[pairs], return_inverse=True)
    iou = np.zeros((rows.size, columns.size))
    iou[row, column] = table.iou[pairs]
    position = np.full(iou.shape, -1)
    position[row, column] = pairs
    taken: Counts = position[linear_sum_assignment(iou, maximize=True)]
    # The solver also pairs nuclei that do not overlap when nothing better is left for them.
    return taken[taken >= 0]
