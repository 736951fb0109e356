"""What is asked of every encoder: where its gap begins, whose it is, and what fine-tuning does to it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.bias.contrasts import sides
from fairlib.encoders.names import encoder_label, is_logmel, parsed, untrained_twin
from fairlib.findings.cells import Cell, Number
from fairlib.findings.finding import Finding, detectable, of_people, power
from fairlib.findings.gap_tables import SATURATED, contrasts, controls, gaps, main_contrast, the_encoder
from fairlib.findings.rules import MARGIN, claim, rule
from fairlib.writing import interval, layers_named, listing, percent, spans

FIRST_LAYERS = ("cnn", "0")


BEGINS_CLAIM = claim("begins")


BEGINS_CRITERION = rule("begins")


WHOSE_CLAIM = claim("whose")


WHOSE_CRITERION = rule("whose")


TUNED_CLAIM = claim("tuned")


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
    by, name = str(rows["by"].iloc[0]), encoder_label(encoder)
    first, second = sides(by, contrast)
    layers = list(rows["layer"])
    biased = list(rows.loc[rows["biased"], "layer"])
    known = list(rows.loc[np.isfinite(rows["low"]) & np.isfinite(rows["high"]), "layer"])

    def finding(verdict: str, sentence: str) -> Finding:
        evidence = rows[["encoder", "layer", "contrast", "estimate", "low", "high", "biased"]].to_dict("records")
        found = Finding(BEGINS_CLAIM, BEGINS_CRITERION, verdict, sentence + _saturation_note(rows), evidence)
        return of_people(found, rows, by, contrast)

    missing = [layer for layer in FIRST_LAYERS if layer not in known]
    if missing:
        return finding(
            "inconclusive",
            f"At {layers_named(FIRST_LAYERS, missing)} of {name} no gap with an interval can be estimated.",
        )
    at = ", ".join(
        f"layer {layer} {interval(*rows.set_index('layer').loc[layer, ['estimate', 'low', 'high']].astype(float))}"
        for layer in FIRST_LAYERS
    )
    if set(FIRST_LAYERS) <= set(biased):
        sentence = (
            f"In {name} the errors of {first} and {second} differ from the first layers on (log odds ratio of error:"
            f" {at}); {fares(rows, first, second)} at {len(biased)} of {len(layers)} layers ({spans(layers, biased)})."
        )
        return finding("supported", sentence)
    return finding(*_not_from_the_first(rows, name, first, second, at))


def _not_from_the_first(rows: pd.DataFrame, name: str, first: str, second: str, at: str) -> tuple[str, str]:
    """Verdict and sentence where the first layers do not both show a gap; ``at`` gives theirs."""
    layers, biased = list(rows["layer"]), list(rows.loc[rows["biased"], "layer"])
    start = [layer for layer in FIRST_LAYERS if layer in biased]
    later = [layer for layer in biased if layer not in FIRST_LAYERS]
    at_first = rows.set_index("layer").loc[list(FIRST_LAYERS)]
    no_gap = [layer for layer, row in at_first.iterrows() if row["low"] > -MARGIN and row["high"] < MARGIN]
    seen = power(f"a gap of {detectable(at_first['low'], at_first['high']):.2f} at the first layers")
    if later and no_gap:
        sentence = (
            f"In {name} a gap of more than {MARGIN} between {first} and {second} is ruled out at"
            f" {layers_named(layers, no_gap)} (log odds ratio of error: {at}), yet {fares(rows, first, second)} at"
            f" {layers_named(layers, biased)}."
        )
        return "contradicted", sentence
    if later:
        sentence = (
            f"In {name} {fares(rows, first, second)} at {layers_named(layers, biased)}, but the first layers neither"
            f" both show a gap nor rule it out (log odds ratio of error: {at}). {seen}"
        )
        return "inconclusive", sentence
    only = f" but {layers_named(layers, start)}" if start else ""
    sentence = (
        f"At no layer{only} of {name} does the gap between {first} and {second} differ detectably from zero (log odds"
        f" ratio of error: {at}). {seen}"
    )
    return "inconclusive", sentence


def whose_gap(bias: pd.DataFrame, differences: pd.DataFrame, encoder: str, contrast: str) -> Finding:
    """Judge by `WHOSE_CRITERION` whether the gap is the encoder's own, against log-mel and the untrained
    twin.

    Args:
        bias: from `fairlib.bias.group_bias`, one task, unit and probe.
        differences: from `control_differences`.

    Controls that the tables do not hold cannot be compared with, and the verdict is then inconclusive.
    """
    rows = gaps(bias, encoder, contrast)
    name = encoder_label(encoder)

    def finding(verdict: str, sentence: str, evidence: pd.DataFrame = rows) -> Finding:
        columns = ["encoder", "layer", "contrast", "estimate", "low", "high", "encoder_b", "p_holm"]
        records = evidence[[column for column in columns if column in evidence]].to_dict("records")
        sentence += _control_note(bias, encoder, contrast)
        found = Finding(WHOSE_CLAIM, WHOSE_CRITERION, verdict, sentence, records)
        return of_people(found, rows, str(rows["by"].iloc[0]), contrast)

    here = set(bias.loc[bias["contrast"] == contrast, "encoder"])
    twin_name = untrained_twin(encoder)
    lacking = [encoder_label(control) for control in ("logmel", twin_name) if control not in here]
    if lacking:
        return finding(
            "inconclusive",
            f"Without outcomes of {listing(lacking)} to compare with, the gap cannot be attributed.",
        )
    if not rows["biased"].any():
        return finding(
            "inconclusive",
            f"{name} shows no gap that could be attributed to the encoder or to the signal.",
        )
    twin = gaps(bias, twin_name, contrast).set_index("layer")
    of_scale = {
        scale: differences[(differences["contrast"] == contrast) & (differences["scale"] == scale)]
        for scale in ("log_odds", "difference")
    }
    apart = of_scale["log_odds"]
    mel = _signal(bias, apart, contrast)
    where = _against_controls(rows, mel, twin, apart, twin_name)
    in_points = _in_points(bias, encoder, contrast, of_scale["difference"], twin_name)
    # Each encoder's gap, and how much the gaps differ: the verdict rests on both.
    evidence = pd.concat([rows, mel.drop_duplicates("encoder"), twin.reset_index(), apart])
    side = np.sign(rows.loc[rows["biased"], "estimate"].sum())
    beside = apart[apart["encoder_b"].isin(mel["encoder"])]
    # Of two that err alike on everybody there is no interval.
    most = beside["high"].fillna(beside["estimate"]) if side > 0 else -beside["low"].fillna(beside["estimate"])
    if where["above both"]:
        verdict = "supported"
    elif mel["biased"].all() and (np.sign(mel["estimate"]) == side).all() and (most < MARGIN).all():
        verdict = "depends on the scale" if in_points["above log-mel"] else "contradicted"
    else:
        verdict = "depends on the scale" if in_points["above both"] else "inconclusive"
    sentence = _whose_words(verdict, name, list(rows["layer"]), mel, where, in_points)
    if verdict == "inconclusive" and len(beside):
        reach = f"{detectable(beside['low'], beside['high']):.2f}"
        sentence += " " + power(f"a difference of {reach} in log odds from log-mel's gap")
    return finding(verdict, sentence, evidence)


def _in_points(bias: pd.DataFrame, encoder: str, contrast: str, apart: pd.DataFrame, twin_name: str) -> dict:
    """As `_against_controls`, of the gap as a difference between error rates."""
    if apart.empty:
        return {"above log-mel": [], "above twin": [], "above both": []}
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
    found: dict[str, list[str]] = {"above log-mel": [], "below log-mel": [], "above twin": []}
    for row in rows.itertuples():
        signal = mel.loc[row.layer] if row.layer in mel.index else mel.iloc[0]
        from_mel = shown.get((row.layer, signal["encoder"]), 0.0)
        if row.estimate * signal["estimate"] >= 0 and row.biased and from_mel * row.estimate > 0:
            found["above log-mel"].append(row.layer)
        if row.estimate * signal["estimate"] >= 0 and from_mel * signal["estimate"] < 0:
            found["below log-mel"].append(row.layer)
        same_side = row.layer in twin.index and row.estimate * twin.loc[row.layer, "estimate"] >= 0
        if same_side and row.biased and shown.get((row.layer, twin_name), 0.0) * row.estimate > 0:
            found["above twin"].append(row.layer)
    return found | {"above both": [layer for layer in found["above log-mel"] if layer in found["above twin"]]}


def _whose_words(
    verdict: str,
    name: str,
    layers: list[str],
    mel: pd.DataFrame,
    where: dict[str, list[str]],
    in_points: dict[str, list[str]],
) -> str:
    above_mel, below_mel, above_twin = (where[what] for what in ("above log-mel", "below log-mel", "above twin"))
    mel_gap = f"log-mel: {_mel_words(mel)}"
    twins = (
        f"larger than its untrained twin's at {layers_named(layers, above_twin)}" if above_twin
        else "at no layer larger than its untrained twin's"
    )  # fmt: skip
    less = f", smaller than log-mel's at {layers_named(layers, below_mel)}" if below_mel else ""
    if verdict == "supported":
        return (
            f"At {layers_named(layers, where['above both'])} the gap of {name} is larger than both controls'"
            f" ({mel_gap}): part of it, at least, is the encoder's own."
        )
    if verdict == "contradicted":
        return (
            f"The plain spectrogram shows the gap too ({mel_gap}). That {name}'s gap exceeds it by more than {MARGIN}"
            f" is ruled out at every layer; it is {twins}{less}."
        )
    more = (
        f"larger than log-mel's at {layers_named(layers, above_mel)}" if above_mel
        else "at no layer detectably larger than log-mel's"
    )  # fmt: skip
    if verdict == "depends on the scale":
        both = in_points["above both"]
        points = f"both controls' at {layers_named(layers, both)}" if both else (
            f"log-mel's at {layers_named(layers, in_points['above log-mel'])}, but at no layer larger than both"
            " controls'"
        )  # fmt: skip
        return (
            f"As an odds ratio, the gap of {name} is {more} ({mel_gap}){less}, and {twins}. As a difference between"
            f" error rates, it is larger than {points}."
        )
    return f"The gap of {name} is {more} ({mel_gap}){less}, and {twins}."


def _mel_words(mel: pd.DataFrame) -> str:
    """What log-mel's gap is, for each stretch of speech that a layer is compared at."""
    said = []
    for row in mel.drop_duplicates("encoder").itertuples():
        wide = parsed(row.encoder).heard_ms
        heard = f" over {wide} ms" if wide else ""
        said.append(f"{interval(row.estimate, row.low, row.high)}{heard}")
    return " and ".join(said)


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
    touched = apart["high"] - apart["low"] > 1e-9  # a frozen layer has the same errors
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
    by = str(before["by"].iloc[0])
    first, second = sides(by, contrast)
    name, base = encoder_label(tuned), encoder_label(pretrained)

    def finding(verdict: str, sentence: str) -> Finding:
        return of_people(Finding(TUNED_CLAIM, TUNED_CRITERION, verdict, sentence, evidence), before, by, contrast)

    if not biased:
        return finding("inconclusive", f"{base} shows no gap between {first} and {second} to begin with.")
    remains = (
        f"Of the {len(biased)} {'layers' if len(biased) > 1 else 'layer'} that fine-tuning updated and at which {base}"
        f" shows a gap between {first} and {second}, {len(still)} still"
        f" {'shows' if len(still) == 1 else 'show'} it in the same direction in {name}"
    )
    moved = [f"smaller at {layers_named(layers, smaller)}"] * bool(smaller) + [
        f"larger at {layers_named(layers, larger)}"
    ] * bool(larger)
    how = f"it is {' and '.join(moved)}" if moved else "at none is it detectably smaller or larger"
    reach = apart.loc[biased]
    if same:
        verdict, end = "supported", f" At every one a change of more than {MARGIN} in log odds is ruled out."
    elif smaller or larger:
        verdict, end = "contradicted", ""
    else:
        verdict = "inconclusive"
        end = " " + power(f"a change of {detectable(reach['low'], reach['high']):.2f} in log odds")
    return finding(verdict, f"{remains}; {how}.{end}")


def fares(rows: pd.DataFrame, first: str, second: str) -> str:
    """Which group has the higher error at the biased layers of `gaps`, in words."""
    signs = set(np.sign(rows.loc[rows["biased"], "estimate"]))
    if signs == {1.0}:
        return f"{first} have the higher error"
    if signs == {-1.0}:
        return f"{first} have the lower error"
    return f"{first} and {second} differ, in both directions,"


def _saturation_note(rows: pd.DataFrame) -> str:
    if "saturated" not in rows or not rows["saturated"].any():
        return ""
    saturated = list(rows.loc[rows["saturated"], "layer"])
    rests = any(layer in saturated for layer in FIRST_LAYERS)
    return (
        f" Caution: at {layers_named(list(rows['layer']), saturated)} the error over all speakers exceeds"
        f" {percent(SATURATED)}, where a gap means little{'; the verdict rests partly on this' if rests else ''}."
    )


def _control_note(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """Which controls err so often that they could hardly show a gap; what is said of them rests on little."""
    if "overall" not in bias:
        return ""
    chosen = bias[bias["encoder"].isin(controls(encoder)) & (bias["contrast"] == contrast)]
    lowest = chosen.groupby("encoder", sort=False)["overall"].min()
    said = [f"{encoder_label(name)} {percent(error)}" for name, error in lowest.items() if error > SATURATED]
    if not said:
        return ""
    return f" Caution: some controls err too often to show much of a gap (lowest error: {', '.join(said)})."


def all_contrasts(tables: dict[str, pd.DataFrame], encoder: str) -> pd.DataFrame:
    """Verdict of C1 and the biased layers for each contrast of each group column."""
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
    return pd.DataFrame(rows)
