"""How long a character probe was trained: whether its error, and the gap, have come to rest."""

from __future__ import annotations

import pandas as pd

from fairlib.bias import BiasError, group_bias
from fairlib.display.words import interval, percent
from fairlib.findings.gap_tables import gaps, main_contrast, mean_error
from fairlib.outcomes import published_outcomes
from fairlib.probes import CharacterProbe

PASSES = (6, 12, 24)


def passes_table(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """Error and gap in characters after more and more passes over the training speech, as far as they are published, as
    text for reading; empty where there are fewer than two."""
    rows = []
    for passes in PASSES:
        outcomes = published_outcomes(encoder, corpus, "asr", CharacterProbe(passes=passes).name)
        outcomes = outcomes[outcomes["unit"] == "char"]
        if outcomes.empty or by not in outcomes:
            continue
        try:
            bias = group_bias(outcomes, by=by, permutations=200)
        except BiasError:
            continue
        contrast = main_contrast(bias, encoder)
        best = mean_error(outcomes).set_index("layer")["error"].idxmin()
        of_layer = outcomes[outcomes["layer"] == best]
        gap = gaps(bias, encoder, contrast).set_index("layer").loc[best]
        total = of_layer["length"].sum()
        rows.append(
            {
                "passes": passes,
                "character error rate": percent(of_layer["errors"].sum() / total),
                "left out": percent(of_layer["deletions"].sum() / total),
                f"log odds ratio, {contrast}": interval(gap["estimate"], gap["low"], gap["high"]),
            }
        )
    return pd.DataFrame(rows) if len(rows) > 1 else pd.DataFrame()
