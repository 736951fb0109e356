"""House style of the charts, and how a chart gets into the book.

Every chart states what is seen in its title, describes itself for screen readers, names its axes, shows
intervals, keeps layers on one axis (cnn, 0, 1, ..., L) and each group in its own colour. Charts are Altair
charts, so they can be changed further.

`use_book_renderer()` makes them draw from the book's own copy of Vega (`write_bundle`): no chart ever asks
another machine for anything. Where that copy is absent, as in plain Jupyter, the same output shows a still
picture of the chart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from IPython.display import HTML

from fairlib.bias import layer_order
from fairlib.findings import SATURATED
from fairlib.words import encoder_label, people, percent

# Okabe and Ito's hues, darkened where needed to stand out from white by 3:1; a test simulates colour-vision
# deficiencies.
PALETTE = ("#0072B2", "#D55E00", "#00805E", "#A8458A", "#7A6400", "#3D3D3D", "#3E8FC4", "#B8860B")
# The recorded groups that we know always keep their place in the palette, whichever others stand beside them.
GROUP_PLACES = {"adult": 0, "child": 1, "female": 3, "male": 2}
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

INK, GREY, PALE = "#1F2430", "#6B7280", "#9AA1AC"
SCALES = {
    "difference": dict(title="difference in error (points)", neutral=0.0, factor=100.0, format="+~f", axis="linear"),
    "ratio": dict(title="ratio of errors", neutral=1.0, factor=1.0, format=".2~f", axis="log"),
    "log_odds": dict(title="log odds ratio of error", neutral=0.0, factor=1.0, format="+~f", axis="linear"),
}
ERROR_TITLES = {
    "speaker": "utterances given to a wrong speaker",
    "char": "character error rate",
    "word": "word error rate",
    "phone": "frames given a wrong phone",
}
LAYER_TITLE = "layer of the encoder"

ZEROLESS = "datum.value == 0 ? '0' : datum.label"  # no sign before zero

STILL_WIDTH = 640  # pixels; pictures for print and for pages without scripts
HEIGHT = 300
LINE = 15  # from one line of a label to the next


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """Colour of each group: known groups always have the same, others take the free places by name.

    Example:
        >>> group_colours(["child", "female"])["child"] == group_colours(["adult", "child"])["child"]
        True
    """
    return {group: PALETTE[place % len(PALETTE)] for group, place in _places(groups).items()}


def _places(groups: Sequence[str]) -> dict[str, int]:
    groups = sorted(set(map(str, groups)))
    known = {group: GROUP_PLACES[group] for group in groups if group in GROUP_PLACES}
    free = [place for place in range(len(PALETTE) + len(groups)) if place not in known.values()]
    others = dict(zip((group for group in groups if group not in known), free, strict=False))
    return {group: (known | others)[group] for group in groups}


def error_by_layer(errors: pd.DataFrame, *, title: str, description: str, encoder: str | None = None) -> alt.LayerChart:
    """Error of each speaker group at each layer, one line per group with its interval as a band.

    Args:
        errors: from `fairlib.bias.group_errors`: encoder, unit, layer, group, error, low, high, n_speakers
            (one `by` and one unit). Errors of log-mel, where given, become dashed horizontal lines in the
            groups' colours. Where a column `saturated` (`fairlib.findings.mark_saturated`) is true, points
            are drawn hollow and the region is shaded.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        encoder: whose layers to draw; may be left out when `errors` holds one encoder beside log-mel.

    Raises:
        ValueError: the table is empty, or holds several encoders or units to choose from.
    """
    _need_words(title, description)
    rows = _one(errors, "unit")
    rows, reference = _encoder_and_reference(rows, encoder)
    rows = _finite(rows, "error")
    colours = group_colours(rows["group"])
    groups = list(colours)
    layers = layer_order(rows["layer"].unique())
    rows = rows.assign(hollow=_saturated(rows), end=rows["layer"].eq(layers[-1]))
    highest = np.nanmax(np.r_[rows["high"], rows["error"], reference["high"]])
    top = max(1.04 * float(highest), 0.05)

    colour = alt.Color("group:N", scale=alt.Scale(domain=groups, range=list(colours.values())), legend=None)
    y_scale = alt.Scale(domain=[0, top], nice=False)
    y_title = ERROR_TITLES.get(str(rows["unit"].iloc[0]), "error")
    axis = _level_axis(f"{y_title} (%)", format="%")
    y = alt.Y("error:Q", scale=y_scale, axis=axis)
    base = alt.Chart(_plain(rows)).encode(x=_layer_axis(layers), color=colour)
    tooltip = [*_tooltip("error", ".1%", "group"), alt.Tooltip("n_speakers:Q", title="speakers")]
    parts: list[alt.Chart] = []
    if rows["hollow"].any() and top > SATURATED:
        shade = alt.Chart(alt.Data(values=[{"from": SATURATED, "to": top}]))
        parts.append(
            shade.mark_rect(color=GREY, opacity=0.1).encode(y=alt.Y("from:Q", scale=y_scale, axis=axis), y2="to:Q")
        )
    if len(reference):
        lines = alt.Chart(_plain(reference)).encode(color=colour)
        parts.append(lines.mark_rule(strokeDash=[5, 4], strokeWidth=1.6, opacity=0.9).encode(y=y))
    parts.append(_band(base, rows, 0.2).encode(y=alt.Y("low:Q", scale=y_scale, axis=axis), y2="high:Q"))
    parts.append(base.mark_line(strokeWidth=2.4).encode(y=y))
    parts.append(
        _points(
            base,
            y,
            tooltip,
            shape=("group", groups, [SHAPES[p % len(SHAPES)] for p in _places(groups).values()]),
        )
    )
    ends = rows[rows["end"]].set_index("group")["error"]
    parts.append(_end_labels(ends, (0.0, top), y_scale, axis, colours, {group: group for group in groups}))
    notes = ["Bands: 95 % intervals over speakers."]
    if len(reference):
        notes.append("Dashed: log-mel, the same groups.")
    if rows["hollow"].any():
        notes.append(f"Hollow: saturated (error above {percent(SATURATED)}), a gap there means little.")
    return _finish(parts, title, notes, description)


def bias_by_layer(
    bias: pd.DataFrame,
    scale: str = "log_odds",
    *,
    title: str,
    description: str,
    contrast: str | None = None,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Gap between two speaker groups at each layer, with its interval, beside the line of no gap.

    The encoder is a line over its layers, its untrained twin (`random:<encoder>`) a second, dashed line, and
    log-mel, which has no layers, a horizontal line; each with its interval as a band.

    Args:
        bias: from `fairlib.bias.group_bias`, for one task and unit: encoder, layer, contrast, scale,
            estimate, low, high. Points where a column `saturated` is true are drawn hollow.
        scale: "difference", "ratio" or "log_odds".
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        contrast: which contrast to draw; may be left out when the table holds one.
        height: in pixels.

    Raises:
        ValueError: an unknown scale, no usable row, or several contrasts or units to choose from.
    """
    _need_words(title, description)
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; choose one of {', '.join(SCALES)}.")
    look = SCALES[scale]
    rows = bias[bias["scale"] == scale]
    rows = _one(rows if contrast is None else rows[rows["contrast"] == contrast], "contrast")
    rows = _finite(_one(rows, "unit"), "estimate").copy()
    rows[["estimate", "low", "high"]] *= look["factor"]
    rows["label"] = rows["encoder"].map(encoder_label)
    rows["hollow"] = _saturated(rows)
    reference, layered = rows[rows["encoder"] == "logmel"], rows[rows["encoder"] != "logmel"]
    if layered.empty:  # log-mel itself is asked about: its one layer is then drawn as a layer
        reference, layered = layered, reference
    first, _, second = str(rows["contrast"].iloc[0]).partition(" vs ")

    values = np.r_[rows["low"], rows["high"], rows["estimate"], look["neutral"]]
    values = values[np.isfinite(values) & ((values > 0) | (look["axis"] != "log"))]
    y_scale, span = _gap_scale(values, look["axis"])
    axis = _level_axis(f"{look['title']}, {first} vs {second}", format=look["format"])
    y = alt.Y("estimate:Q", scale=y_scale, axis=axis)
    zero = alt.Chart(alt.Data(values=[{"estimate": look["neutral"]}]))
    parts = [zero.mark_rule(color=INK, strokeWidth=1.2).encode(y=y)]
    parts += _encoder_lines(
        layered, reference, y_scale, axis, span, _tooltip("estimate", ".2f", "label"), height, look["axis"]
    )
    worse = people(str(rows["by"].iloc[0]), first)
    notes = [f"Above the line of no gap, {worse} have the higher error. Bands: 95 % intervals over speakers."]
    if rows["hollow"].any():
        notes.append(f"Hollow: saturated (error above {percent(SATURATED)}), a gap there means little.")
    return _finish(parts, title, notes, description, height=height)


def encoders_by_layer(errors: pd.DataFrame, *, title: str, description: str, height: int = 220) -> alt.LayerChart:
    """Error over all speakers at each layer, of encoders, untrained twins and log-mel; drawn as `bias_by_layer` does.

    Args:
        errors: from `fairlib.layers.layer_errors`, for one task and unit; several trained encoders may be set beside
            each other.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        height: in pixels.

    Raises:
        ValueError: there is nothing to draw, or several units to choose from.
    """
    _need_words(title, description)
    rows = _finite(_one(errors, "unit"), "error").rename(columns={"error": "estimate"})
    rows = rows.assign(label=rows["encoder"].map(encoder_label), hollow=False)
    reference, layered = rows[rows["encoder"] == "logmel"], rows[rows["encoder"] != "logmel"]
    top = max(1.06 * float(rows["high"].max()), 0.05)
    y_scale = alt.Scale(domain=[0, top], nice=False)
    axis = _level_axis(f"{ERROR_TITLES.get(str(rows['unit'].iloc[0]), 'error')} (%)", format="%")
    parts = _encoder_lines(layered, reference, y_scale, axis, (0.0, top), _tooltip("estimate", ".1%", "label"), height)
    return _finish(parts, title, ["Bands: 95 % intervals over speakers."], description, height=height)


def _encoder_lines(layered, reference, y_scale, axis, span, tooltip, height, kind="linear") -> list[alt.Chart]:
    """A line over the layers for each encoder and a level one for log-mel, each with its interval, named at the end."""
    y = alt.Y("estimate:Q", scale=y_scale, axis=axis)
    low_to_high = dict(y=alt.Y("low:Q", scale=y_scale, axis=axis), y2="high:Q")
    layers = layer_order(layered["layer"].unique())
    parts = []
    if len(reference):
        still = alt.Chart(_plain(reference))
        parts.append(still.mark_rect(color=PALE, opacity=0.22).encode(**low_to_high))
        parts.append(still.mark_rule(color=GREY, strokeWidth=1.8, strokeDash=[2, 3]).encode(y=y, tooltip=tooltip))
    encoders = sorted(layered["encoder"].unique(), key=lambda name: not name.startswith("random:"))  # the S3M on top
    looks = _encoder_looks(encoders)
    ends, colours, names = {}, {}, {}
    for encoder in encoders:
        mine = layered[layered["encoder"] == encoder]
        line = alt.Chart(_plain(mine)).encode(x=_layer_axis(layers))
        colour, dash, shape = looks[encoder]
        parts.append(_band(line, mine, 0.16 if dash == [1, 0] else 0.12, color=colour).encode(**low_to_high))
        parts.append(line.mark_line(color=colour, strokeWidth=2.4, strokeDash=dash).encode(y=y))
        parts.append(_points(line, y, tooltip, colour=colour, marker=shape))
        last = mine.set_index("layer").loc[layer_order(mine["layer"].unique())[-1], "estimate"]
        ends[encoder], colours[encoder], names[encoder] = float(last), colour, encoder_label(encoder)
    if len(reference):
        ends["logmel"], colours["logmel"], names["logmel"] = float(reference["estimate"].iloc[0]), GREY, "log-mel"
    return [*parts, _end_labels(pd.Series(ends), span, y_scale, axis, colours, names, height, kind)]


def three_scales(
    bias: pd.DataFrame, *, titles: dict[str, str], description: str, contrast: str | None = None
) -> list[alt.LayerChart]:
    """The same gaps as difference, ratio and log odds ratio: three low charts to show one under the other.

    Args: as `bias_by_layer`, with one title for each scale.
    """
    charts = [
        bias_by_layer(bias, scale, title=titles[scale], description=f"{description} Scale: {look['title']}.",
                      contrast=contrast, height=190)
        for scale, look in SCALES.items()
    ]  # fmt: skip
    for chart in charts[1:]:
        chart.title.subtitle = []  # said once
    return charts


def curves(
    rows: pd.DataFrame,
    *,
    x_title: str,
    y_title: str,
    title: str,
    description: str,
    format: str = "~f",
    reference: tuple[float, str] | None = None,
    x_format: str = "~f",
    log_x: bool = False,
    span: tuple[float, float] | None = None,
    notes: str = "",
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Lines named at their ends over a number: how a measure behaves as something grows.

    Args:
        rows: ``line`` (name), ``x``, ``value`` and, where there is one, the interval ``low, high``.
        x_title, y_title: names of the axes, with units.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        format, x_format: of the numbers on the axes, as in D3.
        reference: a level to draw a rule at, and what it is called.
        log_x: steps of equal factors are equally long.
        span: of the vertical axis; by default what the values need.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _one(rows[np.isfinite(rows["value"].astype(float))], column="")
    if "low" not in rows:
        rows = rows.assign(low=np.nan, high=np.nan)
    levels = [reference[0]] if reference else []
    values = np.r_[rows[["value", "low", "high"]].to_numpy(float).ravel(), levels]
    values = values[np.isfinite(values)]
    room = max(0.06 * (values.max() - values.min()), 1e-6)
    low, high = span or (values.min() - room, values.max() + room)
    y_scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = _level_axis(y_title, format=format)
    marks = sorted(rows["x"].unique())
    ticks = {"values": marks} if len(marks) <= 8 else {"tickCount": 6}
    x_axis = alt.Axis(title=x_title, grid=False, labelAngle=0, format=x_format, **ticks)
    x_scale = alt.Scale(type="log" if log_x else "linear", nice=False, padding=14, zero=False)
    x = alt.X("x:Q", scale=x_scale, axis=x_axis)
    y = alt.Y("value:Q", scale=y_scale, axis=axis)
    names = list(dict.fromkeys(rows["line"]))
    colours = {name: (INK, *PALETTE)[place % 9] for place, name in enumerate(names)}
    parts: list[alt.Chart] = []
    if reference:
        rule = alt.Chart(alt.Data(values=[{"value": reference[0], "name": reference[1]}]))
        parts.append(rule.mark_rule(color=GREY, strokeDash=[5, 4], strokeWidth=1.4).encode(y=y))
        look = dict(align="left", baseline="bottom", dx=4, dy=-2, fontSize=12, color="#4B5563")
        parts.append(rule.mark_text(**look).encode(x=alt.value(0), y=y, text="name:N"))
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("x:Q", title=x_title, format=x_format),
        alt.Tooltip("value:Q", title=y_title, format=format),
    ]
    for place, name in enumerate(names):
        mine = rows[rows["line"] == name].sort_values("x")
        drawn = mine[["line", "x", "value", "low", "high"]].to_json(orient="records", double_precision=6)
        line = alt.Chart(alt.InlineData(values=json.loads(drawn))).encode(x=x)
        if np.isfinite(mine["low"].astype(float)).any():
            band = line.mark_area(opacity=0.16, color=colours[name])
            parts.append(band.encode(y=alt.Y("low:Q", scale=y_scale, axis=axis), y2="high:Q"))
        parts.append(line.mark_line(color=colours[name], strokeWidth=2.4).encode(y=y))
        points = line.mark_point(
            color=colours[name], filled=True, size=52, opacity=1, shape=SHAPES[place % len(SHAPES)]
        )
        if len(mine) <= 20:
            parts.append(points.encode(y=y, tooltip=tooltip))
    ends = pd.Series({name: rows[rows["line"] == name].sort_values("x")["value"].iloc[-1] for name in names})
    parts.append(_end_labels(ends, (low, high), y_scale, axis, colours, {name: name for name in names}, height))
    return _finish(parts, title, [notes] if notes else [], description, height=height)


def gap_against_error(points: pd.DataFrame, *, title: str, description: str, height: int = 260) -> alt.LayerChart:
    """One dot a layer, named: how large its gap is, with its interval, over how often it errs.

    Args:
        points: ``layer, error, estimate, low, high``, of one encoder; log odds ratios.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _one(points[np.isfinite(points["estimate"].astype(float))], column="")
    rows = rows.sort_values("error").assign(side=np.resize([1, -1], len(rows)))
    columns = ["layer", "error", "estimate", "low", "high", "side"]
    drawn = json.loads(rows[columns].to_json(orient="records", double_precision=6))
    base = alt.Chart(alt.InlineData(values=drawn))
    values = np.r_[rows[["low", "high"]].to_numpy(float).ravel(), rows["estimate"], 0.0]
    y_scale, _ = _gap_scale(values[np.isfinite(values)], "linear")
    axis = _level_axis("gap (log odds ratio of error)", format="+~f")
    room = max(0.15 * (rows["error"].max() - rows["error"].min()), 0.01)
    span = [max(rows["error"].min() - room, 0), rows["error"].max() + room]
    x = alt.X(
        "error:Q",
        scale=alt.Scale(domain=span, nice=False, zero=False),
        axis=alt.Axis(title="error over all speakers (%)", format="%", grid=False, tickCount=5, labelOverlap="greedy"),
    )
    y = alt.Y("estimate:Q", scale=y_scale, axis=axis)
    zero = alt.Chart(alt.Data(values=[{"estimate": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(y=y)
    bars = base.mark_rule(color=PALETTE[0], strokeWidth=2, opacity=0.45)
    tooltip = [alt.Tooltip("layer:N"), alt.Tooltip("error:Q", format=".1%"), alt.Tooltip("estimate:Q", format=".2f")]
    parts = [
        zero,
        bars.encode(x=x, y=alt.Y("low:Q", scale=y_scale, axis=axis), y2="high:Q"),
        base.mark_point(color=PALETTE[0], filled=True, size=58, opacity=1).encode(x=x, y=y, tooltip=tooltip),
    ]
    for side, end in ((1, "high"), (-1, "low")):  # the names of neighbours at different ends of their strokes
        at_end = alt.Chart(alt.InlineData(values=[row for row in drawn if row["side"] == side]))
        text = at_end.mark_text(dy=-9 * side, fontSize=12, color=INK)
        parts.append(text.encode(x=x, y=alt.Y(f"{end}:Q", scale=y_scale, axis=axis), text="layer:N"))
    notes = ["Each dot is a layer. Strokes: 95 % intervals over speakers."]
    return _finish(parts, title, notes, description, height=height)


def associations(table: pd.DataFrame, *, title: str, description: str) -> alt.LayerChart:
    """Rank correlations of bias and error on each scale, over what one odds ratio for all layers would give.

    Args:
        table: from `fairlib.association.bias_error_association`, of one encoder, task and contrast.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    names = {"difference": "difference", "ratio": "ratio", "log_odds": "log odds"}
    columns = ["scale", "estimate", "low", "high", "null_low", "null_high"]
    rows = _one(table[np.isfinite(table["estimate"].astype(float))], column="").assign(
        scale=lambda t: t["scale"].map(names)
    )
    base = alt.Chart(alt.InlineData(values=json.loads(rows[columns].to_json(orient="records", double_precision=6))))
    y = alt.Y(
        "scale:N", sort=list(names.values()), axis=alt.Axis(title=None, ticks=False, domain=False, labelFontSize=13)
    )
    axis = alt.Axis(
        title="rank correlation over layers",
        values=[-1, -0.5, 0, 0.5, 1],
        format="+~f",
        labelExpr=ZEROLESS,
    )
    scale = alt.Scale(domain=[-1.05, 1.05], nice=False)
    zero = alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(color=INK, strokeWidth=1.2)
    tooltip = [alt.Tooltip("scale:N"), *(alt.Tooltip(f"{name}:Q", format="+.2f") for name in columns[1:])]
    parts = [
        base.mark_bar(color=PALE, opacity=0.45, height=26).encode(
            x=alt.X("null_low:Q", scale=scale, axis=axis), x2="null_high:Q", y=y
        ),
        zero.encode(x=alt.X("at:Q", scale=scale, axis=axis)),
        base.mark_rule(color=PALETTE[0], strokeWidth=2.4).encode(
            x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=y
        ),
        base.mark_point(color=PALETTE[0], filled=True, size=70, opacity=1).encode(
            x=alt.X("estimate:Q", scale=scale, axis=axis), y=y, tooltip=tooltip
        ),
    ]
    notes = ["Grey: where 95 % would lie if one odds ratio held at all layers. Strokes: 95 % intervals over speakers."]
    return _finish(parts, title, notes, description, height=150)


def forest(
    rows: pd.DataFrame,
    *,
    x_title: str,
    title: str,
    description: str,
    neutral: float = 0.0,
    within: float | None = None,
    format: str = "+~f",
    notes: str = "",
) -> alt.LayerChart:
    """One line an estimate, with its interval, each named above its stroke; the first row is on top.

    Args:
        rows: ``name, estimate, low, high`` and, where some are to stand out, ``marked``.
        x_title: name of the horizontal axis, with units.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        neutral: where nothing would be found, drawn as a line.
        within: half the width of a grey band around it.
        format: of the numbers on the axis, as in D3.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _one(rows[np.isfinite(rows["estimate"].astype(float))], column="").reset_index(drop=True)
    marked = rows["marked"].astype(bool) if "marked" in rows else pd.Series(False, index=rows.index)
    rows = rows.assign(place=rows.index, colour=np.where(marked, PALETTE[1], PALETTE[0]))
    columns = ["name", "estimate", "low", "high", "place", "colour"]
    base = alt.Chart(alt.InlineData(values=json.loads(rows[columns].to_json(orient="records", double_precision=6))))
    values = np.r_[rows[["estimate", "low", "high"]].to_numpy(float).ravel(), neutral]
    values = np.r_[values[np.isfinite(values)], [neutral - within, neutral + within] if within else []]
    room = max(0.04 * np.ptp(values), 1e-6)
    scale = alt.Scale(domain=[values.min() - room, values.max() + room], nice=False, zero=False)
    axis = alt.Axis(title=x_title, format=format, labelExpr=ZEROLESS, tickCount=6, orient="bottom")
    x = alt.X("estimate:Q", scale=scale, axis=axis)
    y = alt.Y("place:O", axis=None, scale=alt.Scale(padding=0))
    colour = alt.Color("colour:N", scale=None)
    parts = []
    if within:
        shade = alt.Chart(alt.Data(values=[{"from": neutral - within, "to": neutral + within}]))
        ends = dict(x=alt.X("from:Q", scale=scale, axis=axis), x2="to:Q")
        parts.append(shade.mark_rect(color=PALE, opacity=0.3).encode(**ends))
    line = alt.Chart(alt.Data(values=[{"estimate": neutral}]))
    tooltip = [alt.Tooltip("name:N", title="what")] + [
        alt.Tooltip(f"{name}:Q", format="+.2f", title=said)
        for name, said in {"estimate": "estimate", "low": "interval from", "high": "to"}.items()
    ]
    names = base.mark_text(align="left", baseline="middle", fontSize=13, color=INK, yOffset=-8)
    ends = dict(x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=y)
    parts += [
        line.mark_rule(color=INK, strokeWidth=1.2).encode(x=x),
        base.mark_rule(strokeWidth=2.4, yOffset=8).encode(**ends, color=colour),
        base.mark_point(filled=True, size=70, opacity=1, yOffset=8).encode(x=x, y=y, color=colour, tooltip=tooltip),
        names.encode(x=alt.value(0), y=y, text="name:N"),
    ]
    return _finish(parts, title, [notes] if notes else [], description, height=40 * len(rows))


def strips(
    rows: pd.DataFrame,
    *,
    value_title: str,
    title: str,
    description: str,
    notes: str = "",
    format: str = "%",
    means: bool = True,
) -> alt.LayerChart:
    """One dot a speaker, one row a group, with the group's mean as a bar.

    Args:
        rows: ``group`` and ``value``, one row a speaker.
        value_title: name of the horizontal axis.
        format: of the values, as in D3; by default they are shares.
        means: whether to draw the bars.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _one(rows, column="").reset_index(drop=True)
    groups = sorted(rows["group"].unique())
    colours = group_colours(groups)
    scale = alt.Scale(domain=groups, range=[colours[group] for group in groups])
    # A fixed scatter, so that the picture is the same each time.
    shift = np.random.default_rng(0).uniform(-0.5, 0.5, len(rows))
    data = json.loads(rows.assign(shift=shift)[["group", "value", "shift"]].to_json(orient="records"))
    middle = rows.groupby("group")["value"].mean().reset_index()
    y = alt.Y("group:N", sort=groups, axis=alt.Axis(title=None, ticks=False, domain=False, labelFontSize=13))
    x_axis = alt.Axis(title=value_title, format=format, tickCount=6)
    x = alt.X("value:Q", axis=x_axis, scale=alt.Scale(zero=False, nice=True))
    colour = alt.Color("group:N", scale=scale, legend=None)
    dots = alt.Chart(alt.InlineData(values=data)).mark_circle(size=44, opacity=0.55)
    offset = alt.YOffset("shift:Q", scale=alt.Scale(domain=[-1, 1]))
    precise = ".1%" if format == "%" else ".1f"
    tooltip = [alt.Tooltip("group:N"), alt.Tooltip("value:Q", title=value_title, format=precise)]
    bars = alt.Chart(alt.InlineData(values=json.loads(middle.to_json(orient="records"))))
    parts = [dots.encode(x=x, y=y, yOffset=offset, color=colour, tooltip=tooltip)]
    if means:
        parts.append(bars.mark_tick(thickness=4, size=64, opacity=1).encode(x=x, y=y, color=colour))
    return _finish(parts, title, [notes] if notes else [], description, height=80 * len(groups))


def table(frame: pd.DataFrame, caption: str) -> HTML:
    """A table for reading that scrolls by itself where the page is narrow; cells' second lines are small."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    lines = []
    for row in frame.astype(str).itertuples(index=False):
        cells = [escape(cell).split("\n", 1) for cell in row]
        lines.append(
            "".join(f"<td>{cell[0]}{f'<br><small>{cell[1]}</small>' if cell[1:] else ''}</td>" for cell in cells)
        )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return HTML(
        '<div class="fairlib-table" style="overflow-x:auto" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# ---- parts of a chart ----


def _need_words(title: str, description: str) -> None:
    for name, words in {"title": title, "description": description}.items():
        if not str(words).strip():
            raise ValueError(f"the chart's {name} is empty: say in words what is seen.")


def _one(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    if rows.empty:
        raise ValueError("nothing to draw: the table has no row for this choice of encoder, contrast and scale.")
    found = rows[column].unique() if column in rows else []
    if len(found) > 1:
        found = ", ".join(map(str, found))
        raise ValueError(f"a chart shows one {column}, the table holds {found}: filter it first.")
    return rows


def _encoder_and_reference(rows: pd.DataFrame, encoder: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [name for name in rows["encoder"].unique() if name != "logmel"]
    if encoder is None:
        if len(names) != 1:
            raise ValueError(f"which encoder? The table holds {', '.join(names) or 'log-mel only'}: set encoder=...")
        encoder = names[0]
    chosen = rows[rows["encoder"] == encoder]
    return chosen, rows[(rows["encoder"] == "logmel") & (encoder != "logmel")]


def _finite(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    kept = rows[np.isfinite(rows[column].astype(float))]
    return _one(kept, column="")


def _saturated(rows: pd.DataFrame) -> pd.Series:
    return rows["saturated"].astype(bool) if "saturated" in rows else pd.Series(False, index=rows.index)


def _plain(rows: pd.DataFrame) -> alt.InlineData:
    """Rows as plain values inside the chart: only columns that are drawn; what JSON cannot say is null."""
    wanted = ["layer", "group", "label", "error", "estimate", "low", "high", "n_speakers", "hollow"]
    kept = rows[[column for column in wanted if column in rows]]
    return alt.InlineData(values=json.loads(kept.to_json(orient="records", double_precision=6)))


def _layer_axis(layers: Sequence[str]) -> alt.X:
    axis = alt.Axis(labelAngle=0, labelOverlap="greedy", title=LAYER_TITLE, ticks=False, grid=False)
    return alt.X("layer:O", sort=list(layers), scale=alt.Scale(domain=list(layers), padding=0.35), axis=axis)


def _level_axis(title: str, format: str) -> alt.Axis:
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


def _tooltip(value: str, format: str, line: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{line}:N", title="encoder" if line == "label" else line),
        alt.Tooltip("layer:N"),
        alt.Tooltip(f"{value}:Q", format=format),
        alt.Tooltip("low:Q", format=format, title="interval from"),
        alt.Tooltip("high:Q", format=format, title="to"),
    ]


def _band(base: alt.Chart, rows: pd.DataFrame, opacity: float, **colour: str) -> alt.Chart:
    """The interval: an area along the layers or, where there is one layer only, a broad stroke."""
    if rows["layer"].nunique() > 1:
        return base.mark_area(opacity=opacity, **colour)
    return base.mark_rule(strokeWidth=16, opacity=opacity + 0.1, **colour)


def _points(
    base: alt.Chart, y: alt.Y, tooltip: list, *, colour: str | None = None, marker: str = "circle", shape=None
) -> alt.Chart:
    """Markers, hollow where saturated; drawn on white, so that hollow ones hide the line behind them."""
    mark = dict(size=58, strokeWidth=2, opacity=1, filled=True)
    if colour is not None:
        points = base.mark_point(**mark, shape=marker, color=colour, stroke=colour)
        fill = alt.condition("datum.hollow", alt.value("white"), alt.value(colour))
        return points.encode(y=y, tooltip=tooltip, fill=fill)
    column, domain, shapes = shape
    colours = [group_colours(domain)[name] for name in domain]
    scale = alt.Scale(domain=domain, range=colours)
    return base.mark_point(**mark).encode(
        y=y,
        tooltip=tooltip,
        stroke=alt.Stroke(f"{column}:N", scale=scale, legend=None),
        fill=alt.condition("datum.hollow", alt.value("white"), alt.Fill(f"{column}:N", scale=scale, legend=None)),
        shape=alt.Shape(f"{column}:N", scale=alt.Scale(domain=domain, range=shapes), legend=None),
    )


def _gap_scale(values: np.ndarray, kind: str) -> tuple[alt.Scale, tuple[float, float]]:
    low, high = float(values.min()), float(values.max())
    if kind == "log":
        low, high = min(low, 0.8) / 1.05, max(high, 1.25) * 1.05
        return alt.Scale(type="log", base=2, domain=[low, high], nice=False), (low, high)
    room = max((high - low) * 0.06, 0.05)
    return alt.Scale(domain=[low - room, high + room], nice=False, zero=False), (low - room, high + room)


def _encoder_looks(encoders: Sequence[str]) -> dict[str, tuple[str, list[int], str]]:
    """Colour, dash and marker by encoder: trained ones in ink, then the palette; twins dashed and ochre."""
    trained = [name for name in encoders if not name.startswith("random:")]
    looks = {name: ((INK, *PALETTE)[place % 9], [1, 0], "circle") for place, name in enumerate(trained)}
    return looks | {name: ("#9A6A00", [6, 3], "diamond") for name in encoders if name.startswith("random:")}


def _end_labels(ends, span, y_scale, axis, colours, names, height=HEIGHT, kind="linear") -> alt.Chart:
    """Names at the right end of the lines, moved apart where they would touch."""
    low, high = span
    to, back = (np.log, np.exp) if kind == "log" else (float, float)
    # Names are broken after ten letters or so: on a phone, what they take is lost to the drawing.
    lines = {name: textwrap.wrap(names[name], 11, break_long_words=False) for name in ends.index}
    pixel = (to(high) - to(low)) / height
    least = (2 + LINE * max(map(len, lines.values()))) * pixel
    order = sorted(ends.index, key=lambda name: ends[name])
    places = [to(float(ends[name])) for name in order]
    for _ in range(50):
        for below in range(len(places) - 1):
            lack = least - (places[below + 1] - places[below])
            if lack > 0:
                places[below] -= lack / 2
                places[below + 1] += lack / 2
    # Clamped, bottom up and then top down, so that no label leaves the drawing.
    for place in range(len(places)):
        floor = to(low) + least / 2 + place * least
        places[place] = max(places[place], floor)
    for place in reversed(range(len(places))):
        ceiling = to(high) - least / 2 - (len(places) - 1 - place) * least
        places[place] = min(places[place], ceiling)
    values = [
        {
            # Vega sets the first line where it is told, and the others below.
            "at": float(back(place + (len(lines[name]) - 1) * LINE / 2 * pixel)),
            "name": "\n".join(lines[name]),
            "colour": colours[name],
        }
        for name, place in zip(order, places, strict=True)
    ]
    look = dict(align="left", baseline="middle", dx=4, fontSize=13, fontWeight=600)
    text = alt.Chart(alt.InlineData(values=values)).mark_text(**look, lineBreak="\n", lineHeight=LINE)
    return text.encode(
        x=alt.value("width"),
        y=alt.Y("at:Q", scale=y_scale, axis=axis),
        text="name:N",
        color=alt.Color("colour:N", scale=None),
    )


def _finish(parts, title, notes, description, *, height: int = HEIGHT) -> alt.LayerChart:
    """Title and notes, fonts and colours; as wide as the page."""
    notes = textwrap.wrap(" ".join(notes), 88)
    chart = alt.layer(*parts, data=alt.InlineData(values=[])).properties(
        width="container",
        height=height,
        description=description,
        padding={"left": 2, "top": 4, "bottom": 2, "right": 6},
        background="white",
        title=alt.TitleParams(textwrap.wrap(title, 72), subtitle=notes, anchor="start", frame="bounds", offset=14),
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
    )
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
    titles = dict(fontSize=15, fontWeight=600, color=INK, lineHeight=19, subtitleFontSize=12)
    axes = dict(labelFontSize=13, titleFontSize=13, titleFontWeight="normal", titlePadding=8)
    colours = dict(labelColor=INK, titleColor=INK, gridColor="#E7E9ED", domainColor=PALE, tickColor=PALE)
    chart = chart.configure(font=font).configure_view(stroke=None)
    return chart.configure_title(**titles, subtitleColor="#4B5563").configure_axis(**axes, **colours)


# ---- from a chart to a page ----

# Title and notes are part of the page, where they wrap. The still picture is there from the start, so there
# is something to see before (or without) scripts; the live chart takes its place once the book's Vega is
# loaded. In plain Jupyter it is not, and the still picture stays.
_HTML = """<div class="fairlib-chart" id="{id}" role="figure" aria-labelledby="{id}-title">
<div class="fairlib-title" id="{id}-title"><strong>{title}</strong></div>
<div class="fairlib-notes"><small>{notes}</small></div>
<div class="fairlib-still" style="background:white">{still}</div>
<script>
(function () {{
  const spec = {spec};
  function draw() {{
    const figure = document.getElementById("{id}");
    if (!figure || !window.vegaEmbed) return;
    const live = document.createElement("div");
    live.className = "fairlib-live";
    live.style.width = "100%";
    figure.appendChild(live);
    window.vegaEmbed(live, spec, {options})
      .then(function () {{ figure.querySelector(".fairlib-still").remove(); figure.dataset.drawn = "live"; }})
      .catch(function (problem) {{ live.remove(); console.error(problem); }});
  }}
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", draw);
  else draw();
}})();
</script>
</div>"""
_OPTIONS = {"mode": "vega-lite", "renderer": "svg", "actions": False}


def write_bundle(path: str | Path) -> Path:
    """Write Vega, Vega-Lite and Vega-Embed as one script (0.9 MB) that defines `vegaEmbed`.

    It is wrapped in a function of its own: bare, it would clash with names that Sphinx's scripts declare.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text("(function () {\n" + vl_convert.javascript_bundle() + "\n})();\n", encoding="utf-8")
    temporary.replace(path)
    return path


def use_book_renderer() -> None:
    """From here on, show Altair charts as the book needs them: HTML for pages, PNG for print."""
    alt.renderers.register("fairlib", _mimebundle)
    alt.renderers.enable("fairlib")


def _mimebundle(spec: dict, **_: object) -> dict[str, str]:
    spec = {key: value for key, value in spec.items() if key != "$schema"}
    printed = spec | ({"width": STILL_WIDTH} if spec.get("width") == "container" else {})
    title, notes = _title_and_notes(spec.pop("title", ""))
    still = _svg(json.dumps({key: value for key, value in printed.items() if key != "title"}))
    printed = json.dumps(printed)
    html = _HTML.format(
        id=f"chart-{hashlib.sha256(printed.encode()).hexdigest()[:12]}",
        title=escape(title),
        notes=escape(notes),
        still=still,
        spec=json.dumps(spec, separators=(",", ":")).replace("</", "<\\/"),  # "</" would end the script early
        options=json.dumps(_OPTIONS),
    )
    return {"text/html": html, "image/png": _png(printed), "text/plain": spec.get("description", title)}


def write_png(chart: alt.TopLevelMixin, path: str | Path) -> Path:
    """Write a chart as a picture, title and notes included, for pages that run no scripts (a README, a slide)."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(base64.b64decode(_mimebundle(chart.to_dict())["image/png"]))
    temporary.replace(path)
    return path


def _title_and_notes(title: str | dict) -> tuple[str, str]:
    def joined(lines: str | list[str]) -> str:
        return lines if isinstance(lines, str) else " ".join(lines)

    if isinstance(title, dict):
        return joined(title.get("text", "")), joined(title.get("subtitle", ""))
    return joined(title), ""


def _svg(spec: str) -> str:
    """The chart as SVG text that shrinks with the page."""
    svg = vl_convert.vegalite_to_svg(spec)
    return svg.replace("<svg", '<svg style="max-width:100%;height:auto"', 1)


def _png(spec: str) -> str:
    return base64.b64encode(vl_convert.vegalite_to_png(spec, scale=2)).decode("ascii")
