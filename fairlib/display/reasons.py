"""Charts and sentences of chapter 10: whom probes were trained on, phone by phone, what is known of the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS, unit_named
from fairlib.bias.contrasts import people, sides
from fairlib.bias.training_groups import GAP, OWN_GAP, PENALTY, RANDOM_PENALTY
from fairlib.display import charts, drawing
from fairlib.display.words import short
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding
from fairlib.findings.erased import as_read, what_foretells_errors
from fairlib.findings.training_groups import points, quantity
from fairlib.findings.wording import estimate_of, of_chart, say, unbound
from fairlib.outcomes.training_groups import MIXED
from fairlib.probes.geometry import NEAREST, SCATTER, SHIFT, WITHIN

_MEASURES = {"phone": (WITHIN, SHIFT), "sid": (NEAREST, SCATTER)}
_UNITS = {"phone": "phone", "sid": "speaker"}


def judged_as(task: str, rule: str) -> str:
    """What a verdict of chapter 10 is about.

    Example:
        >>> judged_as("phone", "remains")
        'Phone classification, separate probes'
    """
    return say(f"judged_in_why.{rule}", heading=TASKS[task].heading)


def training_group_chart(
    task: str, errors: pd.DataFrame, gaps: pd.DataFrame, encoder: str, layer: str, contrast: str
) -> alt.LayerChart:
    """Error of either group at one layer against the share of the first group among the training speakers.

    Args:
        errors: from `fairlib.findings.training_groups.errors_by_training_group`.
        gaps: from `fairlib.training_group_gaps`.
    """
    by = str(gaps["by"].iloc[0])
    at = errors[(errors["encoder"] == encoder) & (errors["layer"] == layer)]
    rows = at.assign(line=at["group"].map(lambda group: people(by, group)), x=at["share"], value=100 * at["error"])
    rows = rows.assign(low=100 * at["low"], high=100 * at["high"])
    colours = drawing.group_colours(_groups(gaps))
    apart = [
        quantity(gaps, encoder, GAP, group, "difference").set_index("layer").loc[layer, "estimate"]
        for group in _groups(gaps)
    ]
    unit = unit_named(_UNITS[task])
    return charts.curves(
        rows[["line", "x", "value", "low", "high"]],
        looks={people(by, group): (colours[group], [1, 0], "circle") for group in _groups(gaps)},
        x_title=f"{sides(by, contrast)[0]} among training speakers (%)",
        y_title=f"{unit.on_axis} (%)",
        **of_chart(
            "training_group_chart",
            by=by,
            contrast=contrast,
            encoder=encoder,
            layer=layer,
            error=unit.error,
            apart=[points(difference) for difference in apart],
            lines={name: list(mine.sort_values("x")["value"]) for name, mine in rows.groupby("line")},
        ),
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
    colours = drawing.group_colours(groups)
    looks = {people(by, group): (colours[group], [1, 0], "circle") for group in groups}
    return charts.lines_by_layer(
        rows[["line", "layer", "value", "low", "high"]],
        looks=looks,
        y_title="penalty (points)",
        **of_chart(
            "penalty_chart",
            by=by,
            contrast=contrast,
            heading=TASKS[task].heading,
            shown=dict(zip(groups, shown)),
            layers=rows["layer"].nunique(),
            lines={
                name: dict(zip(mine["layer"], mine["value"]))
                for name, mine in rows[rows["line"] != charts.NULL].groupby("line", sort=False)
            },
        ),
    )


def phones_chart(kinds: pd.DataFrame, layer: str, contrast: str) -> alt.LayerChart:
    """The gaps of the phones that contribute most at a layer, over all layers."""
    from fairlib.findings.by_phone import phones_shown

    rows = phones_shown(kinds, layer)
    at = rows[rows["layer"] == layer]
    return charts.heat(
        rows.assign(text=rows["value"].map(short)),
        signed=True,
        named="phone",
        value_title="log odds ratio",
        **of_chart(
            "phones_chart",
            by=str(kinds["by"].iloc[0]),
            contrast=contrast,
            layer=layer,
            phones=list(zip(at["name"], at["value"])),
            worse=(at["low"] > 0).sum(),
            better=(at["high"] < 0).sum(),
        ),
    )


def penalty_sentence(gaps: pd.DataFrame, encoder: str) -> str:
    """The penalty of either group with the features of an encoder that has one layer, such as log-mel."""
    mine = gaps[(gaps["encoder"] == encoder) & (gaps["quantity"] == PENALTY) & (gaps["scale"] == "log_odds")]
    penalties = list(zip(mine["group"], map(estimate_of, mine.to_dict("records"))))
    return say("penalty.of_encoder", by=str(gaps["by"].iloc[0]), encoder=encoder, penalties=penalties)


def readable_sentence(erased: pd.DataFrame, by: str, encoder: str) -> str:
    """How often a linear probe misclassifies a new speaker's group at the layer that shows it best, beside chance.

    Args:
        erased: outcomes of `fairlib.erase_group` for speakers.
    """
    own = as_read(erased, by).query("encoder == @encoder")
    best = own.loc[own["error"].idxmin()]
    return say("readable.best", error=best["error"], layer=best["layer"], chance=1 - 1 / erased[by].nunique())


def readable_chart(erased: pd.DataFrame, by: str, encoder: str) -> alt.LayerChart:
    """How often a new speaker's group is misclassified from each layer; arguments as `readable_sentence`."""
    read = as_read(erased, by)
    own = read[read["encoder"] == encoder].assign(line=encoder_label(encoder))
    layers = drawing.layer_order(own["layer"])
    rows = own.set_index("layer").loc[layers].reset_index().assign(value=lambda table: 100 * table["error"])
    rows = rows.assign(low=np.nan, high=np.nan)
    looks = {encoder_label(encoder): (drawing.INK, [1, 0], "circle")}
    mel = read[read["encoder"] == "logmel"]
    if len(mel) and encoder != "logmel":
        level = rows.assign(line="log-mel", value=100 * mel["error"].iloc[0])
        rows, looks = pd.concat([rows, level]), looks | {"log-mel": (drawing.PALETTE[2], [2, 3], "circle")}
    best, chance = own.loc[own["error"].idxmin()], 100 * (1 - 1 / erased[by].nunique())
    return charts.lines_by_layer(
        rows[["line", "layer", "value", "low", "high"]],
        looks=looks,
        reference=chance,
        format="~f",
        y_title="utterances with the group misclassified (%)",
        **of_chart(
            "readable_chart",
            best=best["layer"],
            lowest=100 * best["error"],
            chance=chance,
            errors=dict(zip(own["layer"], 100 * own["error"])),
        ),
    )


def answers(found: Mapping[tuple[str, str], Finding], task: str) -> str:
    """The chapter's answer on a task, in Markdown: verdicts with their sentences."""
    lines = []
    for rule in ("systematic", "remains"):
        finding, question = found[task, rule], say(f"answers.{rule}")
        lines.append(f"- **{question}** *{finding.verdict}.* {finding.sentence}")
    return "\n".join(lines)


def span_sentence(gaps: pd.DataFrame, encoder: str, layer: str) -> str:
    """Between which values the choice of training speakers moves the gap at a layer."""
    first, second = _groups(gaps)
    by = str(gaps["by"].iloc[0])

    def at_layer(name: str, group: str = "") -> list[float]:
        return estimate_of(quantity(gaps, encoder, name, group).set_index("layer").loc[layer])

    return say(
        "span.gaps",
        layer=layer,
        first=people(by, first),
        second=people(by, second),
        trained_on_first=at_layer(GAP, first),
        trained_on_second=at_layer(GAP, second),
        trained_on_both=at_layer(GAP, MIXED),
        separate=at_layer(OWN_GAP),
    )


def foretelling_sentence(
    task: str, geometry: pd.DataFrame, outcomes: pd.DataFrame, by: str, groups: Sequence[str], layer: str
) -> str:
    """Which measures of a speaker go with the speaker's errors at a layer, and what is left of the gap beside them."""
    measures = _MEASURES[task]
    rows = what_foretells_errors(geometry, outcomes, by, (groups[0], groups[1]), measures)
    at = rows[rows["layer"] == layer].set_index("term")
    left = at.loc["group"]
    return unbound(
        "foretelling.effects",
        heading=TASKS[task].heading,
        layer=layer,
        effects={term: estimate_of(at.loc[term]) for term in measures},
        explained=100 * left["explained"],
        alone=left["alone"],
        left=estimate_of(left),
    )


def _groups(gaps: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(gaps.loc[gaps["quantity"] == PENALTY, "group"]))
