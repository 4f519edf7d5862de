"""The challenge's images: the organ that each shows, and its part in the published protocols.

Sources: Kumar et al. 2020 (IEEE TMI 39:1380) and monuseg.grand-challenge.org for the challenge's 30
training and 14 test images; Kumar et al. 2017 (IEEE TMI 36:1550) for the 16 and 14 of those 30.
"""

import re
from collections.abc import Collection
from typing import Literal

from monuseg.core.errors import PipelineError, tell
from monuseg.formats.manifest import ImageRecord, Part

Protocol = Literal["archive", "challenge", "kumar"]

UNKNOWN_ORGAN = "unknown"

# The first three fields of a TCGA barcode name the patient; each of the challenge's gave one image.
PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)

_TRAIN_BY_ORGAN = {
    "breast": ["A7-A13E", "A7-A13F", "AR-A1AK", "AR-A1AS", "E2-A1B5", "E2-A14V"],
    "kidney": ["B0-5711", "HE-7128", "HE-7129", "HE-7130", "B0-5710", "B0-5698"],
    "liver": ["18-5592", "38-6178", "49-4488", "50-5931", "21-5784", "21-5786"],
    "prostate": ["G9-6336", "G9-6348", "G9-6356", "G9-6363", "CH-5767", "G9-6362"],
    "bladder": ["DK-A2I6", "G2-A2EK"],
    "colon": ["AY-A8YK", "NH-A8F7"],
    "stomach": ["KB-A93J", "RD-A8N9"],
}
_TEST_BY_ORGAN = {
    "breast": ["AC-A2FO", "AO-A0J2"],
    "kidney": ["2Z-A9J9", "GL-6846", "IZ-8196"],
    "lung": ["44-2665", "69-7764"],
    "prostate": ["EJ-A46H", "HC-7209"],
    "bladder": ["CU-A0YN", "ZF-A9R5"],
    "colon": ["A6-6782"],
    "brain": ["FG-A4MU", "HT-8564"],
}
# The `kumar` protocol trains on the first four images, in the order above, of these organs.
KUMAR_TRAIN_ORGANS = ("breast", "kidney", "liver", "prostate")
KUMAR_TRAIN_PER_ORGAN = 4


def _organ_by_id(by_organ: dict[str, list[str]]) -> dict[str, str]:
    return {f"TCGA-{short}": organ for organ, shorts in by_organ.items() for short in shorts}


# Organs by patient.
CHALLENGE_TRAIN = _organ_by_id(_TRAIN_BY_ORGAN)
CHALLENGE_TEST = _organ_by_id(_TEST_BY_ORGAN)
KUMAR_TRAIN = _organ_by_id(
    {organ: _TRAIN_BY_ORGAN[organ][:KUMAR_TRAIN_PER_ORGAN] for organ in KUMAR_TRAIN_ORGANS}
)


def patient_of(image_id: str) -> str | None:
    """The patient's id that an image's id begins with, `TCGA-XX-XXXX`, or None."""
    match = PATIENT.match(image_id)
    return match.group().upper() if match else None


def organ_of(image_id: str) -> str | None:
    """The organ of one of the challenge's 44 images, or None for any other image."""
    patient = patient_of(image_id) or ""
    return CHALLENGE_TRAIN.get(patient) or CHALLENGE_TEST.get(patient)


def challenge_part_of(image_id: str) -> Part | None:
    """The part of the challenge that one of its 44 images belongs to, or None for any other."""
    patient = patient_of(image_id) or ""
    if patient in CHALLENGE_TRAIN:
        return "train"
    return "test" if patient in CHALLENGE_TEST else None


def assign(records: list[ImageRecord], protocol: Protocol) -> dict[str, Part]:
    """Assign images to the training and test parts of a protocol.

    Args:
        records: of the manifest.
        protocol: "archive" keeps the archives' own parts; "challenge" trains on 30 images and tests
            on 14; "kumar" trains on 16 of those 30 and tests on the other 14.

    Returns:
        Parts by id, in the order of `records`. Images that the protocol does not name are left out,
        with a line on standard error.

    Raises:
        PipelineError: an image that the protocol names is missing or present twice.
    """
    if protocol == "archive":
        return {record.id: record.part for record in records}
    parts = _parts_by_patient(protocol)
    found: dict[str, str] = {}
    assigned: dict[str, Part] = {}
    for record in records:
        patient = patient_of(record.id)
        if patient is None or patient not in parts:
            tell(f"{record.id}: not in protocol `{protocol}`; ignored")
            continue
        if patient in found:
            raise PipelineError(
                f"{record.id} and {found[patient]} are from one patient, of whom protocol "
                f"`{protocol}` has one image; remove one, or set tile.protocol to `archive`"
            )
        found[patient] = record.id
        assigned[record.id] = parts[patient]
    _require_all(parts, found, protocol)
    return assigned


def _parts_by_patient(protocol: Protocol) -> dict[str, Part]:
    train: Collection[str] = CHALLENGE_TRAIN
    test: Collection[str] = CHALLENGE_TEST
    if protocol == "kumar":
        train = KUMAR_TRAIN
        test = [patient for patient in CHALLENGE_TRAIN if patient not in KUMAR_TRAIN]
    parts: dict[str, Part] = dict.fromkeys(train, "train")
    parts.update(dict.fromkeys(test, "test"))
    return parts


def _require_all(parts: dict[str, Part], found: dict[str, str], protocol: Protocol) -> None:
    missing = [patient for patient in parts if patient not in found]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise PipelineError(
            f"protocol `{protocol}` needs image {missing[0]}{others}, which no archive holds; "
            "add its archive to params.yaml, or set tile.protocol to `archive`"
        )
