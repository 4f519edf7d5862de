"""What the report concludes from the data."""

import pytest

from monuseg.formats.manifest import Split, SplitRecord
from monuseg.scoring.paired import Difference
from stages.report.differences import Comparison, Pair
from stages.report.rows import Row
from stages.report.sections import headline_split, is_challenge, verdict

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


@pytest.mark.parametrize(
    ("lows", "sentence"),
    [
        ((0.01, 0.01, 0.01), "**U-Net clears the baseline**: "),
        (
            (-0.01, 0.01, None),
            "**U-Net is above the baseline, which may be chance in Dice and PQ**: ",
        ),
    ],
)
def test_a_lead_that_may_be_chance_clears_nothing(
    lows: tuple[float | None, ...], sentence: str
) -> None:
    unet = Row("unet", {"test": {"dice": 0.8, "aji": 0.6, "pq": 0.5}})
    found = {
        name: None if low is None else Difference(8, 0.1, low, 0.2, 6)
        for name, low in zip(("dice", "aji", "pq"), lows, strict=True)
    }
    comparison = Comparison("test", 8, [Pair(unet, OTSU, found)], 100, 1)
    assert verdict(unet, OTSU, "test", comparison) == (
        f"{sentence}Dice 0.800 against 0.700, AJI 0.600 against 0.500, PQ 0.500 against 0.400."
    )
    # A row that is worse is so whatever the images tell.
    worse = Row("unet", {"test": {"dice": 0.6}})
    assert "does not clear" in verdict(worse, OTSU, "test", comparison)


def test_the_report_is_about_test_if_scored_else_validation_else_training() -> None:
    assert headline_split([OTSU]) == "test"
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "validation": {"dice": 1.0}})]) == (
        "validation"
    )
    assert headline_split([Row("otsu", {"train": {"dice": 1.0}, "test": {}})]) == "train"


def test_challenge_images_are_known_by_their_ids() -> None:
    assert is_challenge([record("TCGA-A6-6782-01A-01-BS1"), record("TCGA-2Z-A9J9-01A-01-TS1")])
    assert not is_challenge([record("TCGA-A6-6782-01A-01-BS1"), record("SYN-colon-0001")])
