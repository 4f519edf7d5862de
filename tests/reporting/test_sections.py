"""What the report concludes from the data."""

import pytest

from stages.dataset.manifest import Split, SplitRecord
from stages.reporting.rows import Row
from stages.reporting.sections import headline_split, is_challenge, verdict

OTSU = Row("otsu", {"test": {"dice": 0.7, "aji": 0.5, "pq": 0.4}})


def record(image: str, split: Split = "test") -> SplitRecord:
    return SplitRecord(image, "colon", split, 0.25, "aperio-xml")


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (
            {"dice": 0.8, "aji": 0.6, "pq": 0.5},
            "**U-Net clears the baseline**: Dice 0.800 against 0.700, AJI 0.600 against 0.500, "
            "PQ 0.500 against 0.400.",
        ),
        (
            {"dice": 0.8, "aji": 0.4, "pq": 0.5},
            "**U-Net does not clear the baseline**: AJI 0.400 against 0.500.",
        ),
        (
            {"dice": 0.7, "aji": 0.6, "pq": 0.5},
            "**U-Net does not clear the baseline**: Dice 0.700 against 0.700.",
        ),
        ({"dice": 0.8}, "**U-Net clears the baseline**: Dice 0.800 against 0.700."),
        ({}, "**U-Net** cannot be compared with the baseline: no score of both."),
    ],
)
def test_verdict(scores: dict[str, float], sentence: str) -> None:
    assert verdict(Row("unet", {"test": scores}), OTSU, "test") == sentence


def test_the_report_is_about_test_if_scored_else_validation_else_training() -> None:
    assert headline_split([OTSU]) == "test"
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "validation": {"dice": 1.0}})]) == (
        "validation"
    )
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "test": {}})]) == "train"


def test_challenge_images_are_known_by_their_ids() -> None:
    assert is_challenge([record("TCGA-A6-6782-01A-01-BS1"), record("TCGA-2Z-A9J9-01A-01-TS1")])
    assert not is_challenge([record("TCGA-A6-6782-01A-01-BS1"), record("SYN-colon-0001")])
