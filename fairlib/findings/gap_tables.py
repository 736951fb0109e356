"""Tables of errors and gaps, as findings are made from them and pages show them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fairlib.base.tasks import unit_named
from fairlib.base.writing import listing
from fairlib.bias import (
    FEWEST_SHOWN,
    bias_differences,
    group_bias,
    group_columns,
    groups_of_speakers,
    layer_order,
    only_groups,
)
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.bias.contrasts import BETWEEN, WORST
from fairlib.corpora.recordings import recording_noise
from fairlib.encoders import LOGMEL_AROUND, encoder_layers, logmel_as_wide
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin
from fairlib.findings.cells import Number, error_of, with_interval
from fairlib.findings.rules import NUMBERS

SATURATED = NUMBERS["saturated"]
SCALES = {  # by scale, what a table's column is called and what its numbers are
    "difference": ("difference, points", "difference"), "ratio": ("ratio", "ratio"),
    "log_odds": ("log odds ratio", "log odds"),
}  # fmt: skip


def controls(encoder: str) -> list[str]:
    """Encoders to set beside this one: its untrained twin and log-mel, where they make sense.

    Example:
        >>> controls("pocket-hubert"), controls("logmel")
        (['random:pocket-hubert', 'logmel'], [])
    """
    if encoder == "logmel":
        return []
    return ["logmel"] if is_untrained(encoder) else [untrained_twin(encoder), "logmel"]


def controls_in_context(encoder: str) -> list[str]:
    """`controls`, and the log-mel that hear as much as the encoder's layers do: for probes of single frames.

    Example:
        >>> controls_in_context("pocket-hubert")
        ['random:pocket-hubert', 'logmel', 'logmel-25ms', 'logmel-645ms']
    """
    wide = dict.fromkeys(logmel_as_wide(encoder, layer) for layer in encoder_layers(encoder) or ())
    return [*controls(encoder), *(name for name in wide if name != "logmel" and name != encoder)]


def contrasts(bias: pd.DataFrame) -> list[str]:
    """The contrasts of a bias table in its order, but for those over all groups at once ("worst vs best")."""
    return [contrast for contrast in dict.fromkeys(bias["contrast"]) if contrast not in (WORST, BETWEEN)]


def mean_error(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Error over all speakers (errors / length) of each encoder and layer: encoder, unit, layer, error."""
    total = outcomes.groupby(["encoder", "unit", "layer"], sort=False, observed=True)[["errors", "length"]].sum()
    return (total["errors"] / total["length"]).rename("error").reset_index()


def mark_saturated(table: pd.DataFrame, outcomes: pd.DataFrame, limit: float = SATURATED) -> pd.DataFrame:
    """The table with the error of each layer over all speakers (``overall``), and whether that is above the limit
    (``saturated``).

    Where nearly everything is wrong for everybody, a gap between groups means little. That is said of characters, words
    and phones; a speaker named at random would be wrong far more often than that.
    """
    error = mean_error(outcomes).set_index(["encoder", "unit", "layer"])["error"]
    keys = pd.MultiIndex.from_frame(table[["encoder", "unit", "layer"]])
    saturates = table["unit"].map(lambda unit: unit_named(unit).saturates).to_numpy(bool)
    overall = error.reindex(keys).to_numpy()
    return table.assign(overall=overall, saturated=saturates & (overall > limit))


def gaps(bias: pd.DataFrame, encoder: str, contrast: str, scale: str = "log_odds") -> pd.DataFrame:
    """Rows of one encoder, contrast and scale in the order of the layers, with `biased`: the interval
    excludes no gap and, where the table has it, the family-wise p is below 0.05.

    Raises:
        ValueError: there is no such row.
    """
    rows = bias[(bias["encoder"] == encoder) & (bias["contrast"] == contrast) & (bias["scale"] == scale)]
    if rows.empty:
        raise ValueError(f"the bias table has no row for encoder {encoder!r}, contrast {contrast!r}, scale {scale!r}.")
    if rows["layer"].duplicated().any():
        raise ValueError("the bias table holds several rows per layer: filter it to one task, unit and probe first.")
    rows = rows.set_index("layer").loc[layer_order(rows["layer"].unique())].reset_index()
    neutral = 1.0 if scale == "ratio" else 0.0
    beyond_chance = rows["p_familywise"] < 0.05 if "p_familywise" in rows else True
    return rows.assign(biased=((rows["low"] > neutral) | (rows["high"] < neutral)) & beyond_chance)


def control_differences(outcomes: pd.DataFrame, by: str, encoder: str) -> pd.DataFrame:
    """The gap at each layer of an encoder less log-mel's and less the untrained twin's same layer, in pairs (see
    `fairlib.bias.bias_differences`). Controls that the outcomes do not hold are left out; the table may be empty. Of
    log-mel it is the one that hears as much as the layer, where the outcomes hold it.
    """
    there = set(outcomes[["encoder", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    pairs = []
    for layer in layer_order(outcomes.loc[outcomes["encoder"] == encoder, "layer"].unique()):
        as_wide = logmel_as_wide(encoder, layer)
        signal = (as_wide if (as_wide, "logmel") in there else "logmel", "logmel")
        for control in (signal, (untrained_twin(encoder), layer)):
            if control in there and control[0] != encoder:
                pairs.append(((encoder, layer), control))
    return bias_differences(outcomes, by, pairs) if pairs else pd.DataFrame()


def ladder_table(outcomes: pd.DataFrame, bias: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Error and gap of each log-mel that the outcomes hold, from the one that hears least.

    Args:
        outcomes: of one task, unit and probe.
        bias: of the same, from `fairlib.bias.group_bias`.
    """
    error = mean_error(outcomes).set_index("encoder")["error"]
    names = [name for name in ("logmel-25ms", "logmel", *LOGMEL_AROUND) if name in set(bias["encoder"])]
    rows = []
    for name in dict.fromkeys(names):
        gap = gaps(bias, name, contrast).iloc[0]
        heard = LOGMEL_AROUND.get(name)
        rows.append(
            {
                "context of a frame": "35 ms, off centre" if heard is None else f"{25 + 20 * heard} ms",
                unit_named(outcomes["unit"].iloc[0]).error: Number("share", error[name]),
                f"log odds ratio, {contrast}": with_interval("log odds", gap),
            }
        )
    return pd.DataFrame(rows)


def layer_table(errors: pd.DataFrame, bias: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """One row per encoder and layer: each group's error and the gap on three scales."""
    rows = []
    for encoder in dict.fromkeys(bias["encoder"]):
        scales = {scale: gaps(bias, encoder, contrast, scale).set_index("layer") for scale in SCALES}
        mine = errors[errors["encoder"] == encoder]
        for layer in scales["log_odds"].index:
            row = {"encoder": encoder_label(encoder), "layer": "all" if layer == "logmel" else layer}
            for record in mine[mine["layer"] == layer].itertuples():
                row[f"error, {record.group}"] = error_of(record)
            row |= {told: with_interval(kind, scales[scale].loc[layer]) for scale, (told, kind) in SCALES.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def the_encoder(table: pd.DataFrame) -> str:
    """The only encoder of a table that is no control, or else the only one.

    Raises:
        ValueError: there are several.

    Example:
        >>> the_encoder(pd.DataFrame({"encoder": ["logmel", "pocket-hubert", "random:pocket-hubert"]}))
        'pocket-hubert'
    """
    names = list(dict.fromkeys(table["encoder"]))
    trained = [name for name in names if name != "logmel" and not is_untrained(name)] or names
    if len(trained) != 1:
        raise ValueError(f"which encoder? The table holds {listing(trained) or 'none'}: name one.")
    return str(trained[0])


def main_contrast(bias: pd.DataFrame, encoder: str) -> str:
    """The contrast that a chapter leads with: the only one, or the one whose two sides have the most
    speakers.

    The choice looks at group sizes only, never at the gaps, which would make the largest gap look larger than
    it is.
    """
    rows = bias[(bias["encoder"] == encoder) & bias["contrast"].isin(contrasts(bias))].drop_duplicates("contrast")
    if len(rows) == 1:
        return str(rows["contrast"].iloc[0])
    rows = rows.sort_values("contrast").reset_index(drop=True)  # equal sizes: by name
    smaller = rows[["n_speakers_a", "n_speakers_b"]].min(axis=1)
    return str(rows.loc[smaller.idxmax(), "contrast"])


def every_column(outcomes: pd.DataFrame, columns: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """`group_bias` by every column that divides people into two groups or more with enough of them; others are in none.

    Args:
        columns: only these, as far as they do.
    """
    tables = {}
    for column in group_columns(outcomes, FEWEST_SHOWN):
        if columns and column not in columns:
            continue
        sizes = groups_of_speakers(outcomes, column).value_counts()
        kept = only_groups(outcomes, column, sizes.index[sizes >= FEWEST_SHOWN])
        tables[column] = group_bias(kept, by=column)
    return tables


def adjusted_for_recorded(outcomes: pd.DataFrame, by: str, corpus: str, covariates: Sequence[str]) -> pd.DataFrame:
    """`fairlib.bias.adjustment.adjusted_gaps` at equal noise, and with every other recorded group held equal.

    Args:
        outcomes: of one encoder, task and unit.
        corpus: whose recordings they are of; its noise is estimated from the pauses.
        covariates: columns of the outcomes that are held equal, too.
    """
    others = [column for column in group_columns(outcomes, FEWEST_SHOWN) if column != by]
    measured = outcomes.assign(snr_db=outcomes["utterance_id"].map(recording_noise(corpus)))
    return adjusted_gaps(measured, by=by, covariates=[*covariates, "snr_db", *others])


def adjusted_table(adjusted: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Raw and adjusted gaps of one contrast at each layer; a failed regression says why."""
    rows = adjusted[adjusted["contrast"] == contrast].set_index("layer")
    scale = {"log_ratio": "log ratio of errors", "log_odds": "log odds ratio"}[str(rows["scale"].iloc[0])]
    table = []
    for layer in layer_order(rows.index):
        row = rows.loc[layer]
        raw = with_interval("log odds", row, ("raw", "raw_low", "raw_high"))
        own = with_interval("log odds", row)
        table.append(
            {
                "layer": layer,
                f"raw {scale}": raw,
                f"adjusted {scale}": own if not row["problem"] else row["problem"],
                "regression": row["family"],
            }
        )
    return pd.DataFrame(table)
