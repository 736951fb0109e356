"""What charts are made of: the palette, axes, lines, bands, labels, and what every chart carries."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from fairlib.bias import layer_order
from fairlib.corpora import CORPORA
from fairlib.encoders.names import is_untrained

# Okabe and Ito's hues, darkened where needed to stand out from white by 3:1, with a twin each for dark pages
# (`fairlib.display.rendering.DARK`); a test simulates colour-vision deficiencies in both.
PALETTE = ("#0072B2", "#D55E00", "#00805E", "#A8458A", "#7A6400", "#3D3D3D", "#3E8FC4", "#B8860B")


DASHES = ([1, 0], [10, 4], [5, 2, 1, 2])  # of lines whose colour comes a second or third time


SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)


INK, SOFT, GREY, PALE, GRID, PAPER = "#1F2430", "#4B5563", "#6B7280", "#9AA1AC", "#E7E9ED", "#FFFFFF"


TWIN = "#9A6A00"  # untrained twins; log-mel, the other control, has the palette's third colour


SCALES: dict[str, dict[str, Any]] = {
    "difference": dict(title="difference in error (points)", neutral=0.0, factor=100.0, format="+~f", axis="linear"),
    "ratio": dict(title="ratio of errors", neutral=1.0, factor=1.0, format=".2~f", axis="log"),
    "log_odds": dict(title="log odds ratio of error", neutral=0.0, factor=1.0, format="+~f", axis="linear"),
}


LAYER_TITLE = "layer of the encoder"


ZEROLESS = "datum.value == 0 ? '0' : datum.label"  # no sign before zero


HEIGHT = 300


LINE = 15  # from one line of a label to the next


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """Colour of each group: known groups always have the same, others take the free places by name.

    Example:
        >>> group_colours(["child", "female"])["child"] == group_colours(["adult", "child"])["child"]
        True
    """
    return {group: PALETTE[place % len(PALETTE)] for group, place in group_places(groups).items()}


def group_places(groups: Sequence[str]) -> dict[str, int]:
    groups = sorted(set(map(str, groups)))
    # The groups that our corpora name always keep their place in the palette, whichever others stand beside them.
    columns = (column for about in CORPORA.values() for column in about.groups.values())
    named = list(dict.fromkeys(group for column in columns for group in column.people))
    known = {group: named.index(group) for group in groups if group in named}
    free = [place for place in range(len(PALETTE) + len(groups)) if place not in known.values()]
    others = dict(zip((group for group in groups if group not in known), free, strict=False))
    return {group: (known | others)[group] for group in groups}


# Columns that a line's marks read.
DRAWN = ("line", "label", "layer", "x", "value", "low", "high", "n_speakers", "hollow")


POINTED = "pointed === datum.layer"  # the parameter is set by the page, see `fairlib.display.rendering`


def require_words(title: str, description: str) -> None:
    for name, words in {"title": title, "description": description}.items():
        if not str(words).strip():
            raise ValueError(f"the chart's {name} is empty: say in words what is seen.")


def only_one(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    if rows.empty:
        raise ValueError("nothing to draw: the table has no row for this choice of encoder, contrast and scale.")
    found = rows[column].unique() if column in rows else []
    if len(found) > 1:
        found = ", ".join(map(str, found))
        raise ValueError(f"a chart shows one {column}, the table holds {found}: filter it first.")
    return rows


def encoder_and_reference(rows: pd.DataFrame, encoder: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [name for name in rows["encoder"].unique() if name != "logmel"]
    if encoder is None:
        if len(names) != 1:
            raise ValueError(f"which encoder? The table holds {', '.join(names) or 'log-mel only'}: set encoder=...")
        encoder = names[0]
    chosen = rows[rows["encoder"] == encoder]
    return chosen, rows[(rows["encoder"] == "logmel") & (encoder != "logmel")]


def finite_rows(rows: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    return only_one(rows[np.isfinite(rows[column].astype(float))], column="")


def saturated_rows(rows: pd.DataFrame) -> pd.Series:
    return rows["saturated"].astype(bool) if "saturated" in rows else pd.Series(False, index=rows.index)


def records(frame: pd.DataFrame, *columns: str) -> list[dict]:
    """Rows as plain values, of those of the columns that there are; what JSON cannot say is null."""
    kept = frame[[column for column in columns if column in frame]]
    return json.loads(kept.to_json(orient="records", double_precision=6))


def base_chart(rows: list[dict]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def layer_axis(rows: pd.DataFrame) -> alt.X:
    layers = layer_order(rows["layer"].unique())
    axis = alt.Axis(labelAngle=0, labelOverlap="greedy", title=LAYER_TITLE, ticks=False, grid=False)
    return alt.X("layer:O", sort=layers, scale=alt.Scale(domain=layers, padding=0.35), axis=axis)


def vertical_axis(scale: alt.Scale, axis: alt.Axis) -> Callable[..., alt.Y]:
    """The vertical channel of every part of a chart, which differ in the column only."""
    return lambda column="value": alt.Y(f"{column}:Q", scale=scale, axis=axis)


def level_axis(title: str, format: str) -> alt.Axis:
    """A vertical axis whose title lies level above it: easy to read, and no width lost on a phone."""
    return alt.Axis(
        format=format,
        title=title,
        labelExpr=ZEROLESS,
        tickCount=6,
        titleAngle=0,
        titleAlign="left",
        titleAnchor="end",
        titleX=-34,
        titleY=-14,
    )


def tooltip_of(format: str, line: str, field: str = "line") -> list[alt.Tooltip]:
    numbers = {"value": "estimate", "low": "interval from", "high": "to"}
    shown = [alt.Tooltip(f"{name}:Q", format=format, title=title) for name, title in numbers.items()]
    return [alt.Tooltip(f"{field}:N", title=line), alt.Tooltip("layer:N"), *shown]


def drawn_lines(rows: pd.DataFrame, x: alt.X, y: Callable, looks: dict[str, tuple], tooltip: list) -> list[alt.Chart]:
    """For each name in ``looks`` (colour, dash, marker): the interval, the line and its points.

    Points are hollow where saturated, and drawn on paper, so that hollow ones hide the line behind them.
    """
    parts = []
    for name, (colour, dash, shape) in looks.items():
        mine = rows[rows["line"] == name]
        base = base_chart(records(mine, *DRAWN)).encode(x=x)
        if "low" in mine and np.isfinite(mine["low"].astype(float)).any():
            band = interval_band(base, mine, colour, 0.18 if dash == [1, 0] else 0.12)
            parts.append(band.encode(y=y("low"), y2="high:Q"))
        parts.append(base.mark_line(color=colour, strokeWidth=2.4, strokeDash=dash).encode(y=y()))
        if len(mine) <= 20:
            points = base.mark_point(
                size=58, strokeWidth=2, opacity=1, filled=True, shape=shape, color=colour, stroke=colour
            )
            hollow = alt.condition("datum.hollow", alt.value(PAPER), alt.value(colour))
            parts.append(points.encode(y=y(), tooltip=tooltip, fill=hollow))
    return parts


def interval_band(base: alt.Chart, rows: pd.DataFrame, colour: str, opacity: float) -> alt.Chart:
    """The interval: an area along the layers or, where there is one layer only, a broad stroke."""
    if "layer" in rows and rows["layer"].nunique() == 1:
        return base.mark_rule(strokeWidth=16, opacity=opacity + 0.1, color=colour)
    return base.mark_area(opacity=opacity, color=colour)


def error_span(rows: pd.DataFrame) -> tuple[float, float]:
    """From zero up, unless all lies in the upper half: layers could then not be distinguished."""
    values = rows[["value", "low", "high"]].to_numpy(float).ravel()
    values = values[np.isfinite(values)]
    low, high = values.min(), max(values.max(), 0.05)
    room = max(0.1 * (high - low), 0.01)
    return (max(low - room, 0.0), high + room) if low > high / 2 else (0.0, 1.05 * high)


def gap_scale(values: np.ndarray, kind: str) -> tuple[alt.Scale, tuple[float, float]]:
    low, high = float(values.min()), float(values.max())
    if kind == "log":
        low, high = min(low, 0.8) / 1.05, max(high, 1.25) * 1.05
        return alt.Scale(type="log", base=2, domain=[low, high], nice=False), (low, high)
    room = max((high - low) * 0.06, 0.05)
    return alt.Scale(domain=[low - room, high + room], nice=False, zero=False), (low - room, high + room)


def encoder_looks(encoders: Sequence[str]) -> dict[str, tuple[str, list[int], str]]:
    """Colour, dash and marker by encoder: twins first, dashed and ochre; trained ones in ink, then the palette, but
    for the colour of log-mel."""
    trained = [name for name in encoders if not is_untrained(name)]
    looks = {name: (TWIN, [6, 3], "diamond") for name in encoders if is_untrained(name)}
    colours = (INK, *PALETTE[:2], *PALETTE[3:])
    return looks | {name: (*look_of(colours, at)[:2], "circle") for at, name in enumerate(trained)}


def look_of(colours: Sequence[str], place: int) -> tuple[str, list[int], str]:
    """Colour, dash and marker of a line. Where the colours are used up they begin anew, dashed, with other markers."""
    turn, at = divmod(place, len(colours))
    return colours[at], DASHES[turn % len(DASHES)], SHAPES[(at + turn) % len(SHAPES)]


def line_ends(rows: pd.DataFrame) -> pd.Series:
    """Each line's value at its last layer."""
    at = {layer: place for place, layer in enumerate(layer_order(rows["layer"].unique()))}
    return rows.assign(at=rows["layer"].map(at)).sort_values("at").groupby("line", sort=False)["value"].last()


def end_labels(ends, span, y, looks, height=HEIGHT, kind="linear", names: Callable[[str], str] = str) -> alt.Chart:
    """Names at the right end of the lines, moved apart where they would touch."""
    low, high = span
    to, back = (np.log, np.exp) if kind == "log" else (float, float)
    lines = {name: broken_label(names(name)) for name in ends.index}
    pixel = (to(high) - to(low)) / height
    order = sorted(ends.index, key=lambda name: ends[name])
    halves = np.array([LINE * len(lines[name]) / 2 + 2 for name in order]) * pixel
    apart = np.r_[0.0, np.cumsum(halves[1:] + halves[:-1])]
    # As near to their lines as names that neither touch nor leave the drawing can be, in least squares.
    floor = to(low) + halves[0]
    ceiling = max(to(high) - halves[-1] - apart[-1], floor)
    wanted = np.array([to(float(ends[name])) for name in order]) - apart
    places = isotonic_regression(wanted, y_min=floor, y_max=ceiling) + apart
    values = [
        {
            # Vega sets the first line where it is told, and the others below.
            "at": float(back(place + (len(lines[name]) - 1) * LINE / 2 * pixel)),
            "name": "\n".join(lines[name]),
            "colour": looks[name][0],
        }
        for name, place in zip(order, places, strict=True)
    ]
    look = dict(align="left", baseline="middle", dx=4, fontSize=13, fontWeight=600)
    text = base_chart(values).mark_text(**look, lineBreak="\n", lineHeight=LINE)
    return text.encode(x=alt.value("width"), y=y("at"), text="name:N", color=alt.Color("colour:N", scale=None))


def broken_label(name: str) -> list[str]:
    """A name in lines of ten letters or so: on a phone, what they take is lost to the drawing.

    Example:
        >>> broken_label("untrained twin"), broken_label("a" * 60)
        (['untrained', 'twin'], ['aaaaaaaaaaa', 'aaaaaaaaaaa', 'aaaaaaaaaa…'])
        >>> broken_label("pocket-hubert-children, second seed")
        ['pocket-', 'hubert-', 'children,', 'second seed']
    """
    endless = max(map(len, name.replace(",", " ").split()), default=0) > 22
    short = f"{name[:32]}…" if endless and len(name) > 33 else name
    return textwrap.wrap(short, 11, break_long_words=endless) or [name]


def strokes_of(rows: pd.DataFrame) -> alt.Chart:
    """One broad stroke a layer, seen while somebody points at that layer, here or in another chart of the page."""
    layers = base_chart([{"layer": layer} for layer in layer_order(rows["layer"].unique())])
    seen = alt.condition(POINTED, alt.value(0.3), alt.value(0))
    return layers.mark_rule(color=PALE, strokeWidth=20).encode(x=layer_axis(rows), opacity=seen)


def finish(parts, title: str, notes: str, description: str, data: pd.DataFrame, height: int = HEIGHT) -> alt.LayerChart:
    """Title and notes, fonts and colours; as wide as the page, with its data."""
    # Lines are joined again by spaces where the title is text: no line ends within a name such as pocket-hubert.
    wrap = functools.partial(textwrap.wrap, break_on_hyphens=False)
    chart = alt.layer(*parts, data=alt.InlineData(values=[])).properties(
        width="container",
        height=height,
        description=description,
        padding={"left": 2, "top": 4, "bottom": 2, "right": 6},
        background="transparent",
        title=alt.TitleParams(wrap(title, 72), subtitle=wrap(notes, 88), anchor="start", frame="bounds", offset=14),
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
        usermeta={"csv": csv_of(data)},
    )
    if "layer" in data:
        chart = chart.add_params(alt.param(name="pointed", value=""))
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
    titles = dict(fontSize=15, fontWeight=600, color=INK, lineHeight=19, subtitleFontSize=12)
    axes = dict(labelFontSize=13, titleFontSize=13, titleFontWeight="normal", titlePadding=8)
    colours = dict(labelColor=INK, titleColor=INK, gridColor=GRID, domainColor=PALE, tickColor=PALE)
    chart = chart.configure(font=font).configure_view(stroke=None)
    return chart.configure_title(**titles, subtitleColor=SOFT).configure_axis(**axes, **colours)


def csv_of(data: pd.DataFrame) -> str:
    """What is drawn, as CSV: names, then numbers, in as many digits as anybody could use."""
    said = ["encoder", "line", "name", "group", "contrast", "scale", "layer", "x", "error", "gap", "estimate"]
    said += ["value", "low", "high", "null_low", "null_high", "n_speakers", "n_speakers_a", "n_speakers_b", "saturated"]
    return data[[column for column in said if column in data]].to_csv(index=False, float_format="%.6g")
