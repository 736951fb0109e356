"""Where? Whether an encoder's gap differs between its layers at all: the question of the book's title."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.bias import gap_profile
from fairlib.bias.profile import OTHERS
from fairlib.encoders.names import encoder_label
from fairlib.findings.finding import Finding, not_asked, of_people
from fairlib.findings.rules import MARGIN, claim, rule
from fairlib.writing import interval, layers_named, p_value

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
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{encoder_label(encoder)} has one layer.")
    profile = gap_profile(own, by=by)
    chosen = {"contrast": contrast, "scale": "log_odds", "against": OTHERS}
    rows = profile[np.logical_and.reduce([profile[name] == value for name, value in chosen.items()])]
    if contrast not in set(profile["contrast"]):
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{contrast} is no comparison of two groups.")
    if rows["p"].isna().all():
        why = (
            "at some layer as many units are wrong as there are or more, or nobody differs from anybody: gaps cannot be"
        )
        return not_asked(WHERE_CLAIM, WHERE_CRITERION, f"{why} compared.")
    layers, apart = list(rows["layer"]), rows[rows["p"] < 0.05]
    within = (rows["low"] > -MARGIN).all() and (rows["high"] < MARGIN).all()
    reach = f"{rows['detectable'].median():.2f}"
    joint = f"all layers together: p {p_value(rows['p_joint'].iloc[0])}"
    name = encoder_label(encoder)
    if len(apart):
        most = apart.loc[apart["estimate"].abs().idxmax()]
        side = "larger" if most["estimate"] > 0 else "smaller"
        small = f", less than {MARGIN} at every layer" if within else ""
        all_of_them = f" Shown to differ are {layers_named(layers, list(apart['layer']))}." if len(apart) > 1 else ""
        verdict, sentence = "supported", (
            f"The gap of {name} is {side} at {layers_named(layers, [most['layer']])} than at its other layers, by"
            f" {interval(most['estimate'], most['low'], most['high'])} in log odds{small} ({joint}).{all_of_them}"
        )  # fmt: skip
    elif within:
        verdict, sentence = "contradicted", (
            f"No layer of {name} has a gap that is more than {MARGIN} in log odds larger or smaller than the others'"
            f" ({joint})."
        )  # fmt: skip
    else:
        verdict, sentence = "inconclusive", (
            f"No layer's gap in {name} is shown to differ from the other layers' ({joint}). A difference of {reach} in"
            " log odds would be detected in four out of five studies of this size."
        )  # fmt: skip
    columns = ["layer", "gap", "estimate", "low", "high", "p", "p_joint", "detectable"]
    found = Finding(WHERE_CLAIM, WHERE_CRITERION, verdict, sentence, rows[columns].to_dict("records"))
    return of_people(found, rows, str(rows["by"].iloc[0]), contrast)
