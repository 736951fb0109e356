"""What age in years does within the groups that are compared: "child" is not one age."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fairlib.base.writing import listing
from fairlib.bias import FEWEST_SHOWN, BiasError, dose_slopes, group_bias, group_columns, group_errors, layer_order
from fairlib.bias.contrasts import contrast_groups, people
from fairlib.bias.dose import number_of
from fairlib.findings.cells import Cell, Number, error_of
from fairlib.findings.gap_tables import mean_error
from fairlib.findings.wording import estimate_of, say

AGE, EVERYBODY = "age", "all speakers"
YOUNG = 10  # years: from here on a child is in the older band


def age_slopes(outcomes: pd.DataFrame, by: str) -> pd.DataFrame:
    """`fairlib.dose_slopes` of age within each group that has enough people of several ages, with a column ``group``.

    Args:
        outcomes: of one encoder, task, unit and probe.

    Returns:
        Empty where ages are not recorded. Where ``by`` is a number whose bands are compared, its own slope over
        everybody.
    """
    if number_of(by) in outcomes:
        numbers = outcomes.drop(columns=by).rename(columns={number_of(by): by})
        return dose_slopes(numbers, by).assign(by=by, group=EVERYBODY)
    if AGE not in outcomes or by not in outcomes:
        return pd.DataFrame()
    tables = []
    for group, mine in outcomes.groupby(by):
        try:
            tables.append(dose_slopes(mine, AGE).assign(by=by, group=group))
        except BiasError:  # too few people, or all of one age
            continue
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def by_age_band(outcomes: pd.DataFrame, by: str) -> pd.DataFrame:
    """Gaps (log odds ratios) between the younger and the older people of each group that has both, as `group_bias`
    gives them, the younger's first; empty where no group has."""
    tables = []
    if number_of(by) in outcomes:  # the bands are compared already
        return pd.DataFrame()
    for group, mine in outcomes.dropna(subset=[AGE]).groupby(by) if AGE in outcomes else ():
        young = mine[AGE].astype(float) < YOUNG
        banded = mine.assign(**{AGE: young.map({True: "a younger", False: "b older"})})
        banded = banded.rename(columns={AGE: "age_band"})
        sizes = banded.drop_duplicates("speaker_id")["age_band"].value_counts()
        if len(sizes) == 2 and sizes.min() >= FEWEST_SHOWN:
            tables.append(group_bias(banded, by="age_band").query("scale == 'log_odds'").assign(by=by, group=group))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _unit(column: str) -> str:
    return "year" if column == AGE else f"unit of {column.replace('_', ' ')}"


def _who(by: str, group: str) -> str:
    return EVERYBODY if group == EVERYBODY else people(by, group)


def ages_table(slopes: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    """Slopes and bands by layer, with a star where the family-wise p is below 0.05."""
    odds = slopes[slopes["scale"] == "log_odds"]
    rows = []
    for layer in layer_order(odds["layer"].unique()):
        row: dict[str, Any] = {"layer": layer}
        for mine in odds[odds["layer"] == layer].itertuples():
            who = f"{_who(mine.by, mine.group)} ({mine.n_speakers})"
            row[f"{who}, per {_unit(mine.column)}"] = _starred("slope", mine)
        for mine in bands[bands["layer"] == layer].itertuples() if len(bands) else ():
            sizes = f"under {YOUNG} ({mine.n_speakers_a}) vs older ({mine.n_speakers_b})"
            row[f"{people(mine.by, mine.group)} {sizes}"] = _starred("log odds", mine)
        rows.append(row)
    return pd.DataFrame(rows)


def _starred(kind: str, row: Any) -> Number:
    return Number(kind, row.estimate, row.low, row.high, starred=row.p_familywise < 0.05)


def ages_sentence(slopes: pd.DataFrame) -> str:
    """What the slopes show, and how large a slope would be detected; of none, that no ages are recorded."""
    if slopes.empty:
        return say("ages.not_recorded")
    said = []
    groups = [mine for _, mine in slopes[slopes["scale"] == "log_odds"].groupby("group")]
    for mine in sorted(groups, key=lambda one: one["p_familywise"].min() >= 0.05):  # shown ones first
        shown, first = mine[mine["p_familywise"] < 0.05], mine.iloc[0]
        facts = {
            "who": _who(first["by"], first["group"]), "unit": _unit(first["column"]), "column": first["column"],
            "span": f"{first['least']:g} to {first['most']:g}", "layers": list(mine["layer"]),
            "shown": list(shown["layer"]), "detectable": mine["detectable"].median(),
        }  # fmt: skip
        if len(shown):
            most = shown.loc[shown["estimate"].abs().idxmax()]
            facts |= {"most": most["layer"], "slope": estimate_of(most)}
        said.append(say("ages.shown" if len(shown) else "ages.none", **facts))
    return " ".join(said)


def intersections_table(outcomes: pd.DataFrame, by: str) -> pd.DataFrame:
    """Error of each group in two columns at once, ``by`` and the first other one, at the layer with the lowest error.

    Empty where no other column is recorded.

    Args:
        outcomes: of one encoder, task, unit and probe.
    """
    others = [column for column in group_columns(outcomes, FEWEST_SHOWN) if column != by]
    columns, error = [*others[:1], by], mean_error(outcomes)
    best = error.loc[error["error"].idxmin(), "layer"]
    if not others:
        return pd.DataFrame()
    try:
        errors = group_errors(outcomes[outcomes["layer"] == best], by=columns)
    except BiasError:
        return pd.DataFrame()
    shown = errors[errors["n_speakers"] >= FEWEST_SHOWN].sort_values("error")
    return pd.DataFrame(
        {
            listing(columns): shown["group"],
            "speakers": shown["n_speakers"],
            f"error at layer {best}": [error_of(row) for row in shown.itertuples()],
        }
    )


def kinds_table(outcomes: pd.DataFrame, by: str, contrast: str) -> pd.DataFrame:
    """Deletions, substitutions and insertions of either side of a contrast at each layer, in percent, and the interval
    of how far they lie apart, in points.

    Two groups can have the same error and yet fail in other ways.

    Args:
        outcomes: of one encoder, task, unit and probe, with the counts of each kind.
    """
    sides = [name for name in contrast_groups(contrast) if name]
    tables = {}
    for kind in ("deletions", "substitutions", "insertions"):
        counted = outcomes.assign(errors=outcomes[kind])
        gaps = group_bias(counted, by=by, permutations=200).query("scale == 'difference' and contrast == @contrast")
        tables[kind] = group_errors(counted, by=by, resamples=50), gaps.set_index("layer")
    rows = []
    for layer in layer_order(outcomes["layer"].unique()):
        row: dict[str, Any] = {"layer": layer}
        for kind, (errors, gaps) in tables.items():
            of_group = errors[errors["layer"] == layer].set_index("group")["error"]
            shares = [part for side in sides for part in (", ", Number("share", of_group[side]))][1:]
            low, high = (Number("points", 100 * gaps.loc[layer, end]) for end in ("low", "high"))
            row[kind] = Cell(*shares, "\n", low, " to ", high)
        rows.append(row)
    return pd.DataFrame(rows)
