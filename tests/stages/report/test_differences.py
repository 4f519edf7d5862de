"""The table of every two rows, image by image."""

import pandas as pd
import pytest

from monuseg.scoring.paired import Pair, compare
from monuseg.scoring.rows import Row
from stages.report.tables import DECIDING, differences_table, signed

NAN = float("nan")
# Far more between images than between rows.
DICE = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def scores(*lead: float) -> pd.DataFrame:
    """Of images whose AJI is defined on one alone, and whose PQ is the same in every row."""
    dice = [one + more for one, more in zip(DICE, lead, strict=True)]
    return pd.DataFrame({"dice": dice, "aji": [0.5, *[NAN] * 7], "pq": 0.5})


@pytest.fixture
def pairs() -> list[Pair]:
    leads = {"unet": (0.0,) * 8, "segnet": (0.01,) * 8, "otsu": (0.1, -0.1) * 4}
    images = {row: scores(*lead) for row, lead in leads.items()}
    return compare([Row(row, {}) for row in images], images, DECIDING)


def test_table_has_the_difference_its_interval_and_the_verdict(pairs: list[Pair]) -> None:
    table = differences_table(pairs)
    assert list(table.columns) == ["Method", "Minus", "Dice", "AJI", "PQ"]
    method, minus, dice, aji, pq = table.iloc[0]
    assert (method, minus) == ("U-Net", "SegNet")
    assert dice == "**−0.0100 holds** *(−0.0100 to −0.0100; higher on 0 of 8)*"
    assert aji == "too few images"
    assert pq.startswith("0.0000 may be chance *(")
    method, minus, dice, *_ = table.iloc[2]
    assert (method, minus) == ("SegNet", "Otsu")
    assert dice.startswith("+0.0100 may be chance *(")
    assert dice.endswith("; higher on 4 of 8)*")


def test_the_table_says_how_many_images_one_row_alone_defines() -> None:
    unet, otsu = scores(*[0.01] * 8), scores(*[0.0] * 8)
    # On a slide without nuclei, U-Net predicts one and Otsu none: 0 against undefined.
    unet.loc[8], otsu.loc[8] = 0.0, NAN
    rows = [Row("unet", {}), Row("otsu", {})]
    pairs = compare(rows, {"unet": unet, "otsu": otsu}, DECIDING)
    assert differences_table(pairs)["Dice"][0].endswith("; higher on 8 of 8; 1 left out)*")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "+0.0123"), (-0.5, "−0.5000"), (-0.00001, "0.0000"), (0, "0.0000")],
)
def test_a_difference_has_a_sign_unless_it_is_none(value: float, text: str) -> None:
    assert signed(value) == text
