"""Charts that compare: choices side by side, gaps against errors, people one by one, fields of numbers."""

from __future__ import annotations

import functools

import altair as alt
import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from fairlib.bias import layer_order
from fairlib.display import drawing
from fairlib.findings.wording import of_chart

_FIELD = 27  # pixels that a number such as −.15 needs


def gap_against_error(points: pd.DataFrame, *, title: str, description: str, height: int = 260) -> alt.LayerChart:
    """One dot a layer, named: how large its gap is, with its interval, over how often it errs.

    Args:
        points: ``layer, error, estimate, low, high``, of one encoder; log odds ratios.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    drawing.require_words(title, description)
    rows = drawing.finite_rows(points, "estimate").sort_values("error")
    values = np.r_[rows[["low", "high"]].to_numpy(float).ravel(), rows["estimate"], 0.0]
    _, (bottom, top) = drawing.gap_scale(values[np.isfinite(values)], "linear")
    ceiling = top + 0.16 * (top - bottom)  # the layers' names stand in a row above the strokes
    y_scale = alt.Scale(domain=[bottom, ceiling], nice=False, zero=False)
    y = drawing.vertical_axis(y_scale, drawing.level_axis("gap (log odds ratio of error)", format="+~f"))
    room = max(0.15 * np.ptp(rows["error"]), 0.01)
    span = [max(rows["error"].min() - room, 0), rows["error"].max() + room]
    apart = min(0.07, 1 / len(rows)) * (span[1] - span[0]) * np.arange(len(rows))  # on a phone, the room for a name
    named = isotonic_regression(rows["error"] - apart, y_min=span[0], y_max=max(span[1] - apart[-1], span[0])) + apart
    rows = rows.assign(named=named, name_at=ceiling - 0.07 * (ceiling - bottom), led_to=top)
    rows["led_from"] = rows["high"].where(np.isfinite(rows["high"]), rows["estimate"])
    base = drawing.base_chart(
        drawing.records(rows, "layer", "error", "estimate", "low", "high", "named", "name_at", "led_from", "led_to")
    )
    axis = alt.Axis(title="error over all speakers (%)", format="%", grid=False, tickCount=5, labelOverlap="greedy")
    x, above = (
        alt.X(f"{field}:Q", scale=alt.Scale(domain=span, nice=False, zero=False), axis=axis)
        for field in ("error", "named")
    )
    tooltip = [alt.Tooltip("layer:N"), alt.Tooltip("error:Q", format=".1%"), alt.Tooltip("estimate:Q", format=".2f")]
    size = alt.condition(drawing.POINTED, alt.value(220), alt.value(58))
    dots = base.mark_point(color=drawing.PALETTE[0], filled=True, opacity=1)
    strokes = base.mark_rule(color=drawing.PALETTE[0], strokeWidth=2, opacity=0.45)
    leaders = base.mark_rule(color=drawing.GREY, strokeWidth=0.8)
    names = base.mark_text(fontSize=12, color=drawing.INK)
    parts = [
        drawing.base_chart([{"value": 0}]).mark_rule(color=drawing.INK, strokeWidth=1.2).encode(y=y()),
        leaders.encode(x=x, x2="named:Q", y=y("led_from"), y2="led_to:Q"),
        strokes.encode(x=x, y=y("low"), y2="high:Q"),
        dots.encode(x=x, y=y("estimate"), tooltip=tooltip, size=size),
        names.encode(x=above, y=y("name_at"), text="layer:N"),
    ]
    notes = of_chart("gap_against_error")["notes"]
    drawn = ["named", "name_at", "led_from", "led_to"]
    return drawing.finish(parts, title, notes, description, rows.drop(columns=drawn), height)


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
    drawing.require_words(title, description)
    rows = drawing.finite_rows(rows, "estimate").reset_index(drop=True)
    marked = rows["marked"].astype(bool) if "marked" in rows else pd.Series(False, index=rows.index)
    second, parts = rows["name"].duplicated(), []
    colours = np.where(second, drawing.GREY, np.where(marked, drawing.PALETTE[1], drawing.PALETTE[0]))
    rows = rows.assign(place=pd.factorize(rows["name"])[0], second=second, colour=colours)
    numbers = [name for name in ("estimate", "low", "high", "null_low", "null_high") if name in rows]
    base = drawing.base_chart(drawing.records(rows, "name", *numbers, "place", "second", "colour"))
    values = np.r_[rows[numbers].to_numpy(float).ravel(), neutral - (within or 0), neutral + (within or 0)]
    axis = alt.Axis(title=x_title, format=format, labelExpr=drawing.ZEROLESS, tickCount=6, orient="bottom")
    x = functools.partial(_horizontal, scale=_with_room(values, span), axis=axis)
    y = alt.Y("place:O", axis=None, scale=alt.Scale(padding=0))
    colour = alt.Color("colour:N", scale=None)
    if within:
        shade = drawing.base_chart([{"low": neutral - within, "high": neutral + within}])
        parts.append(shade.mark_rect(color=drawing.PALE, opacity=0.3).encode(x=x("low"), x2="high:Q"))
    if "null_low" in rows:
        null = base.mark_rule(color=drawing.PALE, opacity=0.4, strokeWidth=14, yOffset=6)
        parts.append(null.encode(x=x("null_low"), x2="null_high:Q", y=y))
    said = {"estimate": "estimate", "low": "interval from", "high": "to"}
    numbers = [alt.Tooltip(f"{name}:Q", format="+.2f", title=title) for name, title in said.items()]
    tooltip = [alt.Tooltip("name:N", title="what"), *numbers]
    parts.append(drawing.base_chart([{"at": neutral}]).mark_rule(color=drawing.INK, strokeWidth=1.2).encode(x=x("at")))
    for lower in dict.fromkeys(rows["second"]):
        mine = base.transform_filter(f"datum.second == {str(lower).lower()}")
        at = dict(yOffset=14 if lower else 6)
        parts.append(mine.mark_rule(strokeWidth=2.4, **at).encode(x=x("low"), x2="high:Q", y=y, color=colour))
        dots = mine.mark_point(filled=True, size=40 if lower else 70, opacity=1, **at)
        parts.append(dots.encode(x=x("estimate"), y=y, color=colour, tooltip=tooltip))
    for halo in ({"stroke": drawing.PAPER, "strokeWidth": 4}, {}):  # no line crosses a name
        named = dict(align="left", baseline="middle", fontSize=12, color=drawing.INK, yOffset=-9) | halo
        parts.append(
            base.transform_filter("!datum.second").mark_text(**named).encode(x=alt.value(0), y=y, text="name:N")
        )
    height = (38 if second.any() else 33) * rows["name"].nunique()
    return drawing.finish(parts, title, notes, description, rows, height=height)


def _with_room(values: np.ndarray, span: tuple[float, float] | None) -> alt.Scale:
    """A scale over these values, with some room on either side, or over ``span``."""
    values = values[np.isfinite(values)]
    room = max(0.04 * np.ptp(values), 1e-6)
    return alt.Scale(domain=list(span or (values.min() - room, values.max() + room)), nice=False, zero=False)


def _horizontal(column: str, scale: alt.Scale, axis: alt.Axis) -> alt.X:
    return alt.X(f"{column}:Q", scale=scale, axis=axis)


def heat(
    rows: pd.DataFrame,
    *,
    named: str,
    value_title: str,
    title: str,
    description: str,
    layers_down: bool = False,
    signed: bool = False,
    notes: str = "",
) -> alt.LayerChart:
    """A map of one number over layers and something else, each written into its field where there is room.

    Args:
        rows: ``layer, name`` (of the other thing), ``value, low, high, text`` and, where some are to stand out,
            ``marked``; names in the order from top to bottom, or from left to right.
        named: what the names are.
        value_title: what the number is.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        layers_down: layers stand from top to bottom, and the names, where they are few and short, from left to right:
            on a phone many layers leave no room for a number.
        signed: values on both sides of zero, in two colours; else from pale to full in one.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    drawing.require_words(title, description)
    rows = drawing.finite_rows(rows, "value")
    names, layers = list(dict.fromkeys(rows["name"])), layer_order(rows["layer"].unique())
    drawn = _coloured(rows, signed)
    base = drawing.base_chart(
        drawing.records(drawn, "layer", "name", "value", "low", "high", "text", "fill", "ink", "marked")
    )
    titles, orders = {"layer": drawing.LAYER_TITLE, "name": named}, {"layer": layers, "name": names}
    across, down = ("name", "layer") if layers_down else ("layer", "name")
    x_axis = alt.Axis(labelAngle=0, title=titles[across], ticks=False, domain=False)
    y_axis = alt.Axis(
        title=titles[down], ticks=False, domain=False, titleAngle=0, titleAlign="left", titleAnchor="end", titleX=-34,
        titleY=-10,
    )  # fmt: skip
    x = alt.X(f"{across}:O", sort=orders[across], scale=alt.Scale(domain=orders[across], padding=0.04), axis=x_axis)
    y = alt.Y(f"{down}:O", sort=orders[down], scale=alt.Scale(domain=orders[down], padding=0.06), axis=y_axis)
    tooltip = [
        alt.Tooltip("name:N", title=named),
        alt.Tooltip("layer:N"),
        alt.Tooltip("value:Q", title=value_title, format="+.2f" if signed else ".1%"),
        alt.Tooltip("low:Q", title="interval from", format="+.2f" if signed else ".1%"),
        alt.Tooltip("high:Q", title="to", format="+.2f" if signed else ".1%"),
    ]
    parts = [base.mark_rect().encode(x=x, y=y, color=alt.Color("fill:N", scale=None), tooltip=tooltip)]
    has_room = alt.ExprRef(f"width < {_FIELD * len(orders[across])} ? 0 : 1")
    for strong in (True, False):
        look = dict(fontSize=12, fontWeight=700 if strong else 400, opacity=has_room)
        words = base.transform_filter(f"datum.marked == {str(strong).lower()}").mark_text(**look)
        parts.append(words.encode(x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None)))
    return drawing.finish(
        parts, title, notes, description, rows, height=(26 if layers_down else 34) * len(orders[down])
    )


def _coloured(rows: pd.DataFrame, signed: bool) -> pd.DataFrame:
    """Fields with ``fill`` and ``ink``, and ``marked``, where that is not there."""
    least, most = (0.0, rows["value"].abs().max()) if signed else (rows["value"].min(), rows["value"].max())
    share = ((rows["value"].abs() if signed else rows["value"]) - least) / max(most - least, 1e-9)
    full = (
        np.where(rows["value"] < 0, drawing.PALETTE[0], drawing.PALETTE[1])
        if signed
        else np.full(len(rows), drawing.PALETTE[0])
    )
    # Never a house colour itself: fields and their letters are the same on dark pages.
    fills = [mixed(colour, 0.08 + 0.9 * part) for colour, part in zip(full, share)]
    marked = rows["marked"].astype(bool) if "marked" in rows else pd.Series(False, index=rows.index)
    inks = ["#1F2431" if luminance(fill) > 0.22 else "#FFFFFE" for fill in fills]
    return rows.assign(fill=fills, ink=inks, marked=marked.to_numpy())


def mixed(colour: str, share: float) -> str:
    """A colour over white, so much of it."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * share):02X}" for part in parts)


def luminance(colour: str) -> float:
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
    drawing.require_words(title, description)
    rows = drawing.only_one(rows, column="").reset_index(drop=True)
    groups = sorted(rows["group"].unique())
    colours = drawing.group_colours(groups)
    scale = alt.Scale(domain=groups, range=[colours[group] for group in groups])
    # A fixed scatter, so that the picture is the same each time.
    shift = np.random.default_rng(0).uniform(-0.5, 0.5, len(rows))
    y = alt.Y("group:N", sort=groups, axis=alt.Axis(title=None, ticks=False, domain=False, labelFontSize=13))
    x_axis = alt.Axis(title=value_title, format=format, tickCount=6)
    x = alt.X("value:Q", axis=x_axis, scale=alt.Scale(zero=False, nice=True))
    colour = alt.Color("group:N", scale=scale, legend=None)
    dots = drawing.base_chart(drawing.records(rows.assign(shift=shift), "group", "value", "shift")).mark_circle(
        size=44, opacity=0.55
    )
    offset = alt.YOffset("shift:Q", scale=alt.Scale(domain=[-1, 1]))
    precise = ".1%" if format == "%" else ".1f"
    tooltip = [alt.Tooltip("group:N"), alt.Tooltip("value:Q", title=value_title, format=precise)]
    parts = [dots.encode(x=x, y=y, yOffset=offset, color=colour, tooltip=tooltip)]
    if means:
        bars = drawing.base_chart(
            drawing.records(rows.groupby("group")["value"].mean().reset_index(), "group", "value")
        )
        parts.append(bars.mark_tick(thickness=4, size=64, opacity=1).encode(x=x, y=y, color=colour))
    return drawing.finish(parts, title, notes, description, rows, height=80 * len(groups))
