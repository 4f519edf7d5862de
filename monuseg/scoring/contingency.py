"""How the nuclei of two label maps overlap, as one sparse table."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
AnyLabels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Contingency:
    """The overlaps of true and predicted nuclei, from which all scores of nuclei come.

    A nucleus is identified by its position in the ascending order of its map's labels, so gaps
    between labels mean nothing. Memory grows with the number of overlapping pairs, not with the
    product of the numbers of nuclei.

    Attributes:
        truth_areas: (true nuclei,) areas in pixels, all above 0.
        prediction_areas: (predicted nuclei,) areas in pixels, all above 0.
        truth: (pairs,) the true nucleus of each overlapping pair; ascending, and for equal ones
            `prediction` ascends.
        prediction: (pairs,) the predicted nucleus of each pair.
        intersection: (pairs,) pixels that both have, all above 0.
    """

    truth_areas: Counts
    prediction_areas: Counts
    truth: Counts
    prediction: Counts
    intersection: Counts

    @property
    def union(self) -> Counts:
        """(pairs,) pixels that either nucleus of each pair has."""
        areas = self.truth_areas[self.truth] + self.prediction_areas[self.prediction]
        return areas - self.intersection

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """(pairs,) intersection over union of each pair, above 0 and at most 1."""
        return self.intersection / self.union


def contingency(truth: AnyLabels, prediction: AnyLabels) -> Contingency:
    """Count the overlaps of two label maps of the same shape in one pass.

    Args:
        truth: (height, width) labels of any integer type; 0 is background, gaps are allowed.
        prediction: likewise.

    Raises:
        ValueError: the shapes differ, or a label is negative or not an integer.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape} but prediction is {prediction.shape}")
    true_nucleus, truth_areas = _numbered(truth)
    predicted_nucleus, prediction_areas = _numbered(prediction)
    both = (true_nucleus >= 0) & (predicted_nucleus >= 0)
    codes, intersection = np.unique(
        true_nucleus[both] * prediction_areas.size + predicted_nucleus[both], return_counts=True
    )
    # Codes exist only where there are predictions; the 1 keeps the division defined without any.
    in_truth, in_prediction = np.divmod(codes, max(1, prediction_areas.size))
    return Contingency(
        truth_areas=truth_areas,
        prediction_areas=prediction_areas,
        truth=in_truth,
        prediction=in_prediction,
        intersection=intersection.astype(np.int64),
    )


def _numbered(labels: AnyLabels) -> tuple[Counts, Counts]:
    """Each pixel's nucleus, numbered from 0 by label, -1 for background, and the nuclei's areas."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if labels.size and labels.min() < 0:
        raise ValueError(f"labels must not be negative, found {labels.min()}")
    flat = labels.ravel()
    foreground = flat > 0
    _, nuclei, areas = np.unique(flat[foreground], return_inverse=True, return_counts=True)
    numbered = np.full(flat.size, -1, np.int64)
    numbered[foreground] = nuclei
    return numbered, areas.astype(np.int64)
