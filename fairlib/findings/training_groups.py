"""Random or systematic? What the choice of training speakers adds to a gap, and what remains without it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fairlib.base.tasks import unit_named
from fairlib.bias import group_errors, layer_order
from fairlib.bias.contrasts import people
from fairlib.bias.training_groups import (
    DEEPENING,
    GAP,
    MEAN_PENALTY,
    OWN_GAP,
    PENALTY,
    RANDOM_PENALTY,
    training_group_gaps,
)
from fairlib.encoders import encoder_fingerprint, our_encoders
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin, without_random
from fairlib.findings.cells import Number, with_interval
from fairlib.findings.finding import Finding, judged
from fairlib.findings.rules import MARGIN
from fairlib.findings.wording import estimate_of, say
from fairlib.outcomes import entries_of, published_outcomes
from fairlib.outcomes.training_groups import MIXED, trained_on


def errors_by_training_group(outcomes: pd.DataFrame, by: str, groups: tuple[str, str]) -> pd.DataFrame:
    """Error of each group at each layer by each probe, in the order of the share of the first group among its
    training speakers: none, half, all.

    Args:
        outcomes: from `fairlib.train_across_groups`, of one task and unit.
        groups: the first and the other group.

    Returns:
        One row per encoder, layer, group and probe: ``error, low, high`` over test speakers, ``share`` of the first
        group (0, 50, 100).
    """
    shares = {trained_on(groups[1]): 0, trained_on(MIXED): 50, trained_on(groups[0]): 100}
    rows = outcomes[outcomes["probe"].isin(shares) & outcomes[by].isin(groups)]
    table = group_errors(rows, by)
    return table.assign(share=table["probe"].map(shares))


def best_mixed_layer(outcomes: pd.DataFrame, encoder: str) -> str:
    """The layer with the lowest error of the probe that mixed speakers trained."""
    rows = outcomes[(outcomes["encoder"] == encoder) & (outcomes["probe"] == trained_on(MIXED))]
    sums = rows.groupby("layer")[["errors", "length"]].sum()
    return str((sums["errors"] / sums["length"]).idxmin())


def quantity(gaps: pd.DataFrame, encoder: str, name: str, group: str = "", scale: str = "log_odds") -> pd.DataFrame:
    """Rows of one quantity of `fairlib.training_group_gaps`, in the order of the layers."""
    rows = gaps[(gaps["encoder"] == encoder) & (gaps["quantity"] == name) & (gaps["scale"] == scale)]
    rows = rows[rows["group"] == group].set_index("layer")
    return rows.loc[layer_order(rows.index)].reset_index()


def is_it_systematic(gaps: pd.DataFrame, errors: pd.DataFrame, encoder: str, layer: str) -> Finding:
    """Does whom a probe was trained on decide part of the gap? Judged by the rule "systematic".

    Args:
        gaps: from `fairlib.training_group_gaps`, of one task and unit.
        errors: from `errors_by_training_group`.
        layer: of which the sentence speaks.
    """
    by, contrast, unit = (str(gaps[column].iloc[0]) for column in ("by", "contrast", "unit"))
    groups = list(dict.fromkeys(gaps.loc[gaps["quantity"] == PENALTY, "group"]))
    rows = pd.concat([quantity(gaps, encoder, PENALTY, group) for group in groups])
    shown = rows[(rows["p_holm"] < 0.05) & (rows["estimate"] > 0)]
    if len(shown) == len(rows):
        verdict = "supported"
    elif (rows["high"] < MARGIN).all():
        verdict = "contradicted"
    else:
        verdict = "inconclusive"
    at = errors[(errors["encoder"] == encoder) & (errors["layer"] == layer)].set_index(["group", "probe"])["error"]
    random = pd.concat([quantity(gaps, encoder, RANDOM_PENALTY, group) for group in groups])["estimate"]
    of_layer = rows[rows["layer"] == layer].set_index("group")
    facts = {
        "encoder": encoder, "layer": layer, "layers": layer_order(rows["layer"]), "error": unit_named(unit).error,
        "penalties": [
            {"group": group, "other": other, "own_error": float(at[group, trained_on(group)]),
             "other_error": float(at[group, trained_on(other)]), "penalty": estimate_of(of_layer.loc[group])}
            for group, other in zip(groups, groups[::-1])
        ],
        "shown": {group: list(shown.loc[shown["group"] == group, "layer"]) for group in groups},
        "random": [float(random.min()), float(random.max())],
    }  # fmt: skip
    return _judged("systematic", verdict, facts, rows, by, contrast, "penalty")


def what_remains(gaps: pd.DataFrame, encoder: str) -> Finding:
    """Do the groups differ even where each has a probe of its own? Judged by the rule "remains"."""
    by, contrast = (str(gaps[column].iloc[0]) for column in ("by", "contrast"))
    rows = quantity(gaps, encoder, OWN_GAP)
    shown, within = rows["p_holm"] < 0.05, bool(((rows["low"] > -MARGIN) & (rows["high"] < MARGIN)).all())
    if shown.all() and (rows["estimate"] > 0).nunique() == 1:
        verdict = "supported"
    elif within:
        verdict = "contradicted"
    else:
        verdict = "inconclusive"
    ends = [rows.loc[place] for place in dict.fromkeys([rows["estimate"].idxmin(), rows["estimate"].idxmax()])]
    facts = {
        "ends": [{"layer": row["layer"], "gap": estimate_of(row)} for row in ends],
        "layers": list(rows["layer"]), "shown": list(rows.loc[shown, "layer"]), "within": within,
        "one_mix": gaps["unit"].iloc[0] == "phone, same mix",
    }  # fmt: skip
    return _judged("remains", verdict, facts, rows, by, contrast, "gap")


def does_it_deepen(gaps: pd.DataFrame, encoder: str, layer: str) -> Finding:
    """Does the penalty grow from layer cnn to this one? Judged by the rule "deepens"."""
    by, contrast = (str(gaps[column].iloc[0]) for column in ("by", "contrast"))
    mean = quantity(gaps, encoder, MEAN_PENALTY).set_index("layer")
    rows = quantity(gaps, encoder, DEEPENING)
    first = str(mean.index[0])
    if layer not in set(rows["layer"]):
        return judged("deepens", "inconclusive", {"layer": layer}, [{"layer": first}], said="first")
    row = rows[rows["layer"] == layer].iloc[0]
    if row["p"] < 0.05:
        verdict = "supported" if row["estimate"] > 0 else "contradicted"
    else:
        verdict = "contradicted" if -MARGIN < row["low"] and row["high"] < MARGIN else "inconclusive"
    penalties = {name: float(mean.loc[name, "estimate"]) for name in (first, layer)}
    facts = {"penalties": penalties, "change": estimate_of(row)}
    return _judged("deepens", verdict, facts, rows, by, contrast, "change")


def points(difference: float) -> str:
    """A difference between error rates, in words.

    Example:
        >>> points(0.031), points(-0.0004)
        ('3.1 points higher', 'the same')
    """
    return say("systematic.points", points=100 * difference, shown=f"{abs(100 * difference):.1f}" != "0.0")


def with_published(outcomes: pd.DataFrame, corpus: str) -> pd.DataFrame:
    """The outcomes, and what is published of other encoders of ours by the same probes, in the same unit; of encoders
    of one shape, their untrained twin once."""
    entries = entries_of(outcomes)
    key, there = entries[0].key, {entry.key["encoder_fingerprint"] for entry in entries}
    unit, probes = outcomes["unit"].iloc[0], set(outcomes["probe"])
    tables = [outcomes]
    for name in (name for ours in our_encoders() for name in (ours, untrained_twin(ours))):
        weights = encoder_fingerprint(name)
        rows = published_outcomes(name, corpus, key["task"], key["probe"])
        rows = rows[(rows["unit"] == unit) & rows["probe"].isin(probes)]
        if len(rows) and weights not in there:
            there.add(weights)
            tables.append(rows)
    return pd.concat(tables)


def encoders_table(outcomes: pd.DataFrame, by: str) -> pd.DataFrame:
    """Each encoder at its best layer: error with a probe of both groups, penalties, and the gap with separate probes.

    Args:
        outcomes: from `fairlib.train_across_groups`, of one task and unit, of several encoders.
    """
    gaps, rows = training_group_gaps(outcomes, by), []
    names = list(dict.fromkeys(outcomes["encoder"]))
    for encoder in names:
        layer = best_mixed_layer(outcomes, encoder)
        mine = outcomes[(outcomes["encoder"] == encoder) & (outcomes["layer"] == layer)]
        mine = mine[mine["probe"] == trained_on(MIXED)]
        label = encoder_label(encoder)
        if is_untrained(encoder) and encoder != untrained_twin(names[0]):
            label += f" of {encoder_label(without_random(encoder))}"
        row: dict[str, Any] = {"encoder": label, "layer": "all" if layer == "logmel" else layer}
        row["error"] = Number("share", mine["errors"].sum() / mine["length"].sum())
        for group in dict.fromkeys(gaps.loc[gaps["quantity"] == PENALTY, "group"]):
            at = quantity(gaps, encoder, PENALTY, group).set_index("layer").loc[layer]
            row[f"penalty of {people(by, group)}"] = with_interval("log odds", at)
        at = quantity(gaps, encoder, OWN_GAP).set_index("layer").loc[layer]
        rows.append(row | {"gap, separate probes": with_interval("log odds", at)})
    return pd.DataFrame(rows)


def _judged(
    name: str, verdict: str, facts: dict[str, Any], rows: pd.DataFrame, by: str, contrast: str, said: str
) -> Finding:
    columns = ["layer", "group", "estimate", "low", "high", "p", "p_holm", "variance_speakers", "variance_draws"]
    evidence = rows[[*columns, "n_speakers_a", "n_speakers_b"]].to_dict("records")
    return judged(name, verdict, facts | {"by": by, "contrast": contrast}, evidence, rows, said)


def training_group_table(gaps: pd.DataFrame, encoder: str) -> pd.DataFrame:
    """The gap by each probe at each layer, log odds ratios with intervals."""
    by, contrast = (str(gaps[column].iloc[0]) for column in ("by", "contrast"))
    groups = list(dict.fromkeys(gaps.loc[gaps["quantity"] == PENALTY, "group"]))
    columns = {f"trained on {people(by, group)}": quantity(gaps, encoder, GAP, group) for group in groups[::-1]}
    columns |= {"on both": quantity(gaps, encoder, GAP, MIXED), "separate probes": quantity(gaps, encoder, OWN_GAP)}
    table = pd.DataFrame({"layer": next(iter(columns.values()))["layer"]})
    for name, rows in columns.items():
        table[name] = [with_interval("log odds", row) for row in rows.to_dict("records")]
    return table


def variance_table(gaps: pd.DataFrame, encoder: str, layer: str) -> pd.DataFrame:
    """How the variance of what was found at a layer splits between the people tested and those who train the probe."""
    by = str(gaps["by"].iloc[0])
    rows = gaps[(gaps["encoder"] == encoder) & (gaps["layer"] == layer) & (gaps["scale"] == "log_odds")]
    names = {(OWN_GAP, ""): "gap, separate probes", (GAP, MIXED): "gap, probe trained on both"}
    for group in dict.fromkeys(rows.loc[rows["quantity"] == PENALTY, "group"]):
        names[PENALTY, group] = f"penalty of {people(by, group)}"
    table = []
    for (name, group), what in names.items():
        row = rows[(rows["quantity"] == name) & (rows["group"] == group)].iloc[0]
        total = row["variance_speakers"] + row["variance_draws"]
        table.append(
            {
                "what": what, "standard error": Number("small", total**0.5),
                "share from test speakers": Number("share", row["variance_speakers"] / total),
                "share from training speakers": Number("share", row["variance_draws"] / total),
            }
        )  # fmt: skip
    return pd.DataFrame(table)
