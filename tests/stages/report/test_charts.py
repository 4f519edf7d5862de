"""Charts as specifications of Vega-Lite."""

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest
import vl_convert

from monuseg.scoring.calibration import ReliabilityBin
from monuseg.scoring.paired import Difference, Pair
from monuseg.scoring.rows import Row
from stages.report import charts
from stages.report.charts import Specs, colours_of
from stages.report.tables import standing

UNET = Row("unet", {"test": {"dice": 0.8, "dice_lo": 0.7, "dice_hi": 0.9, "aji": 0.5}})
SEGNET = Row("segnet", {})
OTSU = Row("otsu", {"test": {"dice": 0.7, "precision": 0.9, "recall": 0.6}})
ROWS = [UNET, SEGNET, OTSU]
COLOURS = colours_of(ROWS)


def drawn(specs: Specs) -> list[str]:
    """The charts as SVG; each is valid, and has no data that the browser would have to fetch."""
    for spec in specs:
        alt.Chart.from_dict(spec)
        assert '"url"' not in json.dumps(spec)
    return [vl_convert.vegalite_to_svg({**spec, "width": 300}) for spec in specs]


def data(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of all data of a chart."""
    return [row for rows in spec["datasets"].values() for row in rows]


def titles(specs: Specs) -> list[str]:
    return [spec["title"] for spec in specs]


def test_ten_rows_have_ten_colours_and_the_baseline_the_one_of_the_text() -> None:
    rows = [Row(f"model{place}", {}) for place in range(11)]
    *learned, baseline = colours_of([*rows, OTSU]).values()
    assert len(set(learned[:10])) == 10
    assert learned[10] == learned[0]
    assert (baseline, charts.INK in learned) == (charts.INK, False)


def test_scores_of_every_method_of_its_own_colour_and_the_original_by_its_f1() -> None:
    specs = charts.scores(standing(ROWS, "test", []), COLOURS)
    assert titles(specs) == ["Dice", "AJI", "PQ"]
    dice = {row["Method"]: row for row in data(specs[0])}
    assert dice["U-Net"] == {
        **{"Method": "U-Net", "Images": "this run", "Score": 0.8, "From": 0.7, "To": 0.9}
    }
    assert dice["Original's best F1"]["Score"] == 0.7858
    assert "CellViT SAM-H" in dice
    assert "SegNet" not in dice
    svg = drawn(specs)[0]
    assert charts.PALETTE[0] in svg
    assert "currentColor" in svg


def test_the_matrix_has_both_signs_and_says_what_holds() -> None:
    found = {"dice": Difference(8, 0.1, 0.05, 0.2, 7), "aji": Difference(8, 0.1, -0.1, 0.3, 5)}
    specs = charts.differences([Pair(UNET, OTSU, {**found, "pq": None})])
    assert titles(specs) == ["Dice", "AJI"]
    dice, aji = ([(row["Method"], row["Difference"], row["Verdict"]) for row in data(spec)]
                 for spec in specs)  # fmt: skip
    assert dice == [("U-Net", "+0.1000", "higher"), ("Otsu", "−0.1000", "lower")]
    assert {verdict for _, _, verdict in aji} == {"may be chance"}
    assert data(specs[0])[1]["Interval"] == "−0.2000 to −0.0500"
    drawn(specs)
    assert charts.differences([]) == []


def test_an_image_leads_to_its_picture() -> None:
    scores = pd.DataFrame({"dice": [0.8], "aji": [0.5], "pq": [float("nan")]}, index=["a"])
    pictures = [{"id": "a", "organ": "colon"}]
    specs = charts.organs(ROWS, {"unet": scores, "otsu": scores}, pictures, COLOURS)
    assert titles(specs) == ["Dice", "AJI"]
    assert [(row["Image"], row["Method"], row["page"]) for row in data(specs[0])] == [
        ("a", "U-Net", "#image-0"),
        ("a", "Otsu, no training", "#image-0"),
    ]
    # The points lie above the means, or those would take the click.
    points = specs[0]["layer"][-1]["encoding"]
    assert points["href"] == {"field": "page", "type": "nominal"}
    # Vega shows what is titled `image` as a picture from that address.
    tips = ["Image", "Organ", "Method", "Dice", "AJI", "PQ"]
    assert [one["field"] for one in points["tooltip"]] == tips
    drawn(specs)
    assert charts.organs(ROWS, {}, [], COLOURS) == []


def calibrated(*splits: str) -> Row:
    bins = [
        ReliabilityBin(0.0, 0.1, pixels=90, mean_probability=0.01, nucleus_fraction=0.1),
        ReliabilityBin(0.9, 1.0, pixels=10, mean_probability=0.95, nucleus_fraction=0.9),
    ]
    return Row("segnet", {}, dict.fromkeys(splits, bins))


def test_precision_and_recall_follow_from_the_bins() -> None:
    [spec] = charts.precision_recall([UNET, calibrated("test"), OTSU], "test", COLOURS)
    # Of 18 nucleus pixels 9 are among the 10 above 0.9, and all among the 100 above 0.
    assert sorted(data(spec), key=lambda row: (row["Method"] != "SegNet", row["Recall"])) == [
        {"Method": "SegNet", "Precision": 0.9, "Recall": 0.5, "Threshold": 0.9},
        {"Method": "SegNet", "Precision": 0.18, "Recall": 1.0, "Threshold": 0.0},
        {"Method": "Otsu, no training", "Precision": 0.9, "Recall": 0.6},
    ]
    drawn([spec])
    assert charts.precision_recall([UNET], "test", COLOURS) == []


def test_a_reliability_curve_a_split_of_the_rows_that_have_probabilities() -> None:
    specs = charts.reliability([calibrated("validation", "test"), OTSU], ("test",), COLOURS)
    assert titles(specs) == ["Test"]
    assert {row.get("Method") for row in data(specs[0])} == {None, "SegNet"}
    drawn(specs)
    assert charts.reliability([OTSU], ("test",), COLOURS) == []


def test_fates_of_every_method_on_one_scale() -> None:
    sizes = pd.Categorical(["small", "large", "small"], categories=["small", "large"])
    methods, fates = ["U-Net", "U-Net", "SegNet"], ["matched", "missed", "invented"]
    frame = pd.DataFrame({"method": methods, "size": sizes, "fate": fates, "nuclei": [2, 7, 1]})
    specs = charts.nuclei(frame)
    assert titles(specs) == ["U-Net", "SegNet"]
    assert [spec["encoding"]["x"]["scale"]["domain"] for spec in specs] == [[0, 7]] * 2
    assert [spec["encoding"]["y"]["scale"]["domain"] for spec in specs] == [["small", "large"]] * 2
    assert charts.FATE_COLOURS["missed"] in drawn(specs)[0]
    assert charts.nuclei(None) == []


@pytest.mark.parametrize("validated", [True, False])
def test_a_chart_for_each_curve_that_holds_values(validated: bool) -> None:
    dice = [0.5, 0.6] if validated else [float("nan")] * 2
    curves = {"objective": [0.9, 0.8], "validation_loss": dice, "validation_dice": dice}
    history = pd.DataFrame({"epoch": [1.0, 2.0], **curves})
    specs = charts.training({"U-Net": history, "tiny": history}, {**COLOURS, "tiny": "#56B4E9"})
    every = ["Training objective", "Validation loss", "Validation Dice"]
    assert titles(specs) == (every if validated else every[:1])
    assert {row["Method"] for row in data(specs[0])} == {"U-Net", "tiny"}
    drawn(specs)
