"""Inline SVG that takes the page's colour."""

import re
from pathlib import Path

import pandas as pd
import pytest
from defusedxml.ElementTree import fromstring

from monuseg.scoring.calibration import ReliabilityBin
from stages.report.figures import (
    INK,
    PALETTE,
    reliability_curves,
    scores_with_intervals,
    training_curves,
)
from stages.report.rows import Calibration, Row


def history(*, validated: bool = True) -> pd.DataFrame:
    dice = [0.5, 0.6] if validated else [float("nan")] * 2
    curves = {"objective": [0.9, 0.8], "validation_loss": dice, "validation_dice": dice}
    return pd.DataFrame({"epoch": [1.0, 2.0], **curves})


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_a_panel_for_each_column_that_holds_values() -> None:
    svg = training_curves({"unet": history(), "tiny": history()})
    fromstring(svg)
    assert {"Training objective", "Validation loss", "Validation Dice"} <= set(words(svg))
    assert {"U-Net", "tiny"} <= set(words(svg))
    without = words(training_curves({"unet": history(validated=False)}))
    assert "Training objective" in without
    assert "Validation Dice" not in without


def test_nothing_of_the_surroundings_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = training_curves({"unet": history()})
    assert "metadata" not in plain
    assert "<style" not in plain
    assert INK not in plain
    assert "currentColor" in plain
    # A user's own settings of Matplotlib change nothing.
    import matplotlib as mpl

    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.hashsalt": "other"}):
        assert training_curves({"unet": history()}) == plain


def test_scores_of_every_row_and_a_row_without_any() -> None:
    rows = [
        Row("unet", {"test": {"dice": 0.8, "dice_lo": 0.7, "dice_hi": 0.9, "aji": 0.5}}),
        Row("segnet", {}),
        Row("otsu", {"test": {"dice": 0.7}}),
    ]
    svg = scores_with_intervals(rows, "test")
    fromstring(svg)
    assert {"Dice", "AJI", "PQ", "U-Net", "SegNet", "Otsu, no training"} <= set(words(svg))


def calibrated(row: str, *splits: str) -> Row:
    bins = [
        ReliabilityBin(0.0, 0.1, pixels=90, mean_probability=0.01, nucleus_fraction=0.02),
        ReliabilityBin(0.9, 1.0, pixels=10, mean_probability=0.95, nucleus_fraction=0.8),
    ]
    return Row(row, {}, calibration=dict.fromkeys(splits, Calibration(0.024, bins)))


def test_a_reliability_curve_a_row_with_probabilities_in_its_colour_of_the_scores() -> None:
    rows = [
        calibrated("unet"),
        calibrated("segnet", "validation", "test"),
        calibrated("ensemble", "test"),
        Row("otsu", {}),
    ]
    svg = reliability_curves(rows, ("validation", "test"))
    fromstring(svg)
    found = words(svg)
    assert [found.count(word) for word in ("Validation", "Test", "SegNet", "Ensemble")] == [1] * 4
    assert not {"U-Net", "Otsu, no training"} & set(found)
    assert "calibrated" in found
    scores = scores_with_intervals(
        [Row(row.key, {"test": {"dice": 0.5}}) for row in rows[:3]], "test"
    )
    # Curves and legend; the first row has none here.
    for colour, drawn in zip(PALETTE, (0, 1, 1), strict=False):
        assert colour.lower() in scores
        assert (colour.lower() in svg) == bool(drawn)
    assert "calibrated" in words(reliability_curves(rows, ("test",)))
    assert svg == reliability_curves(rows, ("validation", "test"))


def test_figures_share_no_id() -> None:
    figures = (
        training_curves({"unet": history()}),
        scores_with_intervals([Row("otsu", {})], "test"),
        reliability_curves([calibrated("unet", "test")], ("test",)),
    )
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in figures]
    assert all(ids)
    assert sum(map(len, ids)) == len(set().union(*ids))
