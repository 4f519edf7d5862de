"""Figures as inline SVG: the same bytes each time, in the page's own colour and font."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.report.differences import DECIDING
from stages.report.history import CURVES
from stages.report.rows import TITLES, Row
from stages.report.tables import SCORE_TITLES, SPLIT_TITLES

# Okabe and Ito's palette for the colour-blind (jfly.uni-koeln.de/color), without black and yellow:
# legible on white and on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")

# Replaced in the SVG by currentColor, the page's text colour, which is light on a dark page.
INK = "#010203"

CURVE_TITLES = ("Training objective", "Validation loss", "Validation Dice")
PANEL_INCHES = 3.2
LEGEND_INCHES = 1.5

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
}


def training_curves(histories: Mapping[str, pd.DataFrame]) -> str:
    """An `<svg>` with a panel for each curve that has values.

    Args:
        histories: what `read_history` returns, by model.
    """
    curves = {
        name: title
        for name, title in zip(CURVES, CURVE_TITLES, strict=True)
        if any(history[name].notna().any() for history in histories.values())
    }
    width = PANEL_INCHES * len(curves)
    with _panels(len(curves), width, 2.7, sharey=False) as (figure, axes):
        for axis, (name, title) in zip(axes, curves.items(), strict=True):
            for place, (model, history) in enumerate(histories.items()):
                label = TITLES.get(model, model)
                axis.plot(history["epoch"], history[name], label=label, **_look(place))
            axis.set_title(title)
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(axis="y")
        axes[-1].legend()
        return _svg(figure, "training", "Training curves; the table has the last values")


def scores_with_intervals(rows: Sequence[Row], split: str) -> str:
    """An `<svg>` of Dice, AJI and PQ of each row; a dotted line marks the baseline.

    Args:
        rows: from top to bottom.
        split: whose scores.
    """
    size = PANEL_INCHES * len(DECIDING), 0.9 + 0.32 * len(rows)
    with _panels(len(DECIDING), *size) as (figure, axes):
        for axis, name in zip(axes, DECIDING, strict=True):
            for place, row in enumerate(rows):
                value = row.value(split, name)
                if value is None:
                    continue
                colour = INK if row.is_baseline else _look(place)["color"]
                low, high = row.value(split, f"{name}_lo"), row.value(split, f"{name}_hi")
                if low is not None and high is not None:
                    axis.plot([low, high], [place, place], color=colour, linewidth=2)
                axis.plot([value], [place], color=colour, marker="o", markersize=5.5)
                if row.is_baseline:
                    axis.axvline(value, color=INK, linewidth=1.0, linestyle=":")
            axis.set_title(SCORE_TITLES[name])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_yticks(range(len(rows)), [row.title for row in rows])
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.grid(axis="x")
        return _svg(figure, "scores", "Scores with intervals, as in the table")


def reliability_curves(rows: Sequence[Row], splits: Sequence[str]) -> str:
    """An `<svg>` of observed share of nucleus over P(nucleus): a panel per split, a curve per row.

    Args:
        rows: from first to last; those without calibration have no curve.
        splits: at least one.
    """
    size = PANEL_INCHES * len(splits) + LEGEND_INCHES, PANEL_INCHES
    with _panels(len(splits), *size) as (figure, axes):
        # One legend for all panels: a row may be missing from one of them.
        lines = {}
        for axis, split in zip(axes, splits, strict=True):
            diagonal = axis.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=":")
            lines["calibrated"] = diagonal[0]
            # By its place among all rows: a row has one colour in every figure.
            for place, row in enumerate(rows):
                if split in row.calibration:
                    bins = pd.DataFrame(row.calibration[split].bins)
                    curve = axis.plot(
                        bins["mean_probability"], bins["nucleus_fraction"], **_look(place)
                    )
                    lines[row.title] = curve[0]
            axis.set_title(SPLIT_TITLES[split])
            axis.set_xlabel("predicted P(nucleus)")
            axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axis.grid()
        axes[0].set_ylabel("share on a nucleus")
        figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize=9)
        return _svg(figure, "reliability", "Predicted P(nucleus) against observed share of nucleus")


@contextmanager
def _panels(
    count: int, width: float, height: float, *, sharey: bool = True
) -> Iterator[tuple[Any, Any]]:
    """A figure with axes side by side, independent of the user's Matplotlib settings."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, count, squeeze=False, sharey=sharey)[0]


def _look(place: int) -> dict[str, Any]:
    """Colour and marker of the row or model at a place."""
    return {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[place % len(MARKERS)]}


def _svg(figure: Any, name: str, label: str) -> str:
    """The figure as one element; its ids begin with `name`, so that figures share none."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    # No metadata: it would hold the date, the version and addresses.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    # The declaration and document type before the element belong to separate files.
    text = text[text.index("<svg") :].strip()
    # A style element would apply to the whole page, and the page sets the font.
    text = re.sub(r"\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return text.replace(INK, "currentColor")
