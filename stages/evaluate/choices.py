"""The threshold and settings of a row, chosen on validation or training images, never on test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

from monuseg.core.errors import PipelineError, tell
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import TRAIN, VALIDATION, SplitRecord
from monuseg.nuclei.watershed import NucleiSettings, separations
from stages.evaluate.images import Row, candidate_scores, threshold_dices
from stages.evaluate.params import EvaluateParams, NucleiParams
from stages.evaluate.selection import (
    MIDDLE,
    ChosenOn,
    NucleiScore,
    ThresholdScore,
    best_nuclei,
    best_threshold,
    nuclei_scores,
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
        threshold_images: ids of the images that `thresholds` are over.
        nuclei_images: ids of the images that `nuclei` are over.
    """

    settings: NucleiSettings
    threshold_on: ChosenOn
    nuclei_on: ChosenOn
    thresholds: list[ThresholdScore]
    nuclei: list[NucleiScore]
    threshold_images: list[str]
    nuclei_images: list[str]

    def as_settings(self) -> dict[str, Any]:
        """The settings and where they come from, for JSON."""
        chosen_on = {"threshold": self.threshold_on, "nuclei": self.nuclei_on}
        return {**asdict(self.settings), "chosen_on": chosen_on}

    def as_candidates(self) -> dict[str, Any]:
        """Every candidate with its score, for JSON, and which images the scores are over.

        Undefined scores are left out.
        """
        return {
            "images": {"thresholds": self.threshold_images, "nuclei": self.nuclei_images},
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

    Both are chosen on the validation images or, without any, on the training images: on those that
    every candidate defines, and a line on standard error names the others. No image is read if
    there is nothing to choose, as when `params.settings` names the row. Where none of these
    has nuclei that are told apart, the first settings of nuclei are taken.

    Args:
        records: all images of the protocol.
        row: the predictions and masks to choose on.
        params: what is given and what is to be chosen.
        probabilities: False for hard masks, whose threshold is 0.5 whatever `params` say.

    Raises:
        PipelineError: a threshold is to be chosen but there is neither kind of image, or none that
            every threshold defines; or a file is missing or damaged.
    """
    given = params.settings.get(row.predictions.name)
    if given:
        settings = NucleiSettings(**given.model_dump())
        return Choices(settings, "given", "given", [], [], [], [])

    split = VALIDATION if any(record.split == VALIDATION for record in records) else TRAIN
    members = [record for record in records if record.split == split]
    chosen_on: ChosenOn = "validation" if split == VALIDATION else "train"

    thresholds: list[ThresholdScore] = []
    threshold_images: list[str] = []
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
        dices = parallel_map(partial(threshold_dices, row=row), members, title=title)
        thresholds, used = threshold_scores(dices)
        threshold_images = _used(members, used, title)
        if not threshold_images:
            raise PipelineError(
                "params.yaml: evaluate.threshold is `auto`, but no image to choose on has nuclei; "
                "give a number"
            )
        threshold, threshold_on = best_threshold(thresholds), chosen_on
    else:
        threshold = params.threshold

    candidates = combinations(params.nuclei, threshold, row.classes)
    settings, nuclei_on = candidates[0], chosen_on
    nuclei: list[NucleiScore] = []
    nuclei_images: list[str] = []
    members = [record for record in members if record.tells_nuclei_apart]
    if len(candidates) == 1:
        nuclei_on = "given"
    elif members:
        title = f"nuclei of {row.predictions.name}"
        score = partial(candidate_scores, row=row, candidates=candidates)
        nuclei, used = nuclei_scores(candidates, parallel_map(score, members, title=title))
        nuclei_images = _used(members, used, title)
        settings = best_nuclei(nuclei)
    if len(candidates) > 1 and not nuclei_images:
        nuclei_on = "none"
        tell(
            f"nuclei of {row.predictions.name}: no image to choose on has nuclei that are told "
            "apart; the first settings of evaluate.nuclei are taken"
        )
    return Choices(
        settings, threshold_on, nuclei_on, thresholds, nuclei, threshold_images, nuclei_images
    )


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


def _used(members: Sequence[SplitRecord], used: Sequence[bool], title: str) -> list[str]:
    """The ids of the images that are chosen on; if there are any, those that are not are told."""
    left_out = [record.id for record, is_used in zip(members, used, strict=True) if not is_used]
    if left_out and any(used):
        tell(
            f"{title}: chosen without {', '.join(left_out)}: no nucleus there, so some candidates "
            "have no score"
        )
    return [record.id for record, is_used in zip(members, used, strict=True) if is_used]
