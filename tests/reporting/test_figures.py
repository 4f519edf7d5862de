"""Inline SVG that takes the page's colour."""

import re
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from stages.reporting.figures import INK, scores_with_intervals, training_curves
from stages.reporting.history import History
from stages.reporting.rows import Row


def history(model: str, *, validated: bool = True) -> History:
    dice = (0.5, 0.6) if validated else (None, None)
    return History(
        model,
        (1, 2),
        {"objective": (0.9, 0.8), "validation_loss": dice, "validation_dice": dice},
    )


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_a_panel_for_each_column_that_holds_values() -> None:
    svg = training_curves([history("unet"), history("tiny")])
    fromstring(svg)
    assert {"Training objective", "Validation loss", "Validation Dice"} <= set(words(svg))
    assert {"U-Net", "tiny"} <= set(words(svg))
    without = words(training_curves([history("unet", validated=False)]))
    assert "Training objective" in without
    assert "Validation Dice" not in without


def test_nothing_of_the_surroundings_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = training_curves([history("unet")])
    assert "metadata" not in plain
    assert "<style" not in plain
    assert INK not in plain
    assert "currentColor" in plain
    # A user's own settings of Matplotlib change nothing.
    import matplotlib as mpl

    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.hashsalt": "other"}):
        assert training_curves([history("unet")]) == plain


def test_scores_of_every_row_and_a_row_without_any() -> None:
    rows = [
        Row("unet", {"test": {"dice": 0.8, "dice_lo": 0.7, "dice_hi": 0.9, "aji": 0.5}}),
        Row("segnet", {}),
        Row("otsu", {"test": {"dice": 0.7}}),
    ]
    svg = scores_with_intervals(rows, "test")
    fromstring(svg)
    assert {"Dice", "AJI", "PQ", "U-Net", "SegNet", "Otsu, no training"} <= set(words(svg))


def test_two_figures_share_no_id() -> None:
    first = re.findall(r'\bid="([^"]*)"', training_curves([history("unet")]))
    second = re.findall(r'\bid="([^"]*)"', scores_with_intervals([Row("otsu", {})], "test"))
    assert first
    assert second
    assert set(first).isdisjoint(second)
