"""House style of the charts.

Every chart states what is seen in its title, describes itself for screen readers, names its axes, shows
intervals, keeps layers on one axis (cnn, 0, 1, ..., L) and each group in its own colour, and carries its data.
Charts are Altair charts, so they can be changed further; `fairlib.display.rendering` brings them into pages.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from IPython.display import HTML

from fairlib.base.tasks import TASKS, unit_named
from fairlib.display import drawing
from fairlib.display.comparisons import forest as forest
from fairlib.display.comparisons import gap_against_error as gap_against_error
from fairlib.display.comparisons import heat as heat
from fairlib.display.comparisons import strips as strips
from fairlib.display.drawing import group_colours as group_colours
from fairlib.display.rendering import use_book_renderer as use_book_renderer  # what chapters begin with
from fairlib.display.sentences import describe_errors, describe_gaps, errors_title, gap_title, scale_titles
from fairlib.display.tables import show_table as show_table
from fairlib.display.tables import table as table
from fairlib.encoders.names import encoder_label, is_untrained
from fairlib.findings import SATURATED, main_contrast, the_encoder
from fairlib.findings.wording import of_chart, unbound

NULL = "null"  # line of `lines_by_layer` that becomes a grey band


def error_by_layer(
    errors: pd.DataFrame,
    *,
    title: str | None = None,
    description: str | None = None,
    encoder: str | None = None,
    bias: pd.DataFrame | None = None,
    contrast: str | None = None,
    counted: str = "",
) -> alt.LayerChart:
    """Error of each speaker group at each layer, one line per group with its interval as a band.

    Args:
        errors: from `fairlib.bias.group_errors`: encoder, unit, layer, group, error, low, high, n_speakers
            (one `by` and one unit). Errors of log-mel, where given, become dashed horizontal lines in the
            groups' colours. Where a column `saturated` (`fairlib.findings.mark_saturated`) is true, points
            are drawn hollow and the region is shaded.
        title: a sentence that states what is seen; with ``bias``, at how many layers which group errs more by default.
        description: what a person who cannot see the chart should know; the errors in words by default.
        encoder: whose layers to draw; may be left out when `errors` holds one encoder beside log-mel.
        bias: from `fairlib.bias.group_bias`, of the same outcomes, for the title.
        contrast: that the title speaks of; `fairlib.findings.main_contrast` by default.
        counted: what errors are counted in, where the title should say so: "words".

    Raises:
        ValueError: the table is empty, or holds several encoders or units to choose from; or there is no title.
    """
    if title is None and bias is not None:
        shown = encoder or the_encoder(errors)
        title = errors_title(bias, shown, contrast or main_contrast(bias, shown), counted)
    description = describe_errors(errors, encoder or the_encoder(errors)) if description is None else description
    title = title or ""
    drawing.require_words(title, description)
    rows = drawing.only_one(errors, "unit").rename(columns={"group": "line", "error": "value"})
    rows, reference = drawing.encoder_and_reference(rows, encoder)
    rows = drawing.finite_rows(rows).assign(hollow=drawing.saturated_rows(rows))
    places = drawing.group_places(rows["line"])
    looks = {name: drawing.look_of(drawing.PALETTE, at) for name, at in places.items()}
    bottom, top = span = drawing.error_span(pd.concat([rows, reference]))
    axis = drawing.level_axis(f"{unit_named(rows['unit'].iloc[0]).on_axis} (%)", format="%")
    y = drawing.vertical_axis(alt.Scale(domain=span, nice=False, zero=False), axis)
    parts: list[alt.Chart] = []
    if rows["hollow"].any() and top > SATURATED:
        shade = drawing.base_chart([{"low": max(SATURATED, bottom), "high": top}])
        parts.append(shade.mark_rect(color=drawing.GREY, opacity=0.1).encode(y=y("low"), y2="high:Q"))
    for name, level in zip(reference["line"], drawing.records(reference, "value"), strict=True):
        rule = drawing.base_chart([level]).mark_rule(
            color=looks[name][0], strokeDash=[5, 4], strokeWidth=1.6, opacity=0.9
        )
        parts.append(rule.encode(y=y()))
    tooltip = [*drawing.tooltip_of(".1%", "group"), alt.Tooltip("n_speakers:Q", title="speakers")]
    parts += [drawing.strokes_of(rows), *drawing.drawn_lines(rows, drawing.layer_axis(rows), y, looks, tooltip)]
    parts.append(drawing.end_labels(drawing.line_ends(rows), span, y, looks))
    facts = {"dashed": len(reference) > 0, "cut": bool(bottom), "hollow": rows["hollow"].any()}
    notes = of_chart("error_by_layer", **facts)["notes"]
    data = pd.concat([rows, reference]).rename(columns={"line": "group", "value": "error"})
    return drawing.finish(parts, title, notes, description, data)


def bias_by_layer(
    bias: pd.DataFrame,
    scale: str = "log_odds",
    *,
    title: str | None = None,
    description: str | None = None,
    encoder: str | None = None,
    contrast: str | None = None,
    height: int = drawing.HEIGHT,
) -> alt.LayerChart:
    """Gap between two speaker groups at each layer, with its interval, beside the line of no gap.

    The encoder is a line over its layers, its untrained twin (`random:<encoder>`) a second, dashed line, and
    log-mel, which has no layers, a horizontal line; each with its interval as a band. Grey is where the
    encoder's gaps would lie if group labels were shuffled among its speakers.

    Args:
        bias: from `fairlib.bias.group_bias`, for one task and unit: encoder, layer, contrast, scale,
            estimate, low, high and, for the grey band, null_low, null_high. Points where a column `saturated`
            is true are drawn hollow.
        scale: "difference", "ratio" or "log_odds".
        title: a sentence that states what is seen; at which layers a gap is shown by default.
        description: what a person who cannot see the chart should know; the gaps in words by default.
        encoder: whose gaps title and description state; may be left out where one is no control.
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
    if scale not in drawing.SCALES:
        raise ValueError(f"scale is {scale!r}; choose one of {', '.join(drawing.SCALES)}.")
    look = drawing.SCALES[scale]
    rows = drawing.only_one(bias[bias["scale"] == scale], "unit")
    if contrast is None and title is None:  # a title that is given speaks of a contrast that only its writer knows
        contrast = main_contrast(rows, encoder or the_encoder(rows))
    rows = drawing.only_one(rows if contrast is None else rows[rows["contrast"] == contrast], "contrast")
    contrast = str(rows["contrast"].iloc[0])
    title = gap_title(rows, encoder or the_encoder(rows), contrast, scale) if title is None else title
    if description is None:
        description = describe_gaps(rows, encoder or the_encoder(rows), contrast, scale)
    drawing.require_words(title, description)
    rows = drawing.finite_rows(drawing.only_one(rows, "unit").rename(columns={"estimate": "value"})).copy()
    numbers = ["value", "low", "high", *(name for name in ("null_low", "null_high") if name in rows)]
    rows[numbers] *= look["factor"]
    rows["hollow"] = drawing.saturated_rows(rows)

    values = np.r_[rows[numbers].to_numpy(float).ravel(), look["neutral"]]
    values = values[np.isfinite(values) & ((values > 0) | (look["axis"] != "log"))]
    y_scale, span = drawing.gap_scale(values, look["axis"])
    y = drawing.vertical_axis(y_scale, drawing.level_axis(f"{look['title']}, {contrast}", format=look["format"]))
    parts = [
        drawing.base_chart([{"value": look["neutral"]}]).mark_rule(color=drawing.INK, strokeWidth=1.2).encode(y=y())
    ]
    parts += _encoder_lines(rows, y, span, ".2f", height, look["axis"])
    facts = {"by": str(rows["by"].iloc[0]), "contrast": contrast, "grey": "null_low" in numbers}
    notes = of_chart("bias_by_layer", hollow=rows["hollow"].any(), **facts)["notes"]
    return drawing.finish(parts, title, notes, description, rows.rename(columns={"value": "gap"}), height)


def gaps_of_task(
    task: str, bias: pd.DataFrame, contrast: str, encoder: str, described: str | None = None
) -> alt.LayerChart:
    """`bias_by_layer`, whose title begins with the task: for charts of several tasks, one below the other.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        bias, contrast: as `bias_by_layer`.
        encoder: at which of whose layers a gap is shown, the title says.
        described: the one that the description begins with; the same by default.
    """
    title = f"{TASKS[task].heading}: {gap_title(bias, encoder, contrast)}"
    description = describe_gaps(bias, described or encoder, contrast)
    return bias_by_layer(bias, title=title, description=description, contrast=contrast)


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
    drawing.require_words(title, description)
    rows = drawing.finite_rows(drawing.only_one(errors, "unit").rename(columns={"error": "value"}))
    span = drawing.error_span(rows)
    axis = drawing.level_axis(f"{unit_named(rows['unit'].iloc[0]).on_axis} (%)", format="%")
    y = drawing.vertical_axis(alt.Scale(domain=span, nice=False, zero=False), axis)
    parts = _encoder_lines(rows, y, span, ".1%", height)
    notes = of_chart("encoders_by_layer", cut=bool(span[0]))["notes"]
    return drawing.finish(parts, title, notes, description, rows.rename(columns={"value": "error"}), height)


def _encoder_lines(rows, y, span, format, height, kind="linear") -> list[alt.Chart]:
    """A line over the layers for each encoder and a level one for log-mel, each with its interval, named at the end."""
    rows = rows.assign(line=rows["encoder"], label=rows["encoder"].map(encoder_label))
    level, layered = rows[rows["encoder"] == "logmel"], rows[rows["encoder"] != "logmel"]
    if layered.empty:  # log-mel itself is asked about: its one layer is then drawn as a layer
        level, layered = layered, level
    looks = drawing.encoder_looks(sorted(layered["line"].unique(), key=lambda name: not is_untrained(name)))
    tooltip, x = drawing.tooltip_of(format, "encoder", field="label"), drawing.layer_axis(layered)
    parts = []
    trained = next((name for name in looks if not is_untrained(name)), None)
    if "null_low" in rows and trained:
        null = drawing.base_chart(
            drawing.records(layered[layered["line"] == trained], "layer", "null_low", "null_high")
        )
        parts.append(
            drawing.interval_band(null, layered, drawing.PALE, 0.35).encode(x=x, y=y("null_low"), y2="null_high:Q")
        )
    if len(level):
        colour, still = drawing.PALETTE[2], drawing.base_chart(drawing.records(level, *drawing.DRAWN))
        parts.append(still.mark_rect(color=colour, opacity=0.13).encode(y=y("low"), y2="high:Q"))
        parts.append(still.mark_rule(color=colour, strokeWidth=1.8, strokeDash=[2, 3]).encode(y=y(), tooltip=tooltip))
    parts += [drawing.strokes_of(layered), *drawing.drawn_lines(layered, x, y, looks, tooltip)]
    ends = drawing.line_ends(layered)
    if len(level):
        ends["logmel"], looks["logmel"] = float(level["value"].iloc[0]), (drawing.PALETTE[2], [2, 3], "circle")
    return [*parts, drawing.end_labels(ends, span, y, looks, height, kind, names=encoder_label)]


def lines_by_layer(
    rows: pd.DataFrame,
    *,
    y_title: str,
    title: str,
    description: str,
    looks: dict[str, tuple] | None = None,
    format: str = "+~f",
    reference: float | None = 0.0,
    notes: str = "",
    height: int = 240,
) -> alt.LayerChart:
    """Lines over the layers, with their intervals, named at their ends: any measure that has a value at each layer.

    Args:
        rows: ``line`` (name), ``layer``, ``value``, ``low, high``; rows of the line ``NULL`` become a grey band.
        y_title: name of the vertical axis, with its unit.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        looks: colour, dash and marker of each line; by default the palette's.
        format: of the numbers, as in D3.
        reference: a level to draw a rule at.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    drawing.require_words(title, description)
    rows = drawing.finite_rows(rows)
    null, lines = rows[rows["line"] == NULL], rows[rows["line"] != NULL].assign(hollow=False)
    values = rows[["value", "low", "high"]].to_numpy(float).ravel()
    values = np.r_[values[np.isfinite(values)], [] if reference is None else [reference]]
    room = max(0.06 * np.ptp(values), 1e-6)
    span = (values.min() - room, values.max() + room)
    scale = alt.Scale(domain=list(span), nice=False, zero=False)
    y = drawing.vertical_axis(scale, drawing.level_axis(y_title, format=format))
    looks = looks or {
        name: drawing.look_of(drawing.PALETTE, at) for at, name in enumerate(dict.fromkeys(lines["line"]))
    }
    x, parts = drawing.layer_axis(lines), []
    if reference is not None:
        rule = drawing.base_chart([{"value": reference}]).mark_rule(color=drawing.INK, strokeWidth=1.2)
        parts.append(rule.encode(y=y()))
    if len(null):
        band = drawing.interval_band(
            drawing.base_chart(drawing.records(null, "layer", "low", "high")), null, drawing.PALE, 0.35
        )
        parts.append(band.encode(x=x, y=y("low"), y2="high:Q"))
    parts += [drawing.strokes_of(lines), *drawing.drawn_lines(lines, x, y, looks, drawing.tooltip_of(format, "line"))]
    parts.append(drawing.end_labels(drawing.line_ends(lines), span, y, looks, height))
    return drawing.finish(parts, title, notes, description, rows, height)


def three_scales(
    bias: pd.DataFrame,
    *,
    titles: dict[str, str] | None = None,
    description: str | None = None,
    encoder: str | None = None,
    contrast: str | None = None,
) -> list[alt.LayerChart]:
    """The same gaps as difference, ratio and log odds ratio: three low charts to show one under the other.

    Args: as `bias_by_layer`, with one title for each scale; by default, at which layer the gap is largest on it.
    """
    described = {scale: f"{description} Scale: {look['title']}." for scale, look in drawing.SCALES.items()}
    if titles is None or description is None:
        encoder = encoder or the_encoder(bias)
        contrast = contrast or main_contrast(bias, encoder)
        titles = titles or scale_titles(bias, encoder, contrast)
        if description is None:  # each in its own scale's numbers
            described = {scale: describe_gaps(bias, encoder, contrast, scale) for scale in drawing.SCALES}
    charts = [
        bias_by_layer(bias, scale, title=titles[scale], description=described[scale], contrast=contrast, height=190)
        for scale in drawing.SCALES
    ]
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
    looks: dict[str, tuple] | None = None,
    notes: str = "",
    height: int = drawing.HEIGHT,
) -> alt.LayerChart:
    """Lines named at their ends over a number: how a measure behaves as something grows.

    Args:
        rows: ``line`` (name), ``x``, ``value`` and, where there is one, the interval ``low, high``.
        x_title, y_title: names of the axes, with units.
        title: a sentence that states what is seen.
        description: what a person who cannot see the chart should know.
        format, x_format: of the numbers on the axes, as in D3.
        reference: a level to draw a rule at, and what it is called.
        log_x: steps of equal factors are equally long; where a line begins at zero, from the next point on.
        span: of the vertical axis; by default what the values need.
        looks: colour, dash and marker of each line; by default ink, then the palette's.
        notes: a line under the title.

    Raises:
        ValueError: there is nothing to draw, or no title or description.
    """
    drawing.require_words(title, description)
    rows = drawing.finite_rows(rows).sort_values("x", kind="stable")
    values = rows[[name for name in ("value", "low", "high") if name in rows]].to_numpy(float).ravel()
    values = np.r_[values[np.isfinite(values)], [reference[0]] if reference else []]
    room = max(0.06 * np.ptp(values), 1e-6)
    span = span or (values.min() - room, values.max() + room)
    y = drawing.vertical_axis(
        alt.Scale(domain=list(span), nice=False, zero=False), drawing.level_axis(y_title, format=format)
    )
    x = _growing(sorted(rows["x"].unique()), x_title, x_format, log_x)
    names = dict.fromkeys(rows["line"])
    looks = looks or {name: drawing.look_of((drawing.INK, *drawing.PALETTE), at) for at, name in enumerate(names)}
    parts: list[alt.Chart] = []
    if reference:
        rule = drawing.base_chart([{"value": reference[0], "name": reference[1]}])
        parts.append(rule.mark_rule(color=drawing.GREY, strokeDash=[5, 4], strokeWidth=1.4).encode(y=y()))
        text = rule.mark_text(align="left", baseline="bottom", dx=4, dy=-2, fontSize=12, color=drawing.SOFT)
        parts.append(text.encode(x=alt.value(0), y=y(), text="name:N"))
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("x:Q", title=x_title, format=x_format),
        alt.Tooltip("value:Q", title=y_title, format=format),
    ]
    parts += drawing.drawn_lines(rows, x, y, looks, tooltip)
    parts.append(drawing.end_labels(rows.groupby("line", sort=False)["value"].last(), span, y, looks, height))
    return drawing.finish(parts, title, notes, description, rows, height)


def _growing(marks: list[float], title: str, format: str, log: bool) -> alt.X:
    """The axis of a number that grows, with ticks at its values where these are few."""
    ticks: dict[str, Any] = {"values": marks} if len(marks) <= 8 else {"tickCount": 6}
    kind: dict[str, Any] = {"type": "log" if log else "linear"}
    if log and marks[0] == 0 and len(marks) > 1:
        kind = {"type": "symlog", "constant": marks[1]}  # whose own ticks would be those of a linear axis
        round_ones = (step * 10**power for power in range(-3, 7) for step in (1, 3))
        ticks = {"values": [0, *(tick for tick in round_ones if marks[1] < tick < marks[-1])]}
    axis = alt.Axis(title=title, grid=False, labelAngle=0, format=format, **ticks)
    return alt.X("x:Q", scale=alt.Scale(**kind, nice=False, padding=14, zero=False), axis=axis)


def captioned(name: str, frame: pd.DataFrame, folded: bool = False, **facts: Any) -> HTML:
    """A `table` under a caption of `assets/sentences.toml`.

    Args:
        name: of the caption's template.
        facts: what the template names.

    Example:
        >>> shown = captioned("variance", pd.DataFrame({"what": ["gap"]}), layer="cnn")
        >>> "<caption>Where the uncertainty comes from, at layer cnn (log odds)</caption>" in shown.data
        True
    """
    return table(frame, unbound(f"captions.{name}", **facts), folded)
