"""Claim C2 as a finding: does bias go with error from layer to layer, by more than the scale's own arithmetic?"""

from __future__ import annotations

import pandas as pd

from fairlib.display.words import SCALE_WORDS, encoder_label, interval, listing
from fairlib.findings import FEWEST_RULE, Finding, of_people
from fairlib.tasks import TASKS

RULE = (
    "Bias goes with error in an encoder, task and scale when Spearman's rank correlation over layers between the error"
    " and the size of the gap lies outside the central 95 % of what one odds ratio for all layers gives (p below 0.05)"
    " on the far side of zero, and its 95 % interval excludes zero. C2 is supported where that is the direction it"
    " claims, contradicted where it is the other one, inconclusive otherwise." + FEWEST_RULE
)


def c2_finding(associations: pd.DataFrame, task: str, contrast: str, scale: str = "log_odds") -> Finding:
    """What `bias_error_association` found of claim C2 for one task and scale, as a finding.

    Args:
        associations: of one encoder.
    """
    chosen = associations[(associations["task"] == task) & (associations["contrast"] == contrast)]
    row = chosen.set_index("scale").loc[scale]
    name = encoder_label(row["encoder"])
    known = (
        f"rank correlation over {row['n_layers']} layers {interval(row['estimate'], row['low'], row['high'])}; one odds"
        f" ratio for all layers would give {interval(row['null_mean'], row['null_low'], row['null_high'])}"
    )
    words = {
        "rises with error": f"In {name} the gap is larger in the layers that err more ({known}).",
        "falls with error": f"In {name} the gap is larger in the layers that err less ({known}).",
        "as constant odds would": f"In {name} the gap goes with error only as one odds ratio for all layers would have"
        f" it ({known}).",
        "no odds to compare with": f"In {name} some layers err in more units than there are: there are no odds to"
        f" compare with ({known}).",
        "not shown": f"In {name} no association between gap and error is shown ({known}).",
    }
    found = Finding(TASKS[task].c2_claim, RULE, row["verdict"], words[row["association"]], chosen.to_dict("records"))
    return of_people(found, chosen, str(row["by"]), contrast)


def scales_title(associations: pd.DataFrame) -> str:
    """What the three scales say of one task, one contrast and one encoder, in a few words.

    Example:
        >>> rows = pd.DataFrame({"scale": ["difference", "ratio"], "association": ["rises with error", "not shown"]})
        >>> scales_title(rows)
        'on the scale of the difference the gap rises with error; on that of the ratio no pattern is shown'
    """
    words = {
        "not shown": "no pattern is shown",
        "as constant odds would": "the gap goes with error as one odds ratio would have it",
        "no odds to compare with": "there are no odds to compare with",
    }
    said: dict[str, list[str]] = {}
    for row in associations.itertuples():
        said.setdefault(words.get(row.association, f"the gap {row.association}"), []).append(SCALE_WORDS[row.scale])
    if len(said) == 1 and len(associations) > 1:
        return f"on every scale {next(iter(said))}"
    return "; ".join(
        f"on {'that' if place else 'the scale'} of the {listing(scales)} {what}"
        for place, (what, scales) in enumerate(said.items())
    )
