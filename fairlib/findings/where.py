"""Where? Whether an encoder's gap differs between its layers at all: the question of the book's title."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.bias import gap_profile
from fairlib.bias.contrasts import sides
from fairlib.bias.profile import OTHERS
from fairlib.encoders.names import encoder_label
from fairlib.findings.finding import Finding, not_asked, of_people, power
from fairlib.findings.rules import MARGIN, claim, rule
from fairlib.writing import interval, layers_named, p_words

WHERE_CLAIM = claim("where")
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
    if own["layer"].nunique() < 2:
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{encoder_label(encoder)} has only one layer.")
    profile = gap_profile(own, by=by)
    chosen = {"contrast": contrast, "scale": "log_odds", "against": OTHERS}
    rows = profile[np.logical_and.reduce([profile[name] == value for name, value in chosen.items()])]
    if contrast not in set(profile["contrast"]):
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{contrast} does not compare two groups.")
    if rows["p"].isna().all():
        why = "at some layer there are as many errors as units or more, or all speakers err alike, so that gaps"
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{why} cannot be compared.")
    layers, apart = list(rows["layer"]), rows[rows["p"] < 0.05]
    within = (rows["low"] > -MARGIN).all() and (rows["high"] < MARGIN).all()
    joint = f"joint test over layers: {p_words(rows['p_joint'].iloc[0])}"
    name = encoder_label(encoder)
    if len(apart):
        most = apart.loc[apart["estimate"].abs().idxmax()]
        first, _ = sides(str(rows["by"].iloc[0]), contrast)
        side = "disadvantage" if most["estimate"] > 0 else "advantage"
        every = f" Detectable differences: {layers_named(layers, list(apart['layer']))}." if len(apart) > 1 else ""
        small = f" At every layer a difference of more than {MARGIN} is ruled out." if within else ""
        verdict, sentence = "supported", (
            f"The gap of {name} at {layers_named(layers, [most['layer']])} differs from the mean of its other layers by"
            f" {interval(most['estimate'], most['low'], most['high'])} in log odds, to the {side} of {first}"
            f" ({joint}).{every}{small}"
        )  # fmt: skip
    elif within:
        verdict, sentence = "contradicted", (
            f"In {name}, a difference of more than {MARGIN} in log odds between any layer's gap and the other layers'"
            f" is ruled out ({joint})."
        )  # fmt: skip
    else:
        verdict, sentence = "inconclusive", (
            f"No layer's gap differs detectably from the others' in {name} ({joint}). "
            + power(f"a difference of {rows['detectable'].median():.2f} in log odds")
        )  # fmt: skip
    columns = ["layer", "gap", "estimate", "low", "high", "p", "p_joint", "detectable"]
    found = Finding(WHERE_CLAIM, WHERE_CRITERION, verdict, sentence, rows[columns].to_dict("records"))
    return of_people(found, rows, str(rows["by"].iloc[0]), contrast)


def where_verdict(finding: Finding) -> str:
    """The verdict of `do_layers_differ`; where a difference is shown and all are shown to be small, that, too.

    Example:
        >>> small = [{"layer": "0", "low": 0.01, "high": 0.05}, {"layer": "1", "low": -0.05, "high": 0.02}]
        >>> where_verdict(Finding("The gap differs.", "", "supported", "", small))
        'supported, but by less than 0.2 at every layer'
    """
    ends = [abs(row[end]) for row in finding.evidence for end in ("low", "high") if end in row]
    small = finding.verdict == "supported" and ends and max(ends) < MARGIN
    return finding.verdict + (f", but by less than {MARGIN:g} at every layer" if small else "")
