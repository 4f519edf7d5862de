"""Tests of `monuseg.formats.protocol`."""

from collections import Counter

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import ImageRecord, Part
from monuseg.formats.protocol import (
    CHALLENGE_TEST,
    CHALLENGE_TRAIN,
    KUMAR_TRAIN,
    assign,
    challenge_part_of,
    organ_of,
    patient_of,
)


def record(image_id: str, part: Part = "train") -> ImageRecord:
    return ImageRecord(
        *(image_id, "unknown", image_id, part, 0.25, "default", "aperio-xml", "0" * 64, "0" * 64)
    )


def challenge_records() -> list[ImageRecord]:
    # All in the part "train", so that a table that is not looked at shows.
    return [record(f"{patient}-01Z-00-DX1") for patient in (*CHALLENGE_TRAIN, *CHALLENGE_TEST)]


def test_tables_have_the_published_counts_per_organ() -> None:
    assert Counter(CHALLENGE_TRAIN.values()) == {
        "breast": 6,
        "kidney": 6,
        "liver": 6,
        "prostate": 6,
        "bladder": 2,
        "colon": 2,
        "stomach": 2,
    }
    assert Counter(CHALLENGE_TEST.values()) == {
        "breast": 2,
        "kidney": 3,
        "lung": 2,
        "prostate": 2,
        "bladder": 2,
        "colon": 1,
        "brain": 2,
    }
    assert set(CHALLENGE_TRAIN).isdisjoint(CHALLENGE_TEST)
    assert set(Counter(KUMAR_TRAIN.values()).items()) == {
        ("breast", 4),
        ("kidney", 4),
        ("liver", 4),
        ("prostate", 4),
    }


def test_every_id_in_the_tables_is_a_patients() -> None:
    for patient in (*CHALLENGE_TRAIN, *CHALLENGE_TEST):
        assert patient_of(patient) == patient


def test_organ_is_found_by_the_patients_part_of_the_id_in_any_case() -> None:
    assert organ_of("TCGA-HE-7129-01Z-00-DX1") == "kidney"
    assert organ_of("tcga-44-2665-01b-06-bs6") == "lung"
    assert organ_of("TCGA-A7-A13E") == "breast"


@pytest.mark.parametrize(
    "image_id", ["TCGA-5P-A9K0-01Z-00-DX1_1", "tcga-5p-a9k0-01z-00-dx2", "TCGA-5P-A9K0 (x1_y2)"]
)
def test_all_images_of_a_patient_give_that_patient(image_id: str) -> None:
    assert patient_of(image_id) == "TCGA-5P-A9K0"


@pytest.mark.parametrize("other", ["TCGA-A7-A13EX", "XTCGA-A7-A13E", "slide-01", "TCGA-ZZ-9999-01"])
def test_an_id_that_only_resembles_a_patients_has_no_organ(other: str) -> None:
    assert organ_of(other) is None
    assert challenge_part_of(other) is None


def test_archive_keeps_the_parts_of_the_archives() -> None:
    records = [record("a", "test"), record("TCGA-A7-A13E", "test"), record("b", "train")]
    assert assign(records, "archive") == {"a": "test", "TCGA-A7-A13E": "test", "b": "train"}


def test_challenge_is_30_and_14_whatever_part_the_archive_says() -> None:
    parts = assign(challenge_records(), "challenge")
    assert Counter(parts.values()) == {"train": 30, "test": 14}
    assert parts["TCGA-HT-8564-01Z-00-DX1"] == "test"
    assert parts["TCGA-KB-A93J-01Z-00-DX1"] == "train"


def test_kumar_is_16_and_14_within_the_30(capsys: pytest.CaptureFixture[str]) -> None:
    parts = assign(challenge_records(), "kumar")
    assert Counter(parts.values()) == {"train": 16, "test": 14}
    assert parts["TCGA-AR-A1AS-01Z-00-DX1"] == "train"
    assert parts["TCGA-E2-A1B5-01Z-00-DX1"] == "test"
    assert parts["TCGA-NH-A8F7-01Z-00-DX1"] == "test"
    # The challenge's test images are no part of it, and each is said to be ignored.
    assert "TCGA-HT-8564-01Z-00-DX1" not in parts
    assert capsys.readouterr().err.count("ignored") == 14


def test_an_image_the_protocol_does_not_name_is_ignored_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = assign([*challenge_records(), record("TCGA-ZZ-9999-01Z")], "challenge")
    assert len(parts) == 44
    assert "TCGA-ZZ-9999-01Z" in capsys.readouterr().err


def test_a_missing_image_is_named() -> None:
    records = [r for r in challenge_records() if not r.id.startswith("TCGA-FG-A4MU")]
    with pytest.raises(PipelineError, match="TCGA-FG-A4MU"):
        assign(records, "challenge")
    assert Counter(assign(records, "kumar").values()) == {"train": 16, "test": 14}


def test_two_images_of_a_patient_are_named() -> None:
    with pytest.raises(PipelineError, match=r"TCGA-A7-A13E-01B.*TCGA-A7-A13E-01Z-00-DX1"):
        assign([*challenge_records(), record("TCGA-A7-A13E-01B")], "challenge")
