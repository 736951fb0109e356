"""What is asked of every encoder: where its gap begins, whose it is, and what fine-tuning does to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.base.writing import spans
from fairlib.encoders.names import is_logmel, parsed, untrained_twin
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.finding import Finding, detectable, judged
from fairlib.findings.gap_tables import SATURATED, contrasts, controls, gaps, main_contrast, the_encoder
from fairlib.findings.rules import MARGIN, claim, rule
from fairlib.findings.wording import estimate_of

FIRST_LAYERS = ("cnn", "0")
BEGINS_CLAIM = claim("begins")
BEGINS_CRITERION = rule("begins")
WHOSE_CLAIM = claim("whose")
WHOSE_CRITERION = rule("whose")
TUNED_CRITERION = rule("tuned")


def where_bias_begins(bias: pd.DataFrame, encoder: str | None = None, contrast: str | None = None) -> Finding:
    """Judge claim C1, "biased from the very first layers on", for one encoder, task and contrast by
    `BEGINS_CRITERION`.

    Args:
        bias: from `fairlib.bias.group_bias`, one task, unit and probe. A column `saturated` is mentioned
            where present.
        encoder: may be left out where the table holds one that is no control.
        contrast: `main_contrast` by default.

    Example:
        >>> rows = [("x", "cnn", 1.0, 0.5, 1.5), ("x", "0", 0.8, 0.2, 1.4), ("x", "1", 0.1, -0.4, 0.6)]
        >>> bias = pd.DataFrame(rows, columns=["encoder", "layer", "estimate", "low", "high"])
        >>> bias = bias.assign(contrast="b vs a", by="group", scale="log_odds")
        >>> where_bias_begins(bias).verdict
        'supported'
    """
    encoder = encoder or the_encoder(bias)
    contrast = contrast or main_contrast(bias, encoder)
    rows = gaps(bias, encoder, contrast)
    layers, biased = list(rows["layer"]), list(rows.loc[rows["biased"], "layer"])
    known = set(rows.loc[np.isfinite(rows["low"]) & np.isfinite(rows["high"]), "layer"])
    too_wrong = list(rows.loc[rows["saturated"], "layer"]) if "saturated" in rows else []
    facts: dict[str, Any] = {
        "encoder": encoder, "by": str(rows["by"].iloc[0]), "contrast": contrast, "layers": layers, "biased": biased,
        "first_layers": FIRST_LAYERS, "side": side_of(rows), "too_wrong": too_wrong,
        "missing": [layer for layer in FIRST_LAYERS if layer not in known],
    }  # fmt: skip
    if facts["missing"]:
        verdict, said = "inconclusive", "unknown"
    else:
        first = rows.set_index("layer").loc[list(FIRST_LAYERS)]
        facts["at"] = {layer: estimate_of(row) for layer, row in first.iterrows()}
        facts["no_gap"] = list(first.index[(first["low"] > -MARGIN) & (first["high"] < MARGIN)])
        facts["detectable"] = detectable(first["low"], first["high"])
        verdict, said = _from_the_first(biased, facts["no_gap"])
    evidence = rows[["encoder", "layer", "contrast", "estimate", "low", "high", "biased"]].to_dict("records")
    return judged("begins", verdict, facts, evidence, rows, said)


def _from_the_first(biased: list[str], no_gap: list[str]) -> tuple[str, str]:
    """The verdict, and what to say, where the first layers' gaps are known."""
    later = set(biased) - set(FIRST_LAYERS)
    if set(FIRST_LAYERS) <= set(biased):
        return "supported", "supported"
    if later and no_gap:
        return "contradicted", "contradicted"
    return "inconclusive", "later" if later else "nowhere"


def whose_gap(bias: pd.DataFrame, differences: pd.DataFrame, encoder: str, contrast: str) -> Finding:
    """Judge by `WHOSE_CRITERION` whether the gap is the encoder's own, against log-mel and the untrained
    twin.

    Args:
        bias: from `fairlib.bias.group_bias`, one task, unit and probe.
        differences: from `control_differences`.

    Controls that the tables do not hold cannot be compared with, and the verdict is then inconclusive.
    """
    rows, twin_name = gaps(bias, encoder, contrast), untrained_twin(encoder)
    here = set(bias.loc[bias["contrast"] == contrast, "encoder"])
    facts: dict[str, Any] = {
        "encoder": encoder, "by": str(rows["by"].iloc[0]), "contrast": contrast, "layers": list(rows["layer"]),
        "erring": _erring(bias, encoder, contrast),
        "lacking": [control for control in ("logmel", twin_name) if control not in here],
    }  # fmt: skip
    if facts["lacking"] or not rows["biased"].any():
        said = "lacking" if facts["lacking"] else "no_gap"
        return judged("whose", "inconclusive", facts, _whose_evidence(rows), rows, said)
    twin = gaps(bias, twin_name, contrast).set_index("layer")
    of_scale = {
        scale: differences[(differences["contrast"] == contrast) & (differences["scale"] == scale)]
        for scale in ("log_odds", "difference")
    }
    apart = of_scale["log_odds"]
    mel = _signal(bias, apart, contrast)
    where = _against_controls(rows, mel, twin, apart, twin_name)
    in_points = _in_points(bias, encoder, contrast, of_scale["difference"], twin_name)
    side = np.sign(rows.loc[rows["biased"], "estimate"].sum())
    beside = apart[apart["encoder_b"].isin(mel["encoder"])]
    # Of two that err alike on everybody there is no interval; where they do on one group alone, nothing is ruled out.
    alike = beside["estimate"].where(beside["estimate"] == 0, side * np.inf)
    most = side * beside["high" if side > 0 else "low"].fillna(alike)
    if where["above_both"]:
        verdict = "supported"
    elif (side * mel["low" if side > 0 else "high"] > 0).all() and (most < MARGIN).all():  # log-mel has it, too
        verdict = "depends on the scale" if in_points["above_logmel"] else "contradicted"
    else:
        verdict = "depends on the scale" if in_points["above_both"] else "inconclusive"
    spectrograms = mel.drop_duplicates("encoder")
    facts |= where | {
        "in_points": in_points, "detectable": detectable(beside["low"], beside["high"]) if len(beside) else None,
        "logmel": [{"gap": estimate_of(row), "heard_ms": parsed(row["encoder"]).heard_ms}
                   for row in spectrograms.to_dict("records")],
    }  # fmt: skip
    # Each encoder's gap, and how much the gaps differ: the verdict rests on both.
    evidence = _whose_evidence(pd.concat([rows, spectrograms, twin.reset_index(), apart]))
    return judged("whose", verdict, facts, evidence, rows)


def _whose_evidence(rows: pd.DataFrame) -> list[dict]:
    columns = ["encoder", "layer", "contrast", "estimate", "low", "high", "encoder_b", "p_holm"]
    return rows[[column for column in columns if column in rows]].to_dict("records")


def _in_points(bias: pd.DataFrame, encoder: str, contrast: str, apart: pd.DataFrame, twin_name: str) -> dict:
    """As `_against_controls`, of the gap as a difference between error rates."""
    if apart.empty:
        return {"above_logmel": [], "above_twin": [], "above_both": []}
    mel = _signal(bias, apart, contrast, "difference")
    twin = gaps(bias, twin_name, contrast, "difference").set_index("layer")
    rows = gaps(bias, encoder, contrast, "difference")
    return _against_controls(rows, mel, twin, apart, twin_name)


def _signal(bias: pd.DataFrame, apart: pd.DataFrame, contrast: str, scale: str = "log_odds") -> pd.DataFrame:
    """By layer, the gap of the log-mel that it is compared with."""
    spectrograms = apart[apart["encoder_b"].map(is_logmel).astype(bool)]
    of_layer = dict(zip(spectrograms["layer"], spectrograms["encoder_b"])) or {"": "logmel"}
    rows = [gaps(bias, control, contrast, scale).iloc[0] for control in of_layer.values()]
    return pd.DataFrame(rows, index=pd.Index(of_layer, name="of_layer"))


def _against_controls(
    rows: pd.DataFrame, mel: pd.DataFrame, twin: pd.DataFrame, apart: pd.DataFrame, twin_name: str
) -> dict[str, list[str]]:
    """The layers whose gap is shown to be above or below log-mel's, above the twin's, and above both."""
    shown = apart[apart["p_holm"] < 0.05].set_index(["layer", "encoder_b"])["estimate"]
    found: dict[str, list[str]] = {"above_logmel": [], "below_logmel": [], "above_twin": []}
    for row in rows.itertuples():
        signal = mel.loc[row.layer] if row.layer in mel.index else mel.iloc[0]
        from_mel = shown.get((row.layer, signal["encoder"]), 0.0)
        if row.estimate * signal["estimate"] >= 0 and row.biased and from_mel * row.estimate > 0:
            found["above_logmel"].append(row.layer)
        if row.estimate * signal["estimate"] >= 0 and from_mel * signal["estimate"] < 0:
            found["below_logmel"].append(row.layer)
        same_side = row.layer in twin.index and row.estimate * twin.loc[row.layer, "estimate"] >= 0
        if same_side and row.biased and shown.get((row.layer, twin_name), 0.0) * row.estimate > 0:
            found["above_twin"].append(row.layer)
    return found | {"above_both": [layer for layer in found["above_logmel"] if layer in found["above_twin"]]}


def after_fine_tuning(bias: pd.DataFrame, differences: pd.DataFrame, tuned: str, contrast: str) -> Finding:
    """Judge by `TUNED_CRITERION` what fine-tuning did to the gap.

    Args:
        bias: from `fairlib.bias.group_bias`, one task, unit and probe, with the fine-tuned and the pretrained encoder.
        differences: the fine-tuned encoder's gap less the pretrained one's at each layer, from `bias_differences`.
        tuned: the fine-tuned encoder.
    """
    apart = differences[(differences["contrast"] == contrast) & (differences["scale"] == "log_odds")].set_index("layer")
    pretrained = str(apart["encoder_b"].iloc[0])
    before, after = (gaps(bias, name, contrast).set_index("layer") for name in (pretrained, tuned))
    layers = list(before.index)
    touched = errs_otherwise(apart)
    changed = touched & (apart["p_holm"] < 0.05)
    biased = [layer for layer in layers if before.loc[layer, "biased"] and touched[layer]]
    sign = np.sign(before["estimate"])
    smaller = [layer for layer in biased if changed[layer] and apart.loc[layer, "estimate"] * sign[layer] < 0]
    larger = [layer for layer in biased if changed[layer] and apart.loc[layer, "estimate"] * sign[layer] > 0]
    still = [
        layer for layer in biased if after.loc[layer, "biased"] and np.sign(after.loc[layer, "estimate"]) == sign[layer]
    ]
    same = all(-MARGIN < apart.loc[layer, "low"] and apart.loc[layer, "high"] < MARGIN for layer in biased)
    columns = ["encoder", "layer", "encoder_b", "estimate", "low", "high", "p_holm"]
    evidence = apart.reset_index()[columns].to_dict("records")
    reach, moved = apart.loc[biased].dropna(subset=["low", "high"]), apart[changed]
    facts = {
        "encoder": tuned, "before": pretrained, "by": str(before["by"].iloc[0]), "contrast": contrast,
        "layers": layers, "biased": biased, "still": still, "smaller": smaller, "larger": larger,
        "detectable": detectable(reach["low"], reach["high"]) if len(reach) else None,
        "changed": list(moved.index), "most": moved["estimate"].abs().max() if len(moved) else None,
    }  # fmt: skip
    verdict = "supported" if same else "contradicted" if smaller or larger else "inconclusive"
    if not biased:
        return judged("tuned", "inconclusive", facts, evidence, before, said="no_gap")
    return judged("tuned", verdict, facts, evidence, before)


def errs_otherwise(apart: pd.DataFrame) -> pd.Series:
    """By layer, whether any error differs before and after; a frozen layer has the very same.

    Where those of one group alone are the same there is no interval, and yet a change.

    Args:
        apart: rows of `fairlib.bias.bias_differences`.

    Example:
        >>> rows = {"estimate": [0.0, 0.2, 0.1], "low": [0.0, np.nan, -0.1], "high": [0.0, np.nan, 0.3]}
        >>> errs_otherwise(pd.DataFrame(rows)).tolist()
        [False, True, True]
    """
    return (apart["high"] - apart["low"] > 1e-9) | (apart["estimate"] != 0)


def tuned_table(found: Mapping[str, Finding]) -> pd.DataFrame:
    """How much the gap changed at each layer, by task, from `after_fine_tuning`."""
    rows = []
    for task, finding in found.items():
        for row in finding.evidence:
            same = row["estimate"] == 0 and np.isnan(row["p_holm"])  # not one error differs
            rows.append(
                {
                    "task": TASKS[task].title,
                    "layer": row["layer"],
                    "after less before": "the very same errors" if same else with_interval("log odds", row),
                    "p (Holm)": "" if same else Number("p", row["p_holm"]),
                }
            )
    return pd.DataFrame(rows)


def side_of(rows: pd.DataFrame) -> int:
    """Whether the first group has the higher error at all biased layers of `gaps` (1), the lower (-1), or neither."""
    signs = set(np.sign(rows.loc[rows["biased"], "estimate"]))
    return int(signs.pop()) if len(signs) == 1 else 0


def _erring(bias: pd.DataFrame, encoder: str, contrast: str) -> dict[str, float]:
    """Controls that err so often that they could hardly show a gap, with their lowest error; what is said of them rests
    on little."""
    if "overall" not in bias:
        return {}
    chosen = bias[bias["encoder"].isin(controls(encoder)) & (bias["contrast"] == contrast)]
    lowest = chosen.groupby("encoder", sort=False)["overall"].min()
    return lowest[lowest > SATURATED].to_dict()


def all_contrasts(tables: dict[str, pd.DataFrame], encoder: str) -> pd.DataFrame:
    """Verdict of C1 and the biased layers for each contrast of each group column; without rows where there is none."""
    rows = []
    for by, bias in tables.items():
        for contrast in contrasts(bias):
            gap = gaps(bias, encoder, contrast)
            layers = list(gap["layer"])
            clear = gap[gap["biased"]]
            rows.append(
                {
                    "recorded": by.replace("_", " "),
                    "contrast": contrast,
                    "speakers": f"{gap['n_speakers_a'].iloc[0]} vs {gap['n_speakers_b'].iloc[0]}",
                    "biased from the first layers on?": where_bias_begins(bias, encoder, contrast).verdict,
                    "biased layers": spans(layers, list(clear["layer"])),
                    "log odds ratio, all layers": Cell(
                        Number("log odds", gap["estimate"].min()), " to ", Number("log odds", gap["estimate"].max())
                    ),
                }
            )
    columns = ("recorded", "contrast", "speakers", "biased from the first layers on?", "biased layers")
    return pd.DataFrame(rows, columns=[*columns, "log odds ratio, all layers"])
