"""Charts and sentences of chapter 10: whom probes were trained on, phone by phone, what is known of the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS, unit_named
from fairlib.base.writing import interval, listing, number
from fairlib.bias.contrasts import people, sides
from fairlib.bias.training_groups import GAP, OWN_GAP, PENALTY, RANDOM_PENALTY
from fairlib.display import charts, drawing
from fairlib.display.words import short
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding
from fairlib.findings.erased import what_foretells_errors
from fairlib.findings.training_groups import points, quantity
from fairlib.outcomes.training_groups import MIXED
from fairlib.probes.geometry import NEAREST, SCATTER, SHIFT, WITHIN

_MEASURES = {"phone": (WITHIN, SHIFT), "sid": (NEAREST, SCATTER)}
_UNITS = {"phone": "phone", "sid": "speaker"}


def training_group_chart(
    task: str, errors: pd.DataFrame, gaps: pd.DataFrame, encoder: str, layer: str, contrast: str
) -> alt.LayerChart:
    """Error of either group at one layer against the share of the first group among the training speakers.

    Args:
        errors: from `fairlib.findings.training_groups.errors_by_training_group`.
        gaps: from `fairlib.training_group_gaps`.
    """
    by = str(gaps["by"].iloc[0])
    first, second = sides(by, contrast)
    at = errors[(errors["encoder"] == encoder) & (errors["layer"] == layer)]
    rows = at.assign(line=at["group"].map(lambda group: people(by, group)), x=at["share"], value=100 * at["error"])
    rows = rows.assign(low=100 * at["low"], high=100 * at["high"])
    colours = drawing.group_colours(_groups(gaps))
    apart = {
        name: quantity(gaps, encoder, GAP, group, "difference").set_index("layer").loc[layer, "estimate"]
        for name, group in zip(("first", "second"), _groups(gaps))
    }
    unit = unit_named(_UNITS[task])
    return charts.curves(
        rows[["line", "x", "value", "low", "high"]],
        looks={people(by, group): (colours[group], [1, 0], "circle") for group in _groups(gaps)},
        x_title=f"{first} among training speakers (%)",
        y_title=f"{unit.on_axis} (%)",
        title=f"Trained on {second}, the probe’s error for {first} is {_than(apart['second'], second)}; "
        f"trained on {first}, it is {_than(apart['first'], second)}",
        description=f"{unit.error} at layer {layer} of {encoder_label(encoder)}, for {first} and {second}, where none, "
        f"half and all of the training speakers are {first}: "
        + "; ".join(
            f"{name} {', '.join(f'{value:.1f} %' for value in mine.sort_values('x')['value'])}"
            for name, mine in rows.groupby("line")
        ),
        notes=f"Layer {layer} of {encoder_label(encoder)}, the one with the lowest error. The test speakers are the "
        "same throughout, so a line's slope is more certain than its band suggests. Bands: 95 % intervals over them.",
        height=260,
    )


def penalty_chart(task: str, gaps: pd.DataFrame, encoder: str, contrast: str) -> alt.LayerChart:
    """The penalty of either group at every layer, beside that between halves drawn at random, in percentage points."""
    by, groups = str(gaps["by"].iloc[0]), _groups(gaps)
    lines = []
    for group in groups:
        mine = quantity(gaps, encoder, PENALTY, group, "difference")
        lines.append(mine.assign(line=people(by, group)))
    null = [quantity(gaps, encoder, RANDOM_PENALTY, group, "difference") for group in groups]
    low, high = np.minimum(*(table["low"] for table in null)), np.maximum(*(table["high"] for table in null))
    lines.append(null[0].assign(line=charts.NULL, low=low, high=high))
    rows = pd.concat(lines, ignore_index=True)
    rows = rows.assign(value=100 * rows["estimate"], low=100 * rows["low"], high=100 * rows["high"])
    odds = [quantity(gaps, encoder, PENALTY, group) for group in groups]
    shown = [((one["p_holm"] < 0.05) & (one["estimate"] > 0)).sum() for one in odds]
    layers = rows["layer"].nunique()
    colours = drawing.group_colours(groups)
    looks = {people(by, group): (colours[group], [1, 0], "circle") for group in groups}
    return charts.lines_by_layer(
        rows[["line", "layer", "value", "low", "high"]],
        looks=looks,
        y_title="penalty (points)",
        title=f"{TASKS[task].heading}: a probe trained on the other group has a higher error at "
        + listing([f"{count} of {layers} layers for {people(by, group)}" for count, group in zip(shown, groups)]),
        description=f"Percentage points by which the error of {' and of '.join(sides(by, contrast))} is higher where "
        "the probe was trained on the other group, by layer. "
        + "; ".join(
            f"{name}: " + ", ".join(f"layer {row.layer} {number(row.value, 1)}" for row in mine.itertuples())
            for name, mine in rows[rows["line"] != charts.NULL].groupby("line", sort=False)
        ),
        notes="Bands: 95 % intervals over test speakers and draws of training speakers. Grey: the same between "
        "random halves of the speakers.",
    )


def phones_chart(kinds: pd.DataFrame, layer: str, contrast: str) -> alt.LayerChart:
    """The gaps of the phones that contribute most at a layer, over all layers."""
    from fairlib.findings.by_phone import phones_shown

    rows = phones_shown(kinds, layer)
    first, second = sides(str(kinds["by"].iloc[0]), contrast)
    at = rows[rows["layer"] == layer]
    worse, better = ((at["low"] > 0).sum(), (at["high"] < 0).sum())
    return charts.heat(
        rows.assign(text=rows["value"].map(short)),
        signed=True,
        y_title="phone",
        value_title="log odds ratio",
        title=f"Of the {len(at)} phones that contribute most at layer {layer}, {first} have more errors than {second}"
        f" in {worse} and fewer in {better}",
        description="Map of the gap (log odds ratio of error) over phones and layers. "
        + "; ".join(f"{row.row} {number(row.value, 2)}" for row in at.itertuples()),
        notes=f"Log odds ratio of phone error, {contrast}, at one mix of durations; estimates for rare phones are "
        "shrunk towards the others'. Vowels above, consonants below. Bold: the interval excludes zero.",
    )


def readable_chart(read: pd.DataFrame, encoder: str, groups: int) -> alt.LayerChart:
    """How often a new speaker's group is misclassified from each layer.

    Args:
        read: from `fairlib.findings.erased.readable`, of one unit, with nothing erased.
        groups: how many there are to choose from; chance depends on it.
    """
    own = read[read["encoder"] == encoder].assign(line=encoder_label(encoder))
    layers = drawing.layer_order(own["layer"])
    rows = own.set_index("layer").loc[layers].reset_index().assign(value=lambda table: 100 * table["error"])
    rows = rows.assign(low=np.nan, high=np.nan)
    looks = {encoder_label(encoder): (drawing.INK, [1, 0], "circle")}
    mel = read[read["encoder"] == "logmel"]
    if len(mel) and encoder != "logmel":
        level = rows.assign(line="log-mel", value=100 * mel["error"].iloc[0])
        rows, looks = pd.concat([rows, level]), looks | {"log-mel": (drawing.PALETTE[2], [2, 3], "circle")}
    best, chance = own.loc[own["error"].idxmin()], 100 * (1 - 1 / groups)
    return charts.lines_by_layer(
        rows[["line", "layer", "value", "low", "high"]],
        looks=looks,
        reference=chance,
        format="~f",
        y_title="utterances with the group misclassified (%)",
        title=f"A new speaker’s group is classified best from layer {best['layer']}: {100 * best['error']:.0f} % of "
        f"utterances are wrong (chance level: {chance:.0f} %)",
        description="Share of new speakers' utterances whose group a linear probe misclassifies, by layer, all groups "
        "weighted equally: " + ", ".join(f"layer {row.layer} {100 * row.error:.0f} %" for row in own.itertuples()),
        notes=f"Groups are weighted equally. Line at {chance:.0f} %: chance level.",
    )


def answers(found: Mapping[tuple[str, str], Finding], task: str) -> str:
    """The chapter's answer on a task, in Markdown: verdicts with their sentences."""
    asked = {
        "systematic": "Is it a shift that training the probe on the group can undo?",
        "remains": "Do the groups differ even with a separate probe for each?",
    }
    lines = []
    for rule, question in asked.items():
        finding = found[task, rule]
        lines.append(f"- **{question}** *{finding.verdict}.* {finding.sentence}")
    return "\n".join(lines)


def span_sentence(gaps: pd.DataFrame, encoder: str, layer: str) -> str:
    """Between which values the choice of training speakers moves the gap at a layer."""
    by = str(gaps["by"].iloc[0])
    groups = _groups(gaps)
    rows = {name: quantity(gaps, encoder, GAP, name).set_index("layer").loc[layer] for name in (*groups, MIXED)}
    rows["own"] = quantity(gaps, encoder, OWN_GAP).set_index("layer").loc[layer]
    gap = {name: interval(row["estimate"], row["low"], row["high"]) for name, row in rows.items()}
    return (
        f"At layer {layer} the gap (log odds ratio of error) is {gap[groups[1]]} with a probe trained on "
        f"{people(by, groups[1])}, {gap[MIXED]} on both groups, {gap[groups[0]]} on {people(by, groups[0])}, and "
        f"{gap['own']} with a separate probe for each."
    )


def foretelling_sentence(
    task: str, geometry: pd.DataFrame, outcomes: pd.DataFrame, by: str, groups: Sequence[str], layer: str
) -> str:
    """Which measures of a speaker go with the speaker's errors at a layer, and what is left of the gap beside them."""
    measures = _MEASURES[task]
    rows = what_foretells_errors(geometry, outcomes, by, (groups[0], groups[1]), measures)
    at = rows[rows["layer"] == layer].set_index("term")
    effects = listing([f"{term} ({interval(*at.loc[term, ['estimate', 'low', 'high']])})" for term in measures])
    left = at.loc["group"]
    return (
        f"{TASKS[task].heading}, layer {layer}, regression over speakers: change in log odds of error per standard"
        f" deviation of {effects}. Together with the group they explain {100 * left['explained']:.0f} % of the"
        f" variance. The gap is {number(left['alone'], 2)} without these measures and"
        f" {interval(left['estimate'], left['low'], left['high'])} when they are held equal."
    )


def _than(difference: float, other: str) -> str:
    """How an error compares with that of the other people.

    Example:
        >>> _than(0.031, "adults"), _than(0.0, "adults")
        ('3.1 points higher than for adults', 'the same as for adults')
    """
    compared = points(difference)
    return f"{compared} {'as' if compared == 'the same' else 'than'} for {other}"


def _groups(gaps: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(gaps.loc[gaps["quantity"] == PENALTY, "group"]))
