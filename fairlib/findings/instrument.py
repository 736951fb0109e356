"""How good an instrument the character probe is: trained for longer, or a stronger one, does the gap stay?"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from fairlib.base.files import ASSETS
from fairlib.bias import BiasError, group_bias
from fairlib.encoders import finetuned_from, our_encoders
from fairlib.encoders.names import encoder_label
from fairlib.findings.cells import Number, with_interval
from fairlib.findings.gap_tables import controls, gaps, main_contrast, mean_error
from fairlib.findings.wording import say
from fairlib.outcomes import published_outcomes
from fairlib.probes import CharacterProbe

HEADS = ASSETS / "heads.csv"  # what `bench.character_heads` measured
PASSES = (2, 4, 6, 12, 24)  # as far as they are published; 6 are usual


def measured_with(encoder: str, corpus: str) -> str:
    """The encoder on which stronger probes were trained on these people: this one, or else another of ours; this one,
    too, where none was.

    Example:
        >>> measured_with("mini-hubert", "speechocean762"), measured_with("mini-hubert", "planted")
        ('pocket-hubert', 'mini-hubert')
    """
    heads = pd.read_csv(HEADS)
    measured = heads.loc[heads["corpus"] == corpus, "encoder"].unique()
    ours = [name for name in our_encoders() if name in measured]
    return encoder if encoder in measured or not ours else ours[0]


def passes_table(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """Error and gap in characters after more and more passes over the training speech, as far as they are published:
    of an encoder, of those fine-tuned from it, and of its controls, each at the layer that is best then. Encoders with
    fewer than two are left out."""
    tuned = [name for name in our_encoders() if (finetuned_from(name) or ("",))[0] == encoder]
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
                    "deletions": Number("share", of_layer["deletions"].sum() / total),
                    f"log odds ratio, {contrast}": with_interval("log odds", gap),
                }
            )  # fmt: skip
        rows += mine if len(mine) > 1 else []
    return pd.DataFrame(rows)


def stronger_table(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """Error and gap in characters of one layer by the usual probe and by stronger ones (`bench.character_heads`), of an
    encoder and its controls, as far as they were trained on these people; empty where none was on the encoder."""
    measured = pd.read_csv(HEADS, dtype={"layer": str})
    measured = measured[measured["corpus"] == corpus]
    if encoder not in set(measured["encoder"]) or by not in measured:
        return pd.DataFrame()
    rows = []
    for name in (encoder, *controls(encoder)):
        mine = measured[measured["encoder"] == name]
        for layer, contrast in mine[["layer", by]].drop_duplicates().itertuples(index=False):
            rows += [_usual(name, corpus, by, contrast, layer, passes) for passes in (6, 12)]
        for row in mine.to_dict("records"):
            gap = {end: row[f"{by}_{end}"] for end in ("estimate", "low", "high")}
            rows.append(_heads_row(name, row["layer"], f"{row['probe']}, {row['passes']} passes", row, row[by], gap))
    return pd.DataFrame([row for row in rows if row])


def stronger_sentence(encoder: str, corpus: str, by: str) -> str:
    """How much lower the character error is with the best of the stronger probes, and how many probes show a gap."""
    table = stronger_table(encoder, corpus, by)
    mine = table[table["encoder"] == encoder_label(encoder)] if len(table) else table
    if mine.empty:
        return say("instrument.none")
    errors = mine["character error rate"].map(lambda cell: cell.value)
    best = errors.idxmin()
    gap = mine.columns[-1]
    beyond = sum(cell.low > 0 or cell.high < 0 for cell in mine[gap])
    return say(
        "instrument.stronger", encoder=encoder, layer=mine["layer"].iloc[0], usual=mine["probe"].iloc[0],
        error=errors.iloc[0], best=mine["probe"][best], lowest=errors[best], probes=len(mine), beyond=beyond,
    )  # fmt: skip


def _usual(encoder: str, corpus: str, by: str, contrast: str, layer: str, passes: int) -> dict:
    """The same of the probe with two convolutions, where it is published."""
    outcomes = published_outcomes(encoder, corpus, "asr", CharacterProbe(passes=passes).name)
    units = {unit: one for unit, one in outcomes[outcomes["layer"] == layer].groupby("unit")}
    if not {"char", "word"} <= set(units):
        return {}
    gap = gaps(group_bias(units["char"], by=by, permutations=200), encoder, contrast).iloc[0]
    shares = {unit: one["errors"].sum() / one["length"].sum() for unit, one in units.items()}
    shares["deletions"] = units["char"]["deletions"].sum() / units["char"]["length"].sum()
    return _heads_row(encoder, layer, f"two convolutions, {passes} passes", shares, contrast, gap)


def _heads_row(encoder: str, layer: str, probe: str, shares: Mapping, contrast: str, gap: Mapping | pd.Series) -> dict:
    return {
        "encoder": encoder_label(encoder),
        "layer": layer,
        "probe": probe,
        "character error rate": Number("share", shares["char"]),
        "word error rate": Number("share", shares["word"]),
        "deletions": Number("share", shares["deletions"]),
        f"log odds ratio, {contrast}": with_interval("log odds", gap),
    }
