"""Outcomes with the same mix of what was spoken in every group."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def same_mix(outcomes: pd.DataFrame, by: str, kinds: Sequence[str] = ("phone", "duration")) -> pd.DataFrame:
    """Weigh errors and units so that every group has the mix of kinds that all groups have together.

    Direct standardisation: units of a kind weigh as much in every group, so that groups whose texts hold other phones,
    or who speak them longer, are compared as if they did not. Kinds that a group lacks altogether are left out.

    Args:
        outcomes: with the columns of ``kinds``, as of ``PhoneProbe(by_phone=True)``, of one encoder, layer and probe or
            of several.
        by: column of the groups; rows without one are left out.
        kinds: columns whose mix is made the same.

    Returns:
        The same rows, ``errors`` and ``length`` as weighed, real numbers; their sum over a group is the group's number
        of units.

    Raises:
        ValueError: a column is missing.

    Example:
        >>> rows = pd.DataFrame({"sex": ["f", "f", "m", "m"], "phone": ["AA", "S", "AA", "S"]})
        >>> rows = rows.assign(length=[30, 10, 10, 30], errors=[15, 1, 5, 3])  # the same error in each phone
        >>> mixed = same_mix(rows, "sex", ["phone"]).groupby("sex")[["errors", "length"]].sum()
        >>> (mixed["errors"] / mixed["length"]).round(2).to_dict()
        {'f': 0.3, 'm': 0.3}
    """
    lacking = [column for column in (by, *kinds) if column not in outcomes]
    if lacking:
        raise ValueError(f"A common mix needs the columns {', '.join((by, *kinds))}; missing: {', '.join(lacking)}.")
    cells = [column for column in ("encoder", "task", "unit", "probe", "seed", "layer") if column in outcomes]
    rows, kinds = outcomes.dropna(subset=[by]), list(kinds)
    groups = rows[by].nunique()
    within = rows.groupby([*cells, *kinds], observed=True)
    rows = rows[within[by].transform("nunique") == groups]

    def total(columns: list[str]) -> pd.Series:
        return rows.groupby(columns, observed=True)["length"].transform("sum") if columns else rows["length"].sum()

    wanted = total([*cells, *kinds]) / total(cells)  # share of the kind among all units
    there = total([*cells, by, *kinds]) / total([*cells, by])
    weight = wanted / there
    return rows.assign(errors=rows["errors"] * weight, length=rows["length"] * weight)
