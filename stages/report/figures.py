"""Drawings as inline SVG: the same bytes each time, in the page's own colour and font."""

import io
import re
from collections.abc import Sequence

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from stages.report.history import COLUMNS, History
from stages.report.rows import TITLES, Row
from stages.report.tables import SPLIT_TITLES

# Okabe and Ito's palette without black and yellow: told apart by the colour-blind, and legible on
# white and on black (jfly.uni-koeln.de/color).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")

# Stands for the page's text colour, which a dark page swaps: replaced in the SVG by currentColor.
INK = "#010203"

PANEL_TITLES = {
    "objective": "Training objective",
    "validation_loss": "Validation loss",
    "validation_dice": "Validation Dice",
}
INTERVAL_SCORES = ("dice", "aji", "pq")
PANEL_INCHES = 3.2
LEGEND_INCHES = 1.5

STYLE = {
    "svg.fonttype": "none",
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
}


def training_curves(histories: Sequence[History]) -> str:
    """An `<svg>` with a panel for each column of the histories that holds values."""
    panels = [name for name in COLUMNS if any(history.has(name) for history in histories)]
    with style.context(["default", {**STYLE, "svg.hashsalt": "training"}]):
        canvas = Canvas(figsize=(PANEL_INCHES * len(panels), 2.7), layout="constrained")
        axes = canvas.subplots(1, len(panels), squeeze=False)[0]
        for axis, name in zip(axes, panels, strict=True):
            for number, history in enumerate(histories):
                # NaN breaks the line, where None is refused.
                values = [
                    float("nan") if value is None else value for value in history.curves[name]
                ]
                axis.plot(
                    history.epochs,
                    values,
                    color=PALETTE[number % len(PALETTE)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=3,
                    linewidth=1.5,
                    label=TITLES.get(history.model, history.model),
                )
            axis.set_title(PANEL_TITLES[name])
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(axis="y")
        axes[-1].legend(frameon=False)
        return _svg(canvas, "training", "Training curves; the last values are in the table")


def scores_with_intervals(rows: Sequence[Row], split: str) -> str:
    """An `<svg>` of Dice, AJI and PQ of each row; a dotted line marks the baseline.

    Args:
        rows: from top to bottom.
        split: whose scores.
    """
    with style.context(["default", {**STYLE, "svg.hashsalt": "scores"}]):
        height = 0.9 + 0.32 * len(rows)
        canvas = Canvas(figsize=(PANEL_INCHES * len(INTERVAL_SCORES), height), layout="constrained")
        axes = canvas.subplots(1, len(INTERVAL_SCORES), squeeze=False, sharey=True)[0]
        for axis, name in zip(axes, INTERVAL_SCORES, strict=True):
            for place, row in enumerate(rows):
                value = row.value(split, name)
                if value is None:
                    continue
                colour = INK if row.is_baseline else PALETTE[place % len(PALETTE)]
                low, high = row.value(split, f"{name}_lo"), row.value(split, f"{name}_hi")
                if low is not None and high is not None:
                    axis.plot([low, high], [place, place], color=colour, linewidth=2)
                axis.plot([value], [place], color=colour, marker="o", markersize=5.5)
                if row.is_baseline:
                    axis.axvline(value, color=INK, linewidth=1.0, linestyle=":")
            axis.set_title(name.upper() if name != "dice" else "Dice")
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_yticks(range(len(rows)), [row.title for row in rows])
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.grid(axis="x")
        return _svg(canvas, "scores", "Scores with intervals, as in the table")


def reliability_curves(rows: Sequence[Row], splits: Sequence[str]) -> str:
    """An `<svg>` of claimed against true shares of nucleus, a panel a split, a curve a row.

    Args:
        rows: from first to last; those without calibration have no curve.
        splits: at least one.
    """
    with style.context(["default", {**STYLE, "svg.hashsalt": "reliability"}]):
        size = (PANEL_INCHES * len(splits) + LEGEND_INCHES, PANEL_INCHES)
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.subplots(1, len(splits), squeeze=False, sharey=True)[0]
        for axis, split in zip(axes, splits, strict=True):
            axis.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=":", label="as claimed")
            # By its place among all rows: a row has one colour in every figure.
            for place, row in enumerate(rows):
                if split not in row.calibration:
                    continue
                bins = row.calibration[split].bins
                axis.plot(
                    [one.mean_probability for one in bins],
                    [one.nucleus_fraction for one in bins],
                    color=PALETTE[place % len(PALETTE)],
                    marker=MARKERS[place % len(MARKERS)],
                    markersize=4,
                    linewidth=1.5,
                    label=row.title,
                )
            axis.set_title(SPLIT_TITLES[split])
            axis.set_xlabel("claimed P(nucleus)")
            axis.set_xlim(0, 1)
            axis.set_ylim(0, 1)
            axis.set_aspect("equal")
            axis.grid()
        axes[0].set_ylabel("share on a nucleus")
        # One for all panels: a row may be missing from one of them.
        shown = {
            label: line
            for axis in axes
            for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(
            shown.values(), shown.keys(), frameon=False, loc="outside right upper", fontsize=9
        )
        return _svg(canvas, "reliability", "Claimed against observed shares of nucleus")


def _svg(canvas: Canvas, name: str, label: str) -> str:
    """The figure as one element; its ids begin with `name`, so that figures share none."""
    FigureCanvasSVG(canvas)
    buffer = io.StringIO()
    # No metadata: it would hold the date, the version and addresses.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    # What stands before the element (declaration, document type) is for files of their own.
    text = text[text.index("<svg") :].strip()
    # A style element inside a page is the whole page's; a font, the page has itself.
    text = re.sub(r"\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return text.replace(INK, "currentColor")
