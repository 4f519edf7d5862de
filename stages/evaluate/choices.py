"""The threshold and settings of a row, chosen on validation or training images, never on test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import TRAIN, VALIDATION, SplitRecord
from monuseg.nuclei.watershed import NucleiSettings, separations
from stages.evaluate.images import Row, candidate_scores, histogram_of, outlined
from stages.evaluate.params import EvaluateParams, NucleiParams
from stages.evaluate.selection import (
    MIDDLE,
    ChosenOn,
    NucleiScore,
    ThresholdScore,
    best_nuclei,
    best_threshold,
    mean,
    threshold_scores,
)
from stages.evaluate.summary import rounded


@dataclass(frozen=True)
class Choices:
    """The settings that a row is scored with, and how they were chosen.

    Attributes:
        settings: what was chosen or given.
        threshold_on: where the threshold comes from.
        nuclei_on: where the other settings come from.
        thresholds: the score of each threshold; empty if there was nothing to choose.
        nuclei: the scores of all settings of nuclei; empty if there was nothing to choose.
    """

    settings: NucleiSettings
    threshold_on: ChosenOn
    nuclei_on: ChosenOn
    thresholds: list[ThresholdScore]
    nuclei: list[NucleiScore]

    def as_settings(self) -> dict[str, Any]:
        """The settings and where they come from, for JSON."""
        chosen_on = {"threshold": self.threshold_on, "nuclei": self.nuclei_on}
        return {**asdict(self.settings), "chosen_on": chosen_on}

    def as_candidates(self) -> dict[str, Any]:
        """Every candidate with its score, for JSON; undefined scores are left out."""
        return {
            "thresholds": [
                {"threshold": score.threshold, **rounded({"dice": score.dice})}
                for score in self.thresholds
            ],
            "nuclei": [
                {**asdict(score.settings), **rounded({"aji": score.aji, "pq": score.pq})}
                for score in self.nuclei
            ],
        }


def choose(
    records: Sequence[SplitRecord], row: Row, params: EvaluateParams, *, probabilities: bool
) -> Choices:
    """Choose the threshold by mean Dice, then the settings of nuclei by AJI and PQ.

    Both are chosen on the validation images or, without any, on the training images. No image is
    read if there is nothing to choose, as when `params.settings` names the row.

    Args:
        records: all images of the protocol.
        row: the predictions and masks to choose on.
        params: what is given and what is to be chosen.
        probabilities: False for hard masks, whose threshold is 0.5 whatever `params` say.

    Raises:
        PipelineError: a threshold is to be chosen but there is neither kind of image, or a file is
            missing or damaged.
    """
    given = params.settings.get(row.predictions.name)
    if given:
        settings = NucleiSettings(**given.model_dump())
        return Choices(settings, "given", "given", [], [])

    split = VALIDATION if any(record.split == VALIDATION for record in records) else TRAIN
    members = [record for record in records if record.split == split]
    chosen_on: ChosenOn = "validation" if split == VALIDATION else "train"

    thresholds: list[ThresholdScore] = []
    threshold_on: ChosenOn = "given"
    if not probabilities:
        threshold = MIDDLE
    elif params.threshold == "auto":
        if not members:
            raise PipelineError(
                "params.yaml: evaluate.threshold is `auto`, but there is no validation or training "
                "image to choose on; give a number"
            )
        title = f"threshold of {row.predictions.name}"
        histograms = parallel_map(partial(histogram_of, row=row), members, title=title)
        thresholds = threshold_scores(histograms)
        threshold, threshold_on = best_threshold(thresholds), chosen_on
    else:
        threshold = params.threshold

    candidates = combinations(params.nuclei, threshold, row.classes)
    if len(candidates) == 1:
        return Choices(candidates[0], threshold_on, "given", thresholds, [])
    members = [record for record in members if outlined(record)]
    if not members:
        return Choices(candidates[0], threshold_on, "none", thresholds, [])
    nuclei = _nuclei_scores(members, row, candidates)
    return Choices(best_nuclei(nuclei), threshold_on, chosen_on, thresholds, nuclei)


def combinations(
    params: NucleiParams, threshold: float, classes: Sequence[str]
) -> list[NucleiSettings]:
    """Every combination of the settings of nuclei once, in the order of the params.

    Of a setting that a separation does not use, only the first value is taken.

    Args:
        params: the candidates of each setting.
        threshold: of P(nucleus).
        classes: the predictions' channels.

    Raises:
        PipelineError: no separation in `params.separation` is possible with these classes.
    """
    possible = [name for name in params.separation if name in separations(classes)]
    if not possible:
        raise PipelineError(
            f"params.yaml: evaluate.nuclei.separation: {', '.join(params.separation)} need outputs "
            f"that are not predicted; add `shape`, or train with these in train.outputs"
        )
    made = [
        NucleiSettings(threshold, smoothing, distance, area, name, marker, certainty)
        for name in possible
        for smoothing, distance, area, marker, certainty in product(
            params.smoothing,
            params.min_distance if name == "shape" else params.min_distance[:1],
            params.min_area,
            params.marker_threshold[:1] if name == "shape" else params.marker_threshold,
            # Last, so that `candidate_scores` splits the nuclei once for all of these.
            params.min_probability,
        )
    ]
    return list(dict.fromkeys(made))


def _nuclei_scores(
    members: Sequence[SplitRecord], row: Row, candidates: Sequence[NucleiSettings]
) -> list[NucleiScore]:
    score = partial(candidate_scores, row=row, candidates=candidates)
    by_image = parallel_map(score, members, title=f"nuclei of {row.predictions.name}")
    found = []
    for settings, scores in zip(candidates, zip(*by_image, strict=True), strict=True):
        ajis, pqs = zip(*scores, strict=True)
        found.append(NucleiScore(settings, mean(ajis), mean(pqs)))
    return found
