"""Charts as Vega-Lite specifications without settings of looks, which the page adds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import altair as alt
import pandas as pd

from stages.report.differences import DECIDING, Pair, short, signed
from stages.report.fates import FATES
from stages.report.history import CURVES
from stages.report.rows import TITLES, Row
from stages.report.tables import SCORE_TITLES, SPLIT_TITLES

# Okabe and Ito's palette for the colour-blind (jfly.uni-koeln.de/color), without black and yellow:
# legible on white and on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#8A929B"
FATE_COLOURS = dict(zip(FATES, (GREY, "#D55E00", "#CC79A7", "#E69F00", "#0072B2"), strict=True))
SAID_COLOURS = {"higher": "#0072B2", "lower": "#D55E00", "may be chance": GREY}

# The page's text colour, which is light on a dark page: Vega's SVG hands it to the browser.
INK = "currentColor"
CHANCE = "datum.verdict == 'may be chance'"
CURVE_TITLES = ("Training objective", "Validation loss", "Validation Dice")
LINE = 20  # pixels of height of a row
UNIT = alt.Scale(domain=[0, 1])
FREE = alt.Scale(zero=False)
alt.data_transformers.disable_max_rows()  # else above 5,000: of 1,001 images in five rows

Spec = dict[str, Any]
Colours = Mapping[str, str]


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """The colour of each row's title in every chart; the baseline has the text's."""
    painted = {row.title: PALETTE[place % len(PALETTE)] for place, row in enumerate(rows)}
    return painted | {row.title: INK for row in rows if row.is_baseline}


def figures(
    rows: Sequence[Row],
    images: Mapping[str, pd.DataFrame],
    pictures: Sequence[Mapping[str, Any]],
    histories: Mapping[str, pd.DataFrame],
    given: Mapping[str, Any],
) -> dict[str, tuple[list[Spec], Colours]]:
    """The charts of each section of the page, and the legend of their colours.

    Args:
        rows: of this run, the baseline last.
        images: scores by row and image.
        pictures: of `stages.report.overlays.galleries`.
        histories: training histories by model.
        given: of `stages.report.content`.
    """
    colours = colours_of(rows)
    trained = {title: colours[title] for title in (TITLES.get(one, one) for one in histories)}
    probable = {row.title: colours[row.title] for row in rows if row.calibration}
    every: dict[str, tuple[list[Spec], Colours]] = {
        "Summary": (scores(given["standing"], colours), {}),
        "Which differences hold": (differences(given["pairs"]), SAID_COLOURS),
        "Training": (training(histories, colours), trained),
        "Organs and images": (images_by_organ(rows, images, pictures, colours), colours),
        "Calibration": (reliability(rows, given["calibrated"], colours), probable),
        "Precision and recall": (precision_recall(rows, given["split"], colours), colours),
        "What became of nuclei": (nuclei(given["fates"]), FATE_COLOURS),
    }
    return {title: figure for title, figure in every.items() if figure[0]}


def scores(standing: Sequence[Mapping[str, Any]], colours: Colours) -> list[Spec]:
    """A chart per score of every method with its interval; a dotted line marks the baseline."""
    every = pd.DataFrame(standing)
    # The original's Dice is none; its F1 is the Dice of all pixels together.
    every["dice"] = every["dice"].fillna(every["f1"]) if "f1" in every else every["dice"]
    every["method"] = every["method"].str.replace(", .*pre-trained.*", "", regex=True)
    names = list(every["method"])
    painted = _colour({name: colours.get(name, GREY) for name in names}, "method")
    found = []
    for name in DECIDING:
        low, high = f"{name}_lo", f"{name}_hi"
        frame = every.reindex(columns=["method", "images", name, low, high]).dropna(subset=name)
        y = alt.Y(
            "method:N", title=None, axis=alt.Axis(labelLimit=150), scale=alt.Scale(domain=names)
        )
        chart = alt.Chart(frame).encode(y=y, color=painted, tooltip=_tips(frame))
        chart = (
            alt.Chart(frame[frame["method"] == TITLES["otsu"]])
            .mark_rule(strokeDash=[2, 3], color=INK)
            .encode(x=f"{name}:Q")
            + chart.mark_rule(strokeWidth=3, opacity=0.6).encode(x=f"{low}:Q", x2=high)
            + chart.mark_point(size=70).encode(x=alt.X(f"{name}:Q", title=None, scale=FREE))
        )
        found += _spec(chart, SCORE_TITLES[name], LINE * len(names), frame)
    return found


def differences(pairs: Sequence[Pair]) -> list[Spec]:
    """A matrix per score: how much higher the row of the matrix scores than its column."""
    found = []
    for name in DECIDING:
        cells = []
        for first, second, every in pairs:
            if (one := every[name]) is not None:
                cells.append(_cell(first, second, one.mean, one.low, one.high))
                cells.append(_cell(second, first, -one.mean, -one.high, -one.low))
        frame = pd.DataFrame(
            cells, columns=["method", "minus", "difference", "interval", "verdict"]
        )
        order = list(dict.fromkeys(short(one) for pair in pairs for one in pair[:2]))
        x = alt.X("minus:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-30))
        y = alt.Y("method:N", sort=order, title=None)
        chart = alt.Chart(frame).encode(x=x, y=y, tooltip=_tips(frame))
        faint = alt.condition(CHANCE, alt.value(0.18), alt.value(1))
        on_colour = alt.condition(CHANCE, alt.value(INK), alt.value("white"))
        squares = chart.mark_rect().encode(color=_colour(SAID_COLOURS, "verdict"), opacity=faint)
        texts = chart.mark_text(fontSize=9).encode(text="difference", color=on_colour)
        found += _spec(squares + texts, SCORE_TITLES[name], 38 * frame["method"].nunique(), frame)
    return found


def _cell(first: Row, second: Row, mean: float, low: float, high: float) -> list[str]:
    verdict = "higher" if low > 0 else "lower" if high < 0 else "may be chance"
    interval = f"{signed(low)} to {signed(high)}"
    return [short(first), short(second), signed(mean), interval, verdict]


def images_by_organ(
    rows: Sequence[Row],
    images: Mapping[str, pd.DataFrame],
    pictures: Sequence[Mapping[str, Any]],
    colours: Colours,
) -> list[Spec]:
    """A chart per score of every image in every row, and a stroke for the organ's mean.

    A click on an image leads to its picture, the element `image-<place in pictures>`.
    """
    lines = [
        {"image": one["id"], "organ": one["organ"], "method": row.title, "page": f"#image-{place}"}
        | images[row.key].loc[one["id"], list(DECIDING)].to_dict()
        for place, one in enumerate(pictures)
        for row in rows
        if row.key in images
    ]
    every = pd.DataFrame(lines, columns=["image", "organ", "method", "page", *DECIDING])
    found = []
    for name in DECIDING:
        frame = every.dropna(subset=name)
        offset = alt.YOffset("method:N", sort=None, scale=alt.Scale(domain=list(colours)))
        y = alt.Y("organ:N", title=None)
        chart = alt.Chart(frame).encode(y=y, yOffset=offset, color=_colour(colours, "method"))
        x = alt.X(f"{name}:Q", title=None, scale=FREE)
        points = chart.mark_point(size=45, opacity=0.75, cursor="pointer").encode(
            x=x, href="page:N", tooltip=_tips(frame.drop(columns="page"))
        )
        means = chart.mark_tick(thickness=2, size=9).encode(x=alt.X(f"mean({name}):Q"))
        height = 11 * len(colours) * frame["organ"].nunique()
        found += _spec(means + points, SCORE_TITLES[name], height, frame)
    return found


def precision_recall(rows: Sequence[Row], split: str, colours: Colours) -> list[Spec]:
    """Precision over recall of pixels at ten thresholds, and where each row was scored."""
    scored = pd.DataFrame(
        [{"method": row.title, **row.scores.get(split, {})} for row in rows],
        columns=["method", "precision", "recall"],
    ).dropna()
    curves = [scored.head(0).assign(threshold=0.0)]
    for row in rows:
        if split in row.calibration and row.calibration[split].bins:
            # A bin holds the pixels, and the share of nucleus pixels, between two thresholds.
            bins = pd.DataFrame(row.calibration[split].bins)[::-1]
            true, pixels = bins["pixels"] * bins["nucleus_fraction"], bins["pixels"].cumsum()
            line = {"precision": true.cumsum() / pixels, "recall": true.cumsum() / true.sum()}
            curves.append(pd.DataFrame({"method": row.title, "threshold": bins["low"]} | line))
    frame = pd.concat(curves).round(4).dropna()
    x, y = alt.X("recall:Q", scale=UNIT), alt.Y("precision:Q", scale=UNIT)
    lines, points = (
        alt.Chart(data).encode(x=x, y=y, color=_colour(colours, "method"), tooltip=_tips(data))
        for data in (frame, scored)
    )
    chart = lines.mark_line(point=True).encode(order="threshold:Q")
    chart += points.mark_point(shape="diamond", size=150)
    return _spec(chart, SPLIT_TITLES[split], 300, scored)


def reliability(rows: Sequence[Row], splits: Sequence[str], colours: Colours) -> list[Spec]:
    """A chart per split of the observed share of nucleus over P(nucleus)."""
    found = []
    names = {"mean_probability": "Mean P(nucleus)", "nucleus_fraction": "Share on a nucleus"}
    x, y = (
        axis(f"{name}:Q", scale=UNIT, title=title)
        for axis, (name, title) in zip((alt.X, alt.Y), names.items(), strict=True)
    )
    even = pd.DataFrame({name: [0, 1] for name in names})
    diagonal = alt.Chart(even).mark_line(strokeDash=[2, 3], strokeWidth=1, color=INK)
    for split in splits:
        bins = [
            {"method": row.title, **asdict(one)}
            for row in rows
            if split in row.calibration
            for one in row.calibration[split].bins
        ]
        frame = pd.DataFrame(bins, columns=["method", "pixels", *names])
        curves = alt.Chart(frame).mark_line(point=True)
        curves = curves.encode(color=_colour(colours, "method"), tooltip=_tips(frame))
        chart = (diagonal + curves).encode(x=x, y=y)
        found += _spec(chart, SPLIT_TITLES[split], 300, frame)
    return found


def nuclei(fates: pd.DataFrame | None) -> list[Spec]:
    """A chart per method of how many nuclei of each size had which fate."""
    if fates is None:
        return []
    most = int(fates.groupby(["method", "size"], observed=True)["nuclei"].sum().max())
    x = alt.X("nuclei:Q", scale=alt.Scale(domain=[0, most]))
    y = alt.Y("size:N", title=None, scale=alt.Scale(domain=list(fates["size"].cat.categories)))
    found = []
    for method, frame in fates.groupby("method", sort=False):
        chart = alt.Chart(frame.assign(place=frame["fate"].map(FATES.index))).mark_bar()
        chart = chart.encode(
            x=x, y=y, color=_colour(FATE_COLOURS, "fate"), order="place:Q", tooltip=_tips(frame)
        )
        found += _spec(chart, str(method), 5 * LINE, frame)
    return found


def training(histories: Mapping[str, pd.DataFrame], colours: Colours) -> list[Spec]:
    """A chart per curve that has values."""
    named = [one.assign(model=TITLES.get(model, model)) for model, one in histories.items()]
    found = []
    for name, title in zip(CURVES, CURVE_TITLES, strict=True):
        frame = pd.concat(named)[["model", "epoch", name]].dropna()
        x = alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"))
        y = alt.Y(f"{name}:Q", title=None, scale=FREE)
        chart = alt.Chart(frame).mark_line(point=True)
        chart = chart.encode(x=x, y=y, color=_colour(colours, "model"), tooltip=_tips(frame))
        found += _spec(chart, title, 200, frame)
    return found


def _colour(colours: Colours, field: str) -> alt.Color:
    """Without a legend: the page has one for all charts of a figure."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def _tips(frame: pd.DataFrame) -> list[alt.Tooltip]:
    """All columns, shown at the pointer; of one titled `image` Vega would make a picture."""
    names = [str(name) for name in frame]
    titles = [SCORE_TITLES.get(name, name.replace("_", " ").capitalize()) for name in names]
    return [alt.Tooltip(name, title=title) for name, title in zip(names, titles, strict=True)]


def _spec(chart: Any, title: str, height: int, frame: pd.DataFrame) -> list[Spec]:
    """The chart alone in a list; nothing if its data are none."""
    if frame.empty:
        return []
    made = chart.properties(title=title, description=title, width="container", height=height)
    return [
        {
            key: part
            for key, part in made.to_dict(validate=False).items()
            if key not in ("$schema", "config")
        }
    ]
