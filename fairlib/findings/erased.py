"""What a layer shows of a speaker's group, where its speakers lie, and what becomes of the gap without the group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.special import logit

from fairlib.bias import bias_differences, group_bias, holm, layer_order
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.finding import Finding, judged
from fairlib.findings.gap_tables import gaps
from fairlib.findings.rules import MARGIN
from fairlib.findings.wording import estimate_of, say
from fairlib.probes.erasure import (
    ERASED,
    GROUP,
    KEPT,
    RANDOM_DIRECTION,
    RANDOM_GROUP,
    RANDOM_LABELS,
    RANDOM_YEARS,
    YEARS,
)
from fairlib.probes.geometry import NEAREST, SCATTER, SHIFT, WITHIN


def erased_changes(erased: pd.DataFrame, by: str, encoder: str, unit: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gaps under each erasure, and how far that with the group erased is from that with random labels erased, in pairs.

    Args:
        erased: outcomes of `fairlib.erase_group`.
        unit: the task's, ``speaker`` or ``phone``.

    Returns:
        `group_bias` and `bias_differences`, in which ``encoder`` says what was erased.
    """
    rows = erased[(erased["encoder"] == encoder) & (erased["unit"] == unit)]
    rows = rows.assign(encoder=rows["probe"], probe="linear")
    layers = layer_order(rows["layer"].unique())
    pairs = [((ERASED, layer), (RANDOM_LABELS, layer)) for layer in layers]
    return group_bias(rows, by=by), bias_differences(rows, by, pairs)


def does_it_rest_on_the_group(bias: pd.DataFrame, changes: pd.DataFrame, encoder: str) -> Finding:
    """Does the gap rest on what a linear probe can read of the group? Judged by the rule "erased".

    Args:
        bias, changes: from `erased_changes`.
    """
    by, contrast = str(changes["by"].iloc[0]), str(changes["contrast"].iloc[0])
    kept = gaps(bias, KEPT, contrast).set_index("layer")
    size = {what: gaps(bias, what, contrast).set_index("layer")["estimate"].abs() for what in (ERASED, RANDOM_LABELS)}
    rows = changes[(changes["scale"] == "log_odds") & (changes["contrast"] == contrast)]
    biased = list(kept.index[kept["biased"]])
    every, rows = rows, rows[rows["layer"].isin(biased)]
    columns = ["layer", "estimate", "low", "high", "p", "p_holm"]
    facts: dict[str, Any] = {"encoder": encoder, "by": by, "contrast": contrast, "layers": list(kept.index)}
    facts["biased"] = biased
    if rows.empty:
        return judged("erased", "inconclusive", facts, every[columns].to_dict("records"), said="no_gap")
    rows = rows.assign(p_holm=holm(rows["p"]))  # over these layers and this contrast, as the rule says
    # By how far each lies from zero: a gap that turned and grew is no smaller one.
    toward = (size[RANDOM_LABELS] - size[ERASED]).loc[rows["layer"]].to_numpy()
    shown = rows["p_holm"].to_numpy() < 0.05
    within = ((rows["low"] > -MARGIN) & (rows["high"] < MARGIN)).to_numpy()
    if (shown & (toward > 0)).any() and not (shown & (toward < 0)).any():
        verdict = "supported"
    elif within.all():
        verdict = "contradicted"
    else:
        verdict = "inconclusive"
    widest = rows.loc[rows["estimate"].abs().idxmax()]
    facts |= {
        "most": estimate_of(widest), "at": widest["layer"], "shown": list(rows.loc[shown, "layer"]),
    }  # fmt: skip
    return judged("erased", verdict, facts, rows[columns].to_dict("records"), rows, said="change")


def as_read(erased: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of `readable` of the group itself, with nothing erased."""
    read = readable(erased, by)
    return read[(read["probe"] == KEPT) & (read["unit"] == GROUP)]


def readable(erased: pd.DataFrame, by: str) -> pd.DataFrame:
    """How often a linear probe misclassifies a new speaker's group at each layer, groups weighted equally.

    Args:
        erased: outcomes of `fairlib.erase_group` for speakers.

    Returns:
        One row per encoder, layer, what was erased (``probe``) and ``unit`` (``group``, ``random group``): ``error``.
    """
    rows = erased[erased["unit"].isin([GROUP, RANDOM_GROUP])].dropna(subset=[by])
    sums = rows.groupby(["encoder", "layer", "probe", "unit", by], observed=True)[["errors", "length"]].sum()
    error = (sums["errors"] / sums["length"]).groupby(level=[0, 1, 2, 3]).mean()
    return error.rename("error").reset_index()


def years_sentence(years: pd.DataFrame, by: str, encoder: str) -> str:
    """How well the age of new speakers is predicted from the layer that shows it best, for each group.

    Args:
        years: outcomes of `fairlib.erase_group` by age, for speakers.
    """
    rows = years[(years["encoder"] == encoder) & years["unit"].isin([YEARS, RANDOM_YEARS])].dropna(subset=[by])
    sums = rows.groupby(["unit", "probe", "layer"])[["errors", "length"]].sum()
    off = sums["errors"] / sums["length"]
    best = off[YEARS, KEPT].idxmin()
    of_group = rows[rows["layer"] == best].groupby(["unit", "probe", by])[["errors", "length"]].sum()
    of_group = of_group["errors"] / of_group["length"]
    facts = {
        "own": off[YEARS, KEPT, best], "shuffled": off[RANDOM_YEARS, KEPT, best], "erased": off[YEARS, ERASED, best],
        "of_group": of_group[YEARS, KEPT].to_dict(),
    }  # fmt: skip
    return say("erased.years", encoder=encoder, by=by, layer=best, **facts)


def erased_table(erased: pd.DataFrame, bias: pd.DataFrame, by: str, encoder: str) -> pd.DataFrame:
    """The group as read, and the gap, with nothing, the group and the controls erased."""
    read = readable(erased[erased["encoder"] == encoder], by).set_index(["layer", "probe", "unit"])["error"]
    contrast = str(bias["contrast"].iloc[0])
    tables = {
        what: gaps(bias, what, contrast).set_index("layer") for what in (KEPT, ERASED, RANDOM_LABELS, RANDOM_DIRECTION)
    }
    rows = []
    for layer in layer_order(bias["layer"].unique()):
        row: dict[str, Any] = {"layer": layer}
        if (layer, KEPT, GROUP) in read:
            kept, gone = (Number("share", read[layer, what, GROUP]) for what in (KEPT, ERASED))
            row["group misclassified"] = Cell(kept, "\nerased: ", gone)
        for what, table in tables.items():
            row[f"gap, {what}"] = with_interval("log odds", table.loc[layer])
        rows.append(row)
    return pd.DataFrame(rows)


def geometry_table(geometry: pd.DataFrame, by: str, groups: tuple[str, str], encoder: str) -> pd.DataFrame:
    """How much larger or smaller each measure is for the first group than for the other, in percent of the other's, by
    layer; intervals over speakers."""
    own, rows = geometry[geometry["encoder"] == encoder], []
    for layer in layer_order(own["layer"].unique()):
        row: dict[str, Any] = {"layer": layer}
        for unit in (WITHIN, SHIFT, NEAREST, SCATTER):
            mine = own[(own["layer"] == layer) & (own["unit"] == unit)]
            parts = [mine.loc[mine[by] == group, "errors"].to_numpy(float) for group in groups]
            if min(map(len, parts)) < 2:
                continue
            means, errors = zip(*((part.mean(), part.std(ddof=1) / len(part) ** 0.5) for part in parts))
            ratio = means[0] / means[1]
            reach = 1.96 * ratio * np.hypot(errors[0] / means[0], errors[1] / means[1])
            row[unit] = Number("change", ratio - 1, ratio - reach - 1, ratio + reach - 1)
        rows.append(row)
    return pd.DataFrame(rows)


def what_foretells_errors(
    geometry: pd.DataFrame, outcomes: pd.DataFrame, by: str, groups: tuple[str, str], units: tuple[str, ...]
) -> pd.DataFrame:
    """Which measures of a speaker go with the speaker's errors, with the speakers as the sample.

    A regression at each layer of a speaker's log odds of error on the measures, in standard deviations, and the group;
    errors robust to unequal variance (HC3).

    Args:
        geometry: of one encoder, from `fairlib.speaker_geometry`.
        outcomes: of the same encoder's task, all rows of a speaker at a layer taken together.
        units: the measures.

    Returns:
        One row per layer and ``term`` (the measures, and ``group``: first against other): ``estimate, low, high, p``,
        ``alone``, the group's without the measures, and ``explained`` (R squared).
    """
    tables = []
    sums = outcomes.groupby(["layer", "speaker_id"])[["errors", "length"]].sum()
    rate = (sums["errors"] + 0.5) / (sums["length"] + 1)
    wide = geometry[geometry["unit"].isin(units)].pivot_table(
        index=["layer", "speaker_id"], columns="unit", values="errors", observed=True
    )
    of_speaker = geometry.drop_duplicates("speaker_id").set_index("speaker_id")[by]
    for layer in layer_order(wide.index.unique(0)):
        table = wide.loc[layer].dropna()
        table = table[
            table.index.isin(of_speaker.index[of_speaker.isin(groups)]) & table.index.isin(rate.loc[layer].index)
        ]
        standard = (table - table.mean()) / table.std()
        group = (of_speaker.loc[table.index] == groups[0]).astype(float)
        error = logit(rate.loc[layer].loc[table.index])
        plain = sm.OLS(error, sm.add_constant(group.rename("group"))).fit(cov_type="HC3")
        fit = sm.OLS(error, sm.add_constant(standard.assign(group=group))).fit(cov_type="HC3")
        bounds = fit.conf_int()
        for term in [*units, "group"]:
            tables.append(
                {
                    "layer": layer, "term": term, "estimate": fit.params[term], "low": bounds.loc[term, 0],
                    "high": bounds.loc[term, 1], "p": fit.pvalues[term], "alone": plain.params["group"],
                    "explained": fit.rsquared,
                }
            )  # fmt: skip
    return pd.DataFrame(tables)
