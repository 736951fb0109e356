"""Where? Whether an encoder's gap differs between its layers at all: the question of the book's title."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fairlib.bias import gap_profile
from fairlib.bias.profile import OTHERS
from fairlib.findings.encoder_gap import where_bias_begins, whose_gap
from fairlib.findings.finding import Finding, judged
from fairlib.findings.gap_tables import control_differences
from fairlib.findings.rules import MARGIN, rule
from fairlib.findings.wording import estimate_of, say

WHERE_CRITERION = rule("where")


def do_layers_differ(outcomes: pd.DataFrame, by: str, encoder: str, contrast: str) -> Finding:
    """Judge by `WHERE_CRITERION`.

    Args:
        outcomes: of one task, unit and probe; others than the encoder's are not looked at.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> errors = {"child": [0.3, 0.3, 0.5], "adult": [0.2, 0.2, 0.2]}
        >>> outcomes = simulate_outcomes(errors, speakers=100, by="age_group")
        >>> finding = do_layers_differ(outcomes, "age_group", "simulated", "child vs adult")
        >>> finding.verdict, finding.evidence[2]["layer"]
        ('supported', '2')
    """
    own = outcomes[outcomes["encoder"] == encoder]
    facts: dict[str, Any] = {"encoder": encoder, "by": by, "contrast": contrast}
    if own["layer"].nunique() < 2:
        return judged("where", "inconclusive", facts, [], said="one_layer")
    profile = gap_profile(own, by=by)
    chosen = {"contrast": contrast, "scale": "log_odds", "against": OTHERS}
    rows = profile[np.logical_and.reduce([profile[name] == value for name, value in chosen.items()])]
    if contrast not in set(profile["contrast"]):
        return judged("where", "inconclusive", facts, [], said="no_pair")
    if rows["p"].isna().all():
        return judged("where", "inconclusive", facts, [], said="unknown")
    apart, within = rows[rows["p"] < 0.05], bool((rows["low"] > -MARGIN).all() and (rows["high"] < MARGIN).all())
    facts |= {
        "layers": list(rows["layer"]), "detected": list(apart["layer"]), "within": within,
        "p_largest": float(rows["p"].min()), "p_joint": float(rows["p_joint"].iloc[0]),
        "detectable": [float(rows["detectable"].min()), float(rows["detectable"].max())],
    }  # fmt: skip
    if len(apart):
        most = apart.loc[apart["estimate"].abs().idxmax()]
        facts |= {"most": most["layer"], "apart": estimate_of(most)}
    verdict = "supported" if len(apart) else "contradicted" if within else "inconclusive"
    columns = ["layer", "gap", "estimate", "low", "high", "p", "p_joint", "detectable"]
    return judged("where", verdict, facts, rows[columns].to_dict("records"), rows)


def where_and_whose(
    outcomes: pd.DataFrame, bias: pd.DataFrame, by: str, encoder: str, contrast: str
) -> dict[str, Finding]:
    """What a chapter asks of the gap in a task: does it differ between layers (``where``), is it there from the first
    layers on (``begins``), and does it come from the encoder (``whose``)?

    Args:
        outcomes: of one task, unit and probe, of the encoder and its controls.
        bias: of the same, from `fairlib.bias.group_bias`.
    """
    beside = control_differences(outcomes, by, encoder)
    return {
        "where": do_layers_differ(outcomes, by, encoder, contrast),
        "begins": where_bias_begins(bias, encoder, contrast),
        "whose": whose_gap(bias, beside, encoder, contrast),
    }


def where_verdict(finding: Finding) -> str:
    """The verdict of `do_layers_differ`; where a difference is shown and all are shown to be small, that, too.

    Example:
        >>> where_verdict(Finding("The gap differs.", "", "supported", "", facts={"within": True}))
        'supported, but by less than 0.2 at every layer'
    """
    small = finding.verdict == "supported" and finding.facts["within"]
    return say("where.small") if small else finding.verdict
