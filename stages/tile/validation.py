"""Which training images are held out to make choices on: always whole patients, never tiles."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping
from fractions import Fraction

from monuseg.core.errors import PipelineError, tell
from stages.tile.params import ValidationParams


def validation_images(
    organs: Mapping[str, str],
    params: ValidationParams,
    patients: Mapping[str, str] | None = None,
) -> set[str]:
    """The ids to hold out: all images of a patient, or none.

    Args:
        organs: organ of each training image, by id.
        params: the method and its settings.
        patients: whom each image shows, by id; by default each shows another patient.

    Raises:
        PipelineError: a named id is not a training image, or not all images of its patient are
            named; no training image shows a named organ; or no image would be left on one side.
    """
    if params.method == "none":
        return set()
    if not organs:
        raise PipelineError(
            "params.yaml: tile.validation: there is no training image to hold any out of; "
            "add an archive with training images, or set the method to `none`"
        )
    shown = {image: patients[image] if patients else image for image in organs}
    if params.method == "named":
        drawn = _of_named(params.images, shown)
    elif params.method == "organs":
        drawn = _of_organs(params.organs, organs, shown)
    else:
        organ = _organ_by_patient(organs, shown)
        if params.method == "fold":
            drawn = _fold(organ, params)
        else:
            share = Fraction(str(params.fraction))
            drawn = _draw(organ, share, max(1, round(share * len(organ))), params.seed)
    held_out = {image for image, patient in shown.items() if patient in drawn}
    if not held_out or len(held_out) == len(organs):
        raise PipelineError(
            f"params.yaml: tile.validation: method `{params.method}` holds out {len(held_out)} of "
            f"{len(organs)} training images (all of {len(drawn)} of {len(set(shown.values()))} "
            "patients); at least one must be held out and one be left"
        )
    return held_out


def _of_named(named: Collection[str], shown: Mapping[str, str]) -> set[str]:
    unknown = sorted(set(named) - shown.keys())
    if unknown:
        raise PipelineError(
            f"params.yaml: tile.validation.images: {unknown[0]} is not a training image of "
            "the protocol; name ids that data/raw/manifest.csv has in its training part"
        )
    by_patient = {shown[image]: image for image in named}
    for image, patient in shown.items():
        if patient in by_patient and image not in named:
            raise PipelineError(
                f"params.yaml: tile.validation.images: {by_patient[patient]} is named, but not "
                f"{image} of the same patient, {patient}; name both or neither"
            )
    return set(by_patient)


def _of_organs(
    named: Collection[str], organs: Mapping[str, str], shown: Mapping[str, str]
) -> set[str]:
    absent = sorted(set(named) - set(organs.values()))
    if absent:
        raise PipelineError(
            f"params.yaml: tile.validation.organs: no training image of the protocol shows "
            f"{absent[0]}; name some of {', '.join(sorted(set(organs.values())))}"
        )
    drawn = {shown[image] for image, organ in organs.items() if organ in named}
    for image, organ in organs.items():
        if shown[image] in drawn and organ not in named:
            tell(
                f"{image}: held out too, though it shows {organ}: other images of its patient, "
                f"{shown[image]}, show an organ of tile.validation.organs"
            )
    return drawn


def _organ_by_patient(organs: Mapping[str, str], shown: Mapping[str, str]) -> dict[str, str]:
    """The organ that most images of each patient show; of several the first by name."""
    counts: dict[str, Counter[str]] = {}
    for image in sorted(organs, key=lambda image: organs[image]):
        counts.setdefault(shown[image], Counter())[organs[image]] += 1
    return {patient: found.most_common(1)[0][0] for patient, found in counts.items()}


def _fold(organ: Mapping[str, str], params: ValidationParams) -> set[str]:
    """The fold's patients: the first fold is drawn of all, the next of who is left, and so on."""
    drawn: set[str] = set()
    left = dict(organ)
    for fold in range(params.fold + 1):
        share = Fraction(1, params.folds - fold)
        drawn = _draw(left, share, math.ceil(share * len(left)), params.seed)
        left = {patient: organ for patient, organ in left.items() if patient not in drawn}
    return drawn


def _draw(organ: Mapping[str, str], share: Fraction, number: int, seed: int) -> set[str]:
    """Draw patients, in proportion to the organs, so that one more patient changes few.

    Every organ has its quota, by largest remainder. Within an organ, those are drawn whose hash of
    seed and name is lowest: it does not depend on who else there is.

    Args:
        organ: by patient.
        share: of each organ's patients.
        number: of patients to draw: `share` of all, rounded up or down.
        seed: another one draws others.
    """
    exact = {name: share * size for name, size in Counter(organ.values()).items()}
    quota = {name: math.floor(part) for name, part in exact.items()}
    # Largest remainder first; equal ones in an order that depends on the seed.
    ranked = sorted(exact, key=lambda name: (quota[name] - exact[name], _hash(seed, name)))
    for name in ranked[: number - sum(quota.values())]:
        quota[name] += 1
    drawn = set()
    for patient in sorted(organ, key=lambda patient: _hash(seed, patient)):
        if quota[organ[patient]]:
            quota[organ[patient]] -= 1
            drawn.add(patient)
    return drawn


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
