"""Charts as Vega-Lite specifications without settings of looks, which the page adds."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import altair as alt
import pandas as pd

from monuseg.formats.rows import BASELINE
from monuseg.scoring import calibration
from monuseg.scoring.fates import FATES
from monuseg.scoring.paired import Pair
from monuseg.scoring.rows import TITLES, Row
from stages.report import tables

# Legible on white and on black. The first six are Okabe and Ito's for the colour-blind
# (jfly.uni-koeln.de/color) without black and yellow; of Tol's, Petroff's and Matplotlib's colours
# the other four differ most from them to eyes without red or green (CIEDE2000 of 10 at least).
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#AA3377", "#8C564B", "#3F90DA", "#BD1F01"),
)
GREY = "#8A929B"
FATE_COLOURS = dict(zip(FATES, (GREY, "#D55E00", "#CC79A7", "#E69F00", "#0072B2"), strict=True))
SAID_COLOURS = {"higher": "#0072B2", "lower": "#D55E00", "may be chance": GREY}
CURVE_TITLES = ("Training objective", "Validation loss", "Validation Dice")

# The page's text colour, which is light on a dark page: Vega's SVG hands it to the browser.
INK = "currentColor"
UNIT, FREE = alt.Scale(domain=[0, 1]), alt.Scale(zero=False)
CHANCE = alt.when(alt.datum.Verdict == "may be chance")
alt.data_transformers.disable_max_rows()  # else above 5,000: of 1,001 images in five rows

Specs = list[dict[str, Any]]
Colours = Mapping[str, str]


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """The colour of each row's title in every chart; the baseline, the last, has the text's."""
    *learned, baseline = (row.title for row in rows)
    return dict(zip(learned, cycle(PALETTE), strict=False)) | {baseline: INK}


def figures(given: Mapping[str, Any], pictures: tables.Entries) -> dict[str, tuple[Specs, Colours]]:
    """The charts of each section of the page, if any, and the legend of their colours.

    Args:
        given: of `stages.report.writing.content`.
        pictures: of `stages.report.overlays.galleries`.
    """
    rows, split, histories = given["rows"], given["split"], given["histories"]
    colours = colours_of(rows)
    probable = {row.title: colours[row.title] for row in rows if row.calibration}
    return {
        "Summary": (scores(given["standing"], colours), {}),
        "Which differences hold": (differences(given["pairs"]), SAID_COLOURS),
        "Training": (training(histories, colours), {one: colours[one] for one in histories}),
        "Organs and images": (organs(rows, given["images"], pictures, colours), colours),
        "Calibration": (reliability(rows, given["calibrated"], colours), probable),
        "Precision and recall": (precision_recall(rows, split, colours), colours),
        "What became of nuclei": (nuclei(given["fates"]), FATE_COLOURS),
    }


def scores(standing: tables.Entries, colours: Colours) -> Specs:
    """A chart per score of every method with its interval; a dotted line marks the baseline."""
    every = pd.DataFrame(standing).replace({"method": {", pre-trained.*": ""}}, regex=True)
    # The original's Dice is none; its F1 is the Dice of all pixels together.
    every["dice"] = every["dice"].fillna(every["f1"])
    panels = []
    for name, title in tables.DECIDING.items():
        part = every.reindex(columns=["method", "images", name, f"{name}_lo", f"{name}_hi"])
        part = part.set_axis(["Method", "Images", "Score", "From", "To"], axis=1)
        panels.append(part.assign(panel=title))
    frame = pd.concat(panels).dropna(subset="Score")
    names = list(every["method"])
    painted = {name: colours.get(name, GREY) for name in names}
    y = alt.Y("Method:N", title=None, axis=alt.Axis(labelLimit=150), scale=alt.Scale(domain=names))
    base = _chart(frame, painted).encode(y=y)
    x = alt.X("Score:Q", title=None, scale=FREE)
    rule = alt.Chart().mark_rule(strokeDash=[2, 3], color=INK).encode(x=x)
    chart = rule.transform_filter(alt.datum.Method == TITLES[BASELINE])
    chart += base.mark_rule(strokeWidth=3, opacity=0.6).encode(x="From:Q", x2="To")
    return _panels(frame, chart + base.mark_point(size=70).encode(x=x), 20 * len(names))


def differences(pairs: Sequence[Pair]) -> Specs:
    """A matrix per score: how much higher the row of the matrix scores than its column."""
    lines = [
        (title, tables.short(row), tables.short(minus), *_said(mean, low, high))
        for name, title in tables.DECIDING.items()
        for one, two, found in pairs
        if (by := found[name])
        for row, minus, mean, low, high in (
            (one, two, by.mean, by.low, by.high),
            (two, one, -by.mean, -by.high, -by.low),
        )
    ]
    columns = ["panel", "Method", "Minus", "Difference", "Interval", "Verdict"]
    frame = pd.DataFrame(lines, columns=columns)
    order = list(dict.fromkeys(tables.short(row) for pair in pairs for row in pair[:2]))
    x = alt.X("Minus:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-30))
    base = _chart(frame, SAID_COLOURS, "Verdict")
    base = base.encode(x=x, y=alt.Y("Method:N", sort=order, title=None))
    faint = CHANCE.then(alt.value(0.18)).otherwise(alt.value(1))
    on_colour = CHANCE.then(alt.value(INK)).otherwise(alt.value("white"))
    texts = base.mark_text(fontSize=9).encode(text="Difference:N", color=on_colour)
    return _panels(frame, base.mark_rect().encode(opacity=faint) + texts, 38 * len(order))


def _said(mean: float, low: float, high: float) -> tuple[str, str, str]:
    verdict = "higher" if low > 0 else "lower" if high < 0 else "may be chance"
    return tables.signed(mean), f"{tables.signed(low)} to {tables.signed(high)}", verdict


def organs(
    rows: Sequence[Row], images: tables.Images, pictures: tables.Entries, colours: Colours
) -> Specs:
    """A chart per score of every image in every row, and a stroke for the organ's mean.

    A click on an image leads to its picture, the element `image-<place in pictures>`.
    """
    if not pictures:
        return []
    scored = pd.concat({row.title: images[row.key] for row in rows if row.key in images})
    scored = scored[list(tables.DECIDING)].rename(columns=tables.SCORE_TITLES)
    scored = scored.rename_axis(["Method", "Image"])
    shown = pd.DataFrame(pictures).rename(columns={"id": "Image", "organ": "Organ"})
    shown = shown[["Image", "Organ"]].assign(page=[f"#image-{place}" for place in shown.index])
    every = shown.merge(scored.reset_index(), on="Image")
    titles = tables.DECIDING.values()
    frame = pd.concat(every.assign(panel=title, Score=every[title]) for title in titles)
    offset = alt.YOffset("Method:N", sort=None, scale=alt.Scale(domain=list(colours)))
    base = _chart(every, colours).encode(y=alt.Y("Organ:N", title=None), yOffset=offset)
    means = base.mark_tick(thickness=2, size=9).encode(x="mean(Score):Q", tooltip=alt.value(None))
    points = base.mark_point(size=45, opacity=0.75, cursor="pointer")
    points = points.encode(x=alt.X("Score:Q", title=None, scale=FREE), href="page:N")
    height = 11 * len(colours) * every["Organ"].nunique()
    return _panels(frame.dropna(subset="Score"), means + points, height)


def precision_recall(rows: Sequence[Row], split: str, colours: Colours) -> Specs:
    """Precision over recall of pixels at ten thresholds, and where each row was scored."""
    scored = pd.DataFrame(tables.entries(rows, split)).rename(columns=str.capitalize)
    scored = scored.reindex(columns=["Method", "Precision", "Recall"]).dropna()
    points = [
        (row.title, *point)
        for row in rows
        for point in calibration.precision_recall(row.calibration.get(split, []))
    ]
    frame = pd.DataFrame(points, columns=["Method", "Threshold", "Precision", "Recall"])
    frame = frame.round(4).dropna()
    lines = _chart(frame, colours).properties(data=frame).mark_line(point=True)
    chart = lines.encode(order="Threshold:Q")
    chart += _chart(scored, colours).mark_point(shape="diamond", size=150)
    chart = chart.encode(x=alt.X("Recall:Q", scale=UNIT), y=alt.Y("Precision:Q", scale=UNIT))
    return _panels(scored.assign(panel=tables.SPLIT_TITLES[split]), chart, 300)


def reliability(rows: Sequence[Row], splits: Sequence[str], colours: Colours) -> Specs:
    """A chart per split of the observed share of nucleus over P(nucleus)."""
    bins = [
        pd.DataFrame(row.calibration[split]).assign(Method=row.title, panel=title)
        for split, title in tables.SPLIT_TITLES.items()
        for row in rows
        if split in splits and row.calibration.get(split)
    ]
    if not bins:
        return []
    axes = ["Mean P(nucleus)", "Share on a nucleus"]
    frame = pd.concat(bins).set_axis(["From", "To", "Pixels", *axes, "Method", "panel"], axis=1)
    even = alt.Chart(pd.DataFrame([[0, 0], [1, 1]], columns=axes))
    chart = even.mark_line(strokeDash=[2, 3], strokeWidth=1, color=INK)
    chart += _chart(frame, colours).mark_line(point=True)
    x, y = (axis(f"{name}:Q", scale=UNIT) for axis, name in zip((alt.X, alt.Y), axes, strict=True))
    return _panels(frame, chart.encode(x=x, y=y), 300)


def nuclei(fates: pd.DataFrame | None) -> Specs:
    """A chart per method of how many nuclei of each size had which fate."""
    if fates is None:
        return []
    frame = fates.rename(columns=str.capitalize)
    chart = _chart(frame, FATE_COLOURS, "Fate").mark_bar().encode(order="place:Q")
    most = int(frame.groupby(["Method", "Size"], observed=True)["Nuclei"].sum().max())
    x = alt.X("Nuclei:Q", scale=alt.Scale(domain=[0, most]))
    y = alt.Y("Size:N", title=None, scale=alt.Scale(domain=list(frame["Size"].cat.categories)))
    frame = frame.assign(place=frame["Fate"].map(FATES.index), panel=frame["Method"])
    return _panels(frame, chart.encode(x=x, y=y), 100)


def training(histories: Mapping[str, pd.DataFrame], colours: Colours) -> Specs:
    """A chart per curve that has values."""
    every = pd.concat(one.assign(Method=title) for title, one in histories.items())
    every = every.set_axis(["Epoch", *CURVE_TITLES, "Method"], axis=1)
    frame = every.melt(["Method", "Epoch"], var_name="panel", value_name="Value").dropna()
    x = alt.X("Epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"))
    chart = _chart(frame, colours).mark_line(point=True)
    return _panels(frame, chart.encode(x=x, y=alt.Y("Value:Q", title=None, scale=FREE)), 200)


def _chart(frame: pd.DataFrame, colours: Colours, field: str = "Method") -> alt.Chart:
    """With colours, whose legend is the page's, and all named columns shown at the pointer."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    tips = [f"{name}:N" for name in frame if name not in ("panel", "page")]
    return alt.Chart().encode(color=alt.Color(f"{field}:N", scale=scale, legend=None), tooltip=tips)


def _panels(frame: pd.DataFrame, chart: Any, height: int) -> Specs:
    """The chart once for each `panel` of the data, which is its title."""
    specs = []
    for title, part in frame.groupby("panel", sort=False):
        made = chart.properties(data=part.drop(columns="panel"), title=title, description=title)
        spec = made.properties(width="container", height=height).to_dict(validate=False)
        specs.append({key: spec[key] for key in spec if key not in ("$schema", "config")})
    return specs
