"""House style of the charts.

Every chart states what is seen in its title, describes itself for screen readers, names its axes, shows
intervals, keeps layers on one axis (cnn, 0, 1, ..., L) and each group in its own colour, and carries its data.
Charts are Altair charts, so they can be changed further; `fairlib.display.rendering` brings them into pages.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from html import escape

import altair as alt
import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.isotonic import isotonic_regression

from fairlib.bias import layer_order
from fairlib.corpora import CORPORA
from fairlib.display.rendering import use_book_renderer as use_book_renderer  # what chapters begin with
from fairlib.display.sentences import describe_gaps, gap_title
from fairlib.display.words import SCALE_WORDS, encoder_label, percent, sides
from fairlib.findings import SATURATED, main_contrast, the_encoder
from fairlib.tasks import unit_named

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
SCALES = {
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
    return {group: PALETTE[place % len(PALETTE)] for group, place in _places(groups).items()}


def _places(groups: Sequence[str]) -> dict[str, int]:
    groups = sorted(set(map(str, groups)))
    # The groups that our corpora name always keep their place in the palette, whichever others stand beside them.
    columns = (column for about in CORPORA.values() for column in about.groups.values())
    named = list(dict.fromkeys(group for column in columns for group in column.people))
    known = {group: named.index(group) for group in groups if group in named}
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
    rows = _one(errors, "unit").rename(columns={"group": "line", "error": "value"})
    rows, reference = _encoder_and_reference(rows, encoder)
    rows = _finite(rows).assign(hollow=_saturated(rows))
    places = _places(rows["line"])
    looks = {name: _look(PALETTE, at) for name, at in places.items()}
    bottom, top = span = _error_span(pd.concat([rows, reference]))
    axis = _level_axis(f"{unit_named(rows['unit'].iloc[0]).on_axis} (%)", format="%")
    y = _vertical(alt.Scale(domain=span, nice=False, zero=False), axis)
    parts: list[alt.Chart] = []
    if rows["hollow"].any() and top > SATURATED:
        shade = _chart([{"low": max(SATURATED, bottom), "high": top}])
        parts.append(shade.mark_rect(color=GREY, opacity=0.1).encode(y=y("low"), y2="high:Q"))
    for name, level in zip(reference["line"], _rows(reference, "value"), strict=True):
        rule = _chart([level]).mark_rule(color=looks[name][0], strokeDash=[5, 4], strokeWidth=1.6, opacity=0.9)
        parts.append(rule.encode(y=y()))
    tooltip = [*_tooltip(".1%", "group"), alt.Tooltip("n_speakers:Q", title="speakers")]
    parts += [_strokes(rows), *_lines(rows, _layer_axis(rows), y, looks, tooltip)]
    parts.append(_end_labels(_ends(rows), span, y, looks))
    notes = ["Bands: 95 % intervals over speakers."]
    if len(reference):
        notes.append("Dashed: log-mel, the same groups.")
    if bottom:
        notes.append(NO_ZERO)
    if rows["hollow"].any():
        notes.append(HOLLOW)
    data = pd.concat([rows, reference]).rename(columns={"line": "group", "value": "error"})
    return _finish(parts, title, notes, description, data)


def bias_by_layer(
    bias: pd.DataFrame,
    scale: str = "log_odds",
    *,
    title: str | None = None,
    description: str | None = None,
    contrast: str | None = None,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Gap between two speaker groups at each layer, with its interval, beside the line of no gap.

    The encoder is a line over its layers, its untrained twin (`random:<encoder>`) a second, dashed line, and
    log-mel, which has no layers, a horizontal line; each with its interval as a band. Grey is where the
    encoder's gaps would lie if its speakers were dealt to the groups at random.

    Args:
        bias: from `fairlib.bias.group_bias`, for one task and unit: encoder, layer, contrast, scale,
            estimate, low, high and, for the grey band, null_low, null_high. Points where a column `saturated`
            is true are drawn hollow.
        scale: "difference", "ratio" or "log_odds".
        title: a sentence that states what is seen; at which layers a gap is shown by default.
        description: what a person who cannot see the chart should know; the gaps in words by default.
        contrast: which contrast to draw; may be left out when the table holds one, or, with the title,
            for `fairlib.findings.main_contrast`.
        height: in pixels.

    Raises:
        ValueError: an unknown scale, no usable row, several contrasts or units to choose from, or, without title or
            description, several trained encoders.

    Example:
        >>> from fairlib.bias import group_bias
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> bias = group_bias(simulate_outcomes({"child": [0.4, 0.3], "adult": [0.2, 0.3]}, seed=1), by="group")
        >>> bias_by_layer(bias).title.text
        ['simulated shows a gap between ... “adult” and ...', '... at layer 0']
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; choose one of {', '.join(SCALES)}.")
    look = SCALES[scale]
    rows = _one(bias[bias["scale"] == scale], "unit")
    if contrast is None and title is None:  # a title that is given speaks of a contrast that only its writer knows
        contrast = main_contrast(rows, the_encoder(rows))
    rows = _one(rows if contrast is None else rows[rows["contrast"] == contrast], "contrast")
    contrast = str(rows["contrast"].iloc[0])
    title = gap_title(rows, the_encoder(rows), contrast, scale) if title is None else title
    description = describe_gaps(rows, the_encoder(rows), contrast, scale) if description is None else description
    _need_words(title, description)
    rows = _finite(_one(rows, "unit").rename(columns={"estimate": "value"})).copy()
    numbers = ["value", "low", "high", *(name for name in ("null_low", "null_high") if name in rows)]
    rows[numbers] *= look["factor"]
    rows["hollow"] = _saturated(rows)

    values = np.r_[rows[numbers].to_numpy(float).ravel(), look["neutral"]]
    values = values[np.isfinite(values) & ((values > 0) | (look["axis"] != "log"))]
    y_scale, span = _gap_scale(values, look["axis"])
    y = _vertical(y_scale, _level_axis(f"{look['title']}, {contrast}", format=look["format"]))
    parts = [_chart([{"value": look["neutral"]}]).mark_rule(color=INK, strokeWidth=1.2).encode(y=y())]
    parts += _encoder_lines(rows, y, span, ".2f", height, look["axis"])
    worse, _ = sides(str(rows["by"].iloc[0]), contrast)
    notes = [f"Above the line of no gap, {worse} have the higher error. Bands: 95 % intervals over speakers."]
    if "null_low" in numbers:
        notes.append("Grey: where 95 % of gaps would lie if speakers were dealt to the groups at random.")
    if rows["hollow"].any():
        notes.append(HOLLOW)
    return _finish(parts, title, notes, description, rows.rename(columns={"value": "gap"}), height)


def encoders_by_layer(errors: pd.DataFrame, *, title: str, description: str, height: int = 220) -> alt.LayerChart:
    """Error over all speakers at each layer, of encoders, untrained twins and log-mel; drawn as `bias_by_layer` does.

    Args:
        errors: from `fairlib.findings.layers.layer_errors`, for one task and unit; several trained encoders may be set
            beside each other.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        height: in pixels.

    Raises:
        ValueError: there is nothing to draw, or several units to choose from.
    """
    _need_words(title, description)
    rows = _finite(_one(errors, "unit").rename(columns={"error": "value"}))
    span = _error_span(rows)
    axis = _level_axis(f"{unit_named(rows['unit'].iloc[0]).on_axis} (%)", format="%")
    y = _vertical(alt.Scale(domain=span, nice=False, zero=False), axis)
    parts = _encoder_lines(rows, y, span, ".1%", height)
    notes = ["Bands: 95 % intervals over speakers.", *([NO_ZERO] if span[0] else [])]
    return _finish(parts, title, notes, description, rows.rename(columns={"value": "error"}), height)


def _encoder_lines(rows, y, span, format, height, kind="linear") -> list[alt.Chart]:
    """A line over the layers for each encoder and a level one for log-mel, each with its interval, named at the end."""
    rows = rows.assign(line=rows["encoder"], label=rows["encoder"].map(encoder_label))
    level, layered = rows[rows["encoder"] == "logmel"], rows[rows["encoder"] != "logmel"]
    if layered.empty:  # log-mel itself is asked about: its one layer is then drawn as a layer
        level, layered = layered, level
    looks = _encoder_looks(sorted(layered["line"].unique(), key=lambda name: not name.startswith("random:")))
    tooltip, x = _tooltip(format, "encoder", field="label"), _layer_axis(layered)
    parts = []
    trained = next((name for name in looks if not name.startswith("random:")), None)
    if "null_low" in rows and trained:
        null = _chart(_rows(layered[layered["line"] == trained], "layer", "null_low", "null_high"))
        parts.append(_band(null, layered, PALE, 0.35).encode(x=x, y=y("null_low"), y2="null_high:Q"))
    if len(level):
        colour, still = PALETTE[2], _chart(_rows(level, *DRAWN))
        parts.append(still.mark_rect(color=colour, opacity=0.13).encode(y=y("low"), y2="high:Q"))
        parts.append(still.mark_rule(color=colour, strokeWidth=1.8, strokeDash=[2, 3]).encode(y=y(), tooltip=tooltip))
    parts += [_strokes(layered), *_lines(layered, x, y, looks, tooltip)]
    ends = _ends(layered)
    if len(level):
        ends["logmel"], looks["logmel"] = float(level["value"].iloc[0]), (PALETTE[2], [2, 3], "circle")
    return [*parts, _end_labels(ends, span, y, looks, height, kind, names=encoder_label)]


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
    rows = _finite(rows).sort_values("x", kind="stable")
    values = rows[[name for name in ("value", "low", "high") if name in rows]].to_numpy(float).ravel()
    values = np.r_[values[np.isfinite(values)], [reference[0]] if reference else []]
    room = max(0.06 * np.ptp(values), 1e-6)
    span = span or (values.min() - room, values.max() + room)
    y = _vertical(alt.Scale(domain=list(span), nice=False, zero=False), _level_axis(y_title, format=format))
    marks = sorted(rows["x"].unique())
    ticks = {"values": marks} if len(marks) <= 8 else {"tickCount": 6}
    x_axis = alt.Axis(title=x_title, grid=False, labelAngle=0, format=x_format, **ticks)
    x_scale = alt.Scale(type="log" if log_x else "linear", nice=False, padding=14, zero=False)
    names = dict.fromkeys(rows["line"])
    looks = {name: _look((INK, *PALETTE), at) for at, name in enumerate(names)}
    parts: list[alt.Chart] = []
    if reference:
        rule = _chart([{"value": reference[0], "name": reference[1]}])
        parts.append(rule.mark_rule(color=GREY, strokeDash=[5, 4], strokeWidth=1.4).encode(y=y()))
        text = rule.mark_text(align="left", baseline="bottom", dx=4, dy=-2, fontSize=12, color=SOFT)
        parts.append(text.encode(x=alt.value(0), y=y(), text="name:N"))
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("x:Q", title=x_title, format=x_format),
        alt.Tooltip("value:Q", title=y_title, format=format),
    ]
    parts += _lines(rows, alt.X("x:Q", scale=x_scale, axis=x_axis), y, looks, tooltip)
    parts.append(_end_labels(rows.groupby("line", sort=False)["value"].last(), span, y, looks, height))
    return _finish(parts, title, [notes] if notes else [], description, rows, height)


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
    rows = _finite(points, "estimate").sort_values("error")
    values = np.r_[rows[["low", "high"]].to_numpy(float).ravel(), rows["estimate"], 0.0]
    _, (bottom, top) = _gap_scale(values[np.isfinite(values)], "linear")
    ceiling = top + 0.16 * (top - bottom)  # the layers' names stand in a row above the strokes
    y_scale = alt.Scale(domain=[bottom, ceiling], nice=False, zero=False)
    y = _vertical(y_scale, _level_axis("gap (log odds ratio of error)", format="+~f"))
    room = max(0.15 * np.ptp(rows["error"]), 0.01)
    span = [max(rows["error"].min() - room, 0), rows["error"].max() + room]
    apart = min(0.07, 1 / len(rows)) * (span[1] - span[0]) * np.arange(len(rows))  # on a phone, the room for a name
    named = isotonic_regression(rows["error"] - apart, y_min=span[0], y_max=max(span[1] - apart[-1], span[0])) + apart
    rows = rows.assign(named=named, name_at=ceiling - 0.07 * (ceiling - bottom), led_to=top)
    rows["led_from"] = rows["high"].where(np.isfinite(rows["high"]), rows["estimate"])
    base = _chart(_rows(rows, "layer", "error", "estimate", "low", "high", "named", "name_at", "led_from", "led_to"))
    axis = alt.Axis(title="error over all speakers (%)", format="%", grid=False, tickCount=5, labelOverlap="greedy")
    x, above = (
        alt.X(f"{field}:Q", scale=alt.Scale(domain=span, nice=False, zero=False), axis=axis)
        for field in ("error", "named")
    )
    tooltip = [alt.Tooltip("layer:N"), alt.Tooltip("error:Q", format=".1%"), alt.Tooltip("estimate:Q", format=".2f")]
    size = alt.condition(POINTED, alt.value(220), alt.value(58))
    dots = base.mark_point(color=PALETTE[0], filled=True, opacity=1)
    strokes = base.mark_rule(color=PALETTE[0], strokeWidth=2, opacity=0.45)
    leaders = base.mark_rule(color=GREY, strokeWidth=0.8)
    names = base.mark_text(fontSize=12, color=INK)
    parts = [
        _chart([{"value": 0}]).mark_rule(color=INK, strokeWidth=1.2).encode(y=y()),
        leaders.encode(x=x, x2="named:Q", y=y("led_from"), y2="led_to:Q"),
        strokes.encode(x=x, y=y("low"), y2="high:Q"),
        dots.encode(x=x, y=y("estimate"), tooltip=tooltip, size=size),
        names.encode(x=above, y=y("name_at"), text="layer:N"),
    ]
    notes = ["Each dot is a layer. Strokes: 95 % intervals over speakers."]
    drawn = ["named", "name_at", "led_from", "led_to"]
    return _finish(parts, title, notes, description, rows.drop(columns=drawn), height)


def associations(table: pd.DataFrame, *, title: str, description: str) -> alt.LayerChart:
    """Rank correlations of bias and error on each scale, over what one odds ratio for all layers would give.

    Args:
        table: from `fairlib.bias.association.bias_error_association`, of one encoder, task and contrast.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = table.assign(name=table["scale"].map(SCALE_WORDS))
    notes = "Grey: where 95 % would lie if one odds ratio held at all layers. Strokes: 95 % intervals over speakers."
    x_title = "rank correlation over layers"
    return forest(rows, x_title=x_title, title=title, description=description, span=(-1.05, 1.05), notes=notes)


def forest(
    rows: pd.DataFrame,
    *,
    x_title: str,
    title: str,
    description: str,
    neutral: float = 0.0,
    within: float | None = None,
    span: tuple[float, float] | None = None,
    format: str = "+~f",
    notes: str = "",
) -> alt.LayerChart:
    """One line an estimate, with its interval, each named above its stroke; the first row is on top.

    Args:
        rows: ``name, estimate, low, high``; where some are to stand out, ``marked``; where each has a null of its own,
            ``null_low, null_high``, drawn in grey. Of two rows of one name, the second is drawn below the first, paler.
        x_title: name of the horizontal axis, with units.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        neutral: where nothing would be found, drawn as a line.
        within: half the width of a grey band around it.
        span: of the axis; by default what the values need.
        format: of the numbers on the axis, as in D3.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _finite(rows, "estimate").reset_index(drop=True)
    marked = rows["marked"].astype(bool) if "marked" in rows else pd.Series(False, index=rows.index)
    second = rows["name"].duplicated()
    colours = np.where(second, GREY, np.where(marked, PALETTE[1], PALETTE[0]))
    rows = rows.assign(place=pd.factorize(rows["name"])[0], second=second, colour=colours)
    numbers = [name for name in ("estimate", "low", "high", "null_low", "null_high") if name in rows]
    base = _chart(_rows(rows, "name", *numbers, "place", "second", "colour"))
    values = np.r_[rows[numbers].to_numpy(float).ravel(), neutral]
    values = np.r_[values[np.isfinite(values)], [neutral - within, neutral + within] if within else []]
    room = max(0.04 * np.ptp(values), 1e-6)
    scale = alt.Scale(domain=list(span or (values.min() - room, values.max() + room)), nice=False, zero=False)
    axis = alt.Axis(title=x_title, format=format, labelExpr=ZEROLESS, tickCount=6, orient="bottom")

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", scale=scale, axis=axis)

    y = alt.Y("place:O", axis=None, scale=alt.Scale(padding=0))
    colour = alt.Color("colour:N", scale=None)
    parts = []
    if within:
        shade = _chart([{"low": neutral - within, "high": neutral + within}])
        parts.append(shade.mark_rect(color=PALE, opacity=0.3).encode(x=x("low"), x2="high:Q"))
    if "null_low" in rows:
        null = base.mark_rule(color=PALE, opacity=0.4, strokeWidth=14, yOffset=6)
        parts.append(null.encode(x=x("null_low"), x2="null_high:Q", y=y))
    said = {"estimate": "estimate", "low": "interval from", "high": "to"}
    numbers = [alt.Tooltip(f"{name}:Q", format="+.2f", title=title) for name, title in said.items()]
    tooltip = [alt.Tooltip("name:N", title="what"), *numbers]
    parts.append(_chart([{"at": neutral}]).mark_rule(color=INK, strokeWidth=1.2).encode(x=x("at")))
    for lower in dict.fromkeys(rows["second"]):
        mine = base.transform_filter(f"datum.second == {str(lower).lower()}")
        at = dict(yOffset=14 if lower else 6)
        parts.append(mine.mark_rule(strokeWidth=2.4, **at).encode(x=x("low"), x2="high:Q", y=y, color=colour))
        dots = mine.mark_point(filled=True, size=40 if lower else 70, opacity=1, **at)
        parts.append(dots.encode(x=x("estimate"), y=y, color=colour, tooltip=tooltip))
    first = base.transform_filter("!datum.second")
    names = first.mark_text(align="left", baseline="middle", fontSize=13, color=INK, yOffset=-9)
    parts.append(names.encode(x=alt.value(0), y=y, text="name:N"))
    height = (46 if second.any() else 40) * rows["name"].nunique()
    return _finish(parts, title, [notes] if notes else [], description, rows, height=height)


def heat(
    rows: pd.DataFrame,
    *,
    y_title: str,
    value_title: str,
    title: str,
    description: str,
    signed: bool = False,
    notes: str = "",
) -> alt.LayerChart:
    """A map of one number over layers and rows, each written into its field.

    Args:
        rows: ``layer, row`` (what to call it), ``value, low, high, text`` and, where some are to stand out,
            ``marked``; the rows in the order from top to bottom.
        y_title: what the rows are.
        value_title: what the number is.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        signed: values on both sides of zero, in two colours; else from pale to full in one.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    _need_words(title, description)
    rows = _finite(rows, "value")
    names, layers = list(dict.fromkeys(rows["row"])), layer_order(rows["layer"].unique())
    least, most = (0.0, rows["value"].abs().max()) if signed else (rows["value"].min(), rows["value"].max())
    share = ((rows["value"].abs() if signed else rows["value"]) - least) / max(most - least, 1e-9)
    full = np.where(rows["value"] < 0, PALETTE[0], PALETTE[1]) if signed else np.full(len(rows), PALETTE[0])
    # Never a house colour itself: fields and their letters are the same on dark pages.
    fills = [_mixed(colour, 0.08 + 0.9 * part) for colour, part in zip(full, share)]
    marked = rows["marked"].astype(bool) if "marked" in rows else pd.Series(False, index=rows.index)
    inks = ["#1F2431" if _luminance(fill) > 0.22 else "#FFFFFE" for fill in fills]
    drawn = rows.assign(fill=fills, ink=inks, marked=marked.to_numpy())
    base = _chart(_rows(drawn, "layer", "row", "value", "low", "high", "text", "fill", "ink", "marked"))
    axis = alt.Axis(labelAngle=0, title=LAYER_TITLE, ticks=False, domain=False)
    x = alt.X("layer:O", sort=layers, scale=alt.Scale(domain=layers, padding=0.04), axis=axis)
    y_axis = alt.Axis(
        title=y_title, ticks=False, domain=False, titleAngle=0, titleAlign="left", titleAnchor="end", titleX=-34,
        titleY=-10,
    )  # fmt: skip
    y = alt.Y("row:O", sort=names, scale=alt.Scale(padding=0.06), axis=y_axis)
    tooltip = [
        alt.Tooltip("row:N", title=y_title),
        alt.Tooltip("layer:N"),
        alt.Tooltip("value:Q", title=value_title, format="+.2f" if signed else ".1%"),
        alt.Tooltip("low:Q", title="interval from", format="+.2f" if signed else ".1%"),
        alt.Tooltip("high:Q", title="to", format="+.2f" if signed else ".1%"),
    ]
    parts = [base.mark_rect().encode(x=x, y=y, color=alt.Color("fill:N", scale=None), tooltip=tooltip)]
    for strong in (True, False):
        look = dict(fontSize=12, fontWeight=700 if strong else 400)
        words = base.transform_filter(f"datum.marked == {str(strong).lower()}").mark_text(**look)
        parts.append(words.encode(x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None)))
    return _finish(parts, title, [notes] if notes else [], description, rows, height=34 * len(names))


def _mixed(colour: str, share: float) -> str:
    """A colour over white, so much of it."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * share):02X}" for part in parts)


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2, from 0 for black to 1 for white."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    light = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], light))


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
    y = alt.Y("group:N", sort=groups, axis=alt.Axis(title=None, ticks=False, domain=False, labelFontSize=13))
    x_axis = alt.Axis(title=value_title, format=format, tickCount=6)
    x = alt.X("value:Q", axis=x_axis, scale=alt.Scale(zero=False, nice=True))
    colour = alt.Color("group:N", scale=scale, legend=None)
    dots = _chart(_rows(rows.assign(shift=shift), "group", "value", "shift")).mark_circle(size=44, opacity=0.55)
    offset = alt.YOffset("shift:Q", scale=alt.Scale(domain=[-1, 1]))
    precise = ".1%" if format == "%" else ".1f"
    tooltip = [alt.Tooltip("group:N"), alt.Tooltip("value:Q", title=value_title, format=precise)]
    parts = [dots.encode(x=x, y=y, yOffset=offset, color=colour, tooltip=tooltip)]
    if means:
        bars = _chart(_rows(rows.groupby("group")["value"].mean().reset_index(), "group", "value"))
        parts.append(bars.mark_tick(thickness=4, size=64, opacity=1).encode(x=x, y=y, color=colour))
    return _finish(parts, title, [notes] if notes else [], description, rows, height=80 * len(groups))


def table(frame: pd.DataFrame, caption: str, folded: bool = False) -> HTML:
    """A table for reading that scrolls by itself where the page is narrow; cells' second lines are small.

    Numbers with their intervals stay on one line, longer words do not.

    Args:
        folded: show the caption only, until it is opened.
    """
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    lines = ["".join(map(_cell, row)) for row in frame.astype(str).itertuples(index=False)]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    above = "" if folded else f"<caption>{escape(caption)}</caption>"
    html = (
        '<div class="fairlib-table" style="overflow-x:auto" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}">'
        f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return HTML(f"<details><summary>{escape(caption)}</summary>{html}</details>" if folded else html)


def _cell(text: str) -> str:
    first, *second = text.split("\n", 1)
    # Numbers with their intervals, and names, stay on one line; words need not.
    kind = ' class="words"' if max(map(_letters, (first, *second))) > 20 else ""
    small = f"<br><small>{escape(second[0])}</small>" if second else ""
    return f"<td{kind}>{escape(first)}{small}</td>"


def _letters(text: str) -> int:
    return sum(character.isalpha() or character == " " for character in text)


# ---- parts of a chart ----

# Columns that a line's marks read.
DRAWN = ("line", "label", "layer", "x", "value", "low", "high", "n_speakers", "hollow")
POINTED = "pointed === datum.layer"  # the parameter is set by the page, see `fairlib.display.rendering`
NO_ZERO = "The axis does not begin at zero."
HOLLOW = f"Hollow: saturated (error above {percent(SATURATED)}), a gap there means little."


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


def _finite(rows: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    return _one(rows[np.isfinite(rows[column].astype(float))], column="")


def _saturated(rows: pd.DataFrame) -> pd.Series:
    return rows["saturated"].astype(bool) if "saturated" in rows else pd.Series(False, index=rows.index)


def _rows(frame: pd.DataFrame, *columns: str) -> list[dict]:
    """Rows as plain values, of those of the columns that there are; what JSON cannot say is null."""
    kept = frame[[column for column in columns if column in frame]]
    return json.loads(kept.to_json(orient="records", double_precision=6))


def _chart(rows: list[dict]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _layer_axis(rows: pd.DataFrame) -> alt.X:
    layers = layer_order(rows["layer"].unique())
    axis = alt.Axis(labelAngle=0, labelOverlap="greedy", title=LAYER_TITLE, ticks=False, grid=False)
    return alt.X("layer:O", sort=layers, scale=alt.Scale(domain=layers, padding=0.35), axis=axis)


def _vertical(scale: alt.Scale, axis: alt.Axis) -> Callable[..., alt.Y]:
    """The vertical channel of every part of a chart, which differ in the column only."""
    return lambda column="value": alt.Y(f"{column}:Q", scale=scale, axis=axis)


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


def _tooltip(format: str, line: str, field: str = "line") -> list[alt.Tooltip]:
    numbers = {"value": "estimate", "low": "interval from", "high": "to"}
    shown = [alt.Tooltip(f"{name}:Q", format=format, title=title) for name, title in numbers.items()]
    return [alt.Tooltip(f"{field}:N", title=line), alt.Tooltip("layer:N"), *shown]


def _lines(rows: pd.DataFrame, x: alt.X, y: Callable, looks: dict[str, tuple], tooltip: list) -> list[alt.Chart]:
    """For each name in ``looks`` (colour, dash, marker): the interval, the line and its points.

    Points are hollow where saturated, and drawn on paper, so that hollow ones hide the line behind them.
    """
    parts = []
    for name, (colour, dash, shape) in looks.items():
        mine = rows[rows["line"] == name]
        base = _chart(_rows(mine, *DRAWN)).encode(x=x)
        if "low" in mine and np.isfinite(mine["low"].astype(float)).any():
            band = _band(base, mine, colour, 0.18 if dash == [1, 0] else 0.12)
            parts.append(band.encode(y=y("low"), y2="high:Q"))
        parts.append(base.mark_line(color=colour, strokeWidth=2.4, strokeDash=dash).encode(y=y()))
        if len(mine) <= 20:
            points = base.mark_point(
                size=58, strokeWidth=2, opacity=1, filled=True, shape=shape, color=colour, stroke=colour
            )
            hollow = alt.condition("datum.hollow", alt.value(PAPER), alt.value(colour))
            parts.append(points.encode(y=y(), tooltip=tooltip, fill=hollow))
    return parts


def _band(base: alt.Chart, rows: pd.DataFrame, colour: str, opacity: float) -> alt.Chart:
    """The interval: an area along the layers or, where there is one layer only, a broad stroke."""
    if "layer" in rows and rows["layer"].nunique() == 1:
        return base.mark_rule(strokeWidth=16, opacity=opacity + 0.1, color=colour)
    return base.mark_area(opacity=opacity, color=colour)


def _error_span(rows: pd.DataFrame) -> tuple[float, float]:
    """From zero up, unless all lies in the upper half: layers would then be told apart by nobody."""
    values = rows[["value", "low", "high"]].to_numpy(float).ravel()
    values = values[np.isfinite(values)]
    low, high = values.min(), max(values.max(), 0.05)
    room = max(0.1 * (high - low), 0.01)
    return (max(low - room, 0.0), high + room) if low > high / 2 else (0.0, 1.05 * high)


def _gap_scale(values: np.ndarray, kind: str) -> tuple[alt.Scale, tuple[float, float]]:
    low, high = float(values.min()), float(values.max())
    if kind == "log":
        low, high = min(low, 0.8) / 1.05, max(high, 1.25) * 1.05
        return alt.Scale(type="log", base=2, domain=[low, high], nice=False), (low, high)
    room = max((high - low) * 0.06, 0.05)
    return alt.Scale(domain=[low - room, high + room], nice=False, zero=False), (low - room, high + room)


def _encoder_looks(encoders: Sequence[str]) -> dict[str, tuple[str, list[int], str]]:
    """Colour, dash and marker by encoder: twins first, dashed and ochre; trained ones in ink, then the palette, but
    for the colour of log-mel."""
    trained = [name for name in encoders if not name.startswith("random:")]
    looks = {name: (TWIN, [6, 3], "diamond") for name in encoders if name.startswith("random:")}
    colours = (INK, *PALETTE[:2], *PALETTE[3:])
    return looks | {name: (*_look(colours, at)[:2], "circle") for at, name in enumerate(trained)}


def _look(colours: Sequence[str], place: int) -> tuple[str, list[int], str]:
    """Colour, dash and marker of a line. Where the colours are used up they begin anew, dashed, with other markers."""
    turn, at = divmod(place, len(colours))
    return colours[at], DASHES[turn % len(DASHES)], SHAPES[(at + turn) % len(SHAPES)]


def _ends(rows: pd.DataFrame) -> pd.Series:
    """Each line's value at its last layer."""
    at = {layer: place for place, layer in enumerate(layer_order(rows["layer"].unique()))}
    return rows.assign(at=rows["layer"].map(at)).sort_values("at").groupby("line", sort=False)["value"].last()


def _end_labels(ends, span, y, looks, height=HEIGHT, kind="linear", names: Callable[[str], str] = str) -> alt.Chart:
    """Names at the right end of the lines, moved apart where they would touch."""
    low, high = span
    to, back = (np.log, np.exp) if kind == "log" else (float, float)
    lines = {name: _broken(names(name)) for name in ends.index}
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
    text = _chart(values).mark_text(**look, lineBreak="\n", lineHeight=LINE)
    return text.encode(x=alt.value("width"), y=y("at"), text="name:N", color=alt.Color("colour:N", scale=None))


def _broken(name: str) -> list[str]:
    """A name in lines of ten letters or so: on a phone, what they take is lost to the drawing.

    Example:
        >>> _broken("untrained twin"), _broken("a" * 60)
        (['untrained', 'twin'], ['aaaaaaaaaaa', 'aaaaaaaaaaa', 'aaaaaaaaaa…'])
    """
    endless = max(map(len, name.split()), default=0) > 22
    short = f"{name[:32]}…" if endless and len(name) > 33 else name
    return textwrap.wrap(short, 11, break_long_words=endless) or [name]


def _strokes(rows: pd.DataFrame) -> alt.Chart:
    """One broad stroke a layer, seen while somebody points at that layer, here or in another chart of the page."""
    layers = _chart([{"layer": layer} for layer in layer_order(rows["layer"].unique())])
    seen = alt.condition(POINTED, alt.value(0.3), alt.value(0))
    return layers.mark_rule(color=PALE, strokeWidth=20).encode(x=_layer_axis(rows), opacity=seen)


def _finish(parts, title, notes, description, data: pd.DataFrame, height: int = HEIGHT) -> alt.LayerChart:
    """Title and notes, fonts and colours; as wide as the page, with its data."""
    notes = textwrap.wrap(" ".join(notes), 88)
    chart = alt.layer(*parts, data=alt.InlineData(values=[])).properties(
        width="container",
        height=height,
        description=description,
        padding={"left": 2, "top": 4, "bottom": 2, "right": 6},
        background="transparent",
        title=alt.TitleParams(textwrap.wrap(title, 72), subtitle=notes, anchor="start", frame="bounds", offset=14),
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
        usermeta={"csv": _csv(data)},
    )
    if "layer" in data:
        chart = chart.add_params(alt.param(name="pointed", value=""))
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
    titles = dict(fontSize=15, fontWeight=600, color=INK, lineHeight=19, subtitleFontSize=12)
    axes = dict(labelFontSize=13, titleFontSize=13, titleFontWeight="normal", titlePadding=8)
    colours = dict(labelColor=INK, titleColor=INK, gridColor=GRID, domainColor=PALE, tickColor=PALE)
    chart = chart.configure(font=font).configure_view(stroke=None)
    return chart.configure_title(**titles, subtitleColor=SOFT).configure_axis(**axes, **colours)


def _csv(data: pd.DataFrame) -> str:
    """What is drawn, as CSV: names, then numbers, in as many digits as anybody could use."""
    said = ["encoder", "line", "name", "row", "group", "contrast", "scale", "layer", "x", "error", "gap", "estimate"]
    said += ["value", "low", "high", "null_low", "null_high", "n_speakers", "n_speakers_a", "n_speakers_b", "saturated"]
    return data[[column for column in said if column in data]].to_csv(index=False, float_format="%.6g")
