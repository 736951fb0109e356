"""How long a character probe was trained: whether its error, and the gap, have come to rest."""

from __future__ import annotations

import pandas as pd

from fairlib.bias import BiasError, group_bias
from fairlib.encoders import finetuned_from, shipped_encoders
from fairlib.encoders.names import encoder_label
from fairlib.findings.cells import Number, with_interval
from fairlib.findings.gap_tables import controls, gaps, main_contrast, mean_error
from fairlib.outcomes import published_outcomes
from fairlib.probes import CharacterProbe

PASSES = (2, 4, 6, 12, 24)  # as far as they are published; 6 are usual


def passes_table(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """Error and gap in characters after more and more passes over the training speech, as far as they are published:
    of an encoder, of those fine-tuned from it, and of its controls, each at the layer that is best then. Encoders with
    fewer than two are left out."""
    tuned = [name for name in shipped_encoders() if (finetuned_from(name) or ("",))[0] == encoder]
    rows = []
    for name in (encoder, *tuned, *controls(encoder)):
        mine = []
        for passes in PASSES:
            outcomes = published_outcomes(name, corpus, "asr", CharacterProbe(passes=passes).name)
            outcomes = outcomes[outcomes["unit"] == "char"]
            if outcomes.empty or by not in outcomes:
                continue
            try:
                bias = group_bias(outcomes, by=by, permutations=200)
            except BiasError:
                continue
            contrast = main_contrast(bias, name)
            best = mean_error(outcomes).set_index("layer")["error"].idxmin()
            of_layer = outcomes[outcomes["layer"] == best]
            gap = gaps(bias, name, contrast).set_index("layer").loc[best]
            total = of_layer["length"].sum()
            mine.append(
                {
                    "encoder": encoder_label(name), "passes": passes,
                    "character error rate": Number("share", of_layer["errors"].sum() / total),
                    "left out": Number("share", of_layer["deletions"].sum() / total),
                    f"log odds ratio, {contrast}": with_interval("log odds", gap),
                }
            )  # fmt: skip
        rows += mine if len(mine) > 1 else []
    return pd.DataFrame(rows)
