"""Claim C2 as a finding: does the gap go with error from layer to layer, by more than the scale's own arithmetic, and
by more than in random layers?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias.association import ALL, WITHOUT_CNN, mean_slopes
from fairlib.bias.contrasts import SCALE_WORDS
from fairlib.encoders import encoder_layers, finetuned_from, our_encoders, pretraining_task
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin
from fairlib.findings.cells import Number, numbers
from fairlib.findings.finding import Finding, of_people
from fairlib.findings.rules import NUMBERS, rule
from fairlib.findings.survey import published, published_twin
from fairlib.findings.wording import estimate_of, say

MARGIN = NUMBERS["slope_margin"]
RULE = rule("pattern")


def families_together(corpus: str, by: str) -> pd.DataFrame:
    """`mean_slopes` over one published pretrained encoder of each family and depth, the shortest name's; empty where
    fewer than two are published with their twins."""
    tables = []
    for task in (task for task in TASKS.values() if task.c2):
        outcomes, twins = [], {}
        for name in sorted(our_encoders(), key=lambda name: (len(name), name)):
            family = pretraining_task(name), encoder_layers(name)
            mine, twin = published(name, corpus, *task.main), published_twin(name, corpus, *task.main)
            if finetuned_from(name) or family in twins or mine.empty or twin.empty:
                continue
            twins[family] = name
            outcomes += [mine, twin]
        if len(twins) > 1:
            named = {name: untrained_twin(name) for name in twins.values()}
            tables.append(mean_slopes(pd.concat(outcomes), by, named))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def primary(slopes: pd.DataFrame, task: str, contrast: str) -> pd.DataFrame:
    """The rows that `RULE` judges, by scale: of all layers, the twin subtracted where the table has that."""
    rows = slopes[(slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["layers"] == ALL)]
    beside = rows["twin"].notna()
    return (rows[beside] if beside.any() else rows).set_index("scale")


def c2_finding(slopes: pd.DataFrame, task: str, contrast: str) -> Finding:
    """Judge by `RULE` whether the gap goes with the error from layer to layer as the paper claims (C2).

    Args:
        slopes: from `fairlib.bias.association.error_slopes`, of one encoder (rows of its twin alone left out).
    """
    rows = primary(slopes, task, contrast)
    row, other = rows.loc["log_odds"], _without_cnn(slopes, rows.loc["log_odds"])
    beside = rows.iloc[:0]
    if isinstance(row["twin"], str):
        alone = slopes[slopes["twin"].isna() & (slopes["task"] == task) & (slopes["contrast"] == contrast)]
        beside = alone[(alone["layers"] == ALL) & (alone["scale"] == "log_odds")].head(1)
    verdict, said, more = _c2_verdict(rows, TASKS[task].c2)
    facts = {
        "encoder": row["encoder"], "by": str(row["by"]), "contrast": contrast, "more": more,
        "detectable": float(row["detectable"]),
        "slope": _slope(row), "alone": _slope(beside.iloc[0]) if len(beside) else None,
        "without_cnn": _slope(other.iloc[0]) if len(other) else None,
        "error_span": float(other["error_span"].iloc[0]) if len(other) else None,
    }  # fmt: skip
    evidence = pd.concat([rows.reset_index(), beside, other], ignore_index=True).to_dict("records")
    found = Finding(TASKS[task].c2_claim, RULE, verdict, say(f"pattern.{said}", **facts), evidence, facts)
    return of_people(found, rows, str(row["by"]), contrast)


def _slope(row: pd.Series) -> dict[str, Any]:
    return {"excess": estimate_of(row, ("excess", "excess_low", "excess_high")), "p": float(row["p"])}


def _c2_verdict(rows: pd.DataFrame, claimed: int) -> tuple[str, str, bool]:
    """Verdict by `RULE`, what to say of it, and whether the layers of a larger gap err more, from the primary slopes by
    scale; ``claimed`` is 1 where the gap is to rise with the error, -1 where it is to fall."""
    row = rows.loc["log_odds"]
    side = np.sign(row["gap"]) if row["gap_p"] < 0.05 else 0.0
    narrow = (row["excess_high"] - row["excess_low"]) / 2 * 1.645 / 1.96
    turned = rows["p"].get("difference", 1.0) < 0.05 and rows.loc["difference", "excess"] * row["excess"] < 0
    more = bool(side * row["excess"] > 0)
    if np.isnan(row["p"]):
        return "inconclusive", "unknown", more
    if not side:
        return "inconclusive", "no_gap", more
    if row["p"] < 0.05 and turned:
        return "depends on the scale", "depends on the scale", more
    if row["p"] < 0.05:
        as_claimed = side * np.sign(row["excess"]) * claimed > 0
        return "supported" if as_claimed else "contradicted", "larger", more
    if abs(row["excess"]) + narrow < MARGIN:
        return "contradicted", "hardly", more
    return "inconclusive", "inconclusive", more


def _without_cnn(slopes: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """The same slope of the layers above the convolutions, where it is shown: what the verdict does not rest on."""
    same = (slopes["layers"] == WITHOUT_CNN) & (slopes["scale"] == "log_odds")
    for name in ("encoder", "task", "contrast"):
        same &= slopes[name] == row[name]
    same &= slopes["twin"].isna() if not isinstance(row["twin"], str) else slopes["twin"] == row["twin"]
    return slopes[same & (slopes["p"] < 0.05)].head(1)


def slopes_table(slopes: Mapping[str, pd.DataFrame], contrast: str) -> pd.DataFrame:
    """What `RULE` judges of an encoder, on three scales.

    Args:
        slopes: by task, as `c2_finding` takes them.
    """
    rows = pd.concat([primary(table, task, contrast).reset_index() for task, table in slopes.items()])
    columns = {
        "task": [TASKS[task].title for task in rows["task"]],
        "scale": rows["scale"].map(SCALE_WORDS),
        "slope": numbers("log odds", rows["slope"]),
        "constant odds give": numbers("log odds", rows["null"]),
    }
    return pd.DataFrame(columns | _tested(rows, "beyond it"))


def families_table(together: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """The mean slopes of the log odds ratio of `families_together`."""
    rows = together[(together["contrast"] == contrast) & (together["scale"] == "log_odds")]
    columns = {
        "task": [TASKS[task].title for task in rows["task"]],
        "layers": rows["layers"],
        "less their twins": rows["twin"].notna().map({True: "yes", False: "no"}),
        "encoders": rows["encoders"],
    }
    return pd.DataFrame(columns | _tested(rows, "mean slope"))


def _tested(rows: pd.DataFrame, name: str) -> dict[str, list[Number]]:
    """Slopes beyond constant odds with their interval, p, and what would be detected."""
    excess = numbers("log odds", *(rows[column] for column in ("excess", "excess_low", "excess_high")))
    return {name: excess, "p": numbers("p", rows["p"]), "would be detected": numbers("size", rows["detectable"])}


def slope_rows(slopes: pd.DataFrame, task: str, contrast: str, scale: str = "log_odds") -> pd.DataFrame:
    """The slopes beyond one odds ratio of an encoder, its twin and both compared, for
    `fairlib.display.charts.forest`."""
    rows = slopes[
        (slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["scale"] == scale) & slopes["p"].notna()
    ]
    names = [
        encoder_label(row.encoder)
        + (f", less {encoder_label(row.twin)}" if isinstance(row.twin, str) else "")
        + (", without cnn" if row.layers == WITHOUT_CNN else "")
        for row in rows.itertuples()
    ]
    shown = rows[["excess", "excess_low", "excess_high"]].set_axis(["estimate", "low", "high"], axis=1)
    return shown.assign(name=names, marked=(rows["p"] < 0.05).to_numpy()).reset_index(drop=True)


def slope_title(slopes: pd.DataFrame, task: str, contrast: str) -> str:
    """What is seen of the slope of the log odds ratio of an encoder by itself and less its twin's, in a few words.

    Example:
        >>> rows = pd.DataFrame({"encoder": "e", "task": "sid", "contrast": "a vs b", "layers": "all layers",
        ...     "scale": "log_odds", "twin": [None, "random:e"], "excess": [0.3, 0.1], "p": [0.01, 0.4]})
        >>> slope_title(rows, "sid", "a vs b")
        'over all layers e has a slope, but none beyond its untrained twin’s is shown'
    """
    rows = slopes[(slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["layers"] == ALL)]
    rows = rows[(rows["scale"] == "log_odds") & ~rows["encoder"].map(is_untrained).astype(bool)]
    alone, beside = (bool((rows.loc[twin, "p"] < 0.05).any()) for twin in (rows["twin"].isna(), rows["twin"].notna()))
    twinned = bool(rows["twin"].notna().any())
    return say("pattern.title", encoder=rows["encoder"].iloc[0], alone=alone, beside=beside, twinned=twinned)


def scales_title(slopes: pd.DataFrame, task: str, contrast: str) -> str:
    """What the three scales say of one task, one contrast and one encoder, in a few words.

    Example:
        >>> rows = pd.DataFrame({"task": "sid", "contrast": "a vs b", "layers": "all layers", "twin": None,
        ...     "scale": ["difference", "ratio"], "excess": [0.2, -0.1], "gap": 1.0, "gap_p": 0.01, "p": [0.01, 0.4]})
        >>> scales_title(rows, "sid", "a vs b")
        'the difference rises with the error; no trend is shown for the ratio'
    """
    found: dict[str, list[str]] = {}
    judged = primary(slopes, task, contrast)
    for scale, row in judged.iterrows():
        shown = row["p"] < 0.05 and row["gap_p"] < 0.05
        trend = "none" if not shown else "rises" if row["excess"] * row["gap"] > 0 else "falls"
        found.setdefault(trend, []).append(SCALE_WORDS[str(scale)])
    return say("pattern.scales", found=found, twinned=bool(judged["twin"].notna().any()))
