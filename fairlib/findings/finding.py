"""Findings: what a run says about a claim, by a criterion that was written down before the run.

A finding holds the claim, the criterion, the evidence, the verdict and the sentence that states it. The
chapters print these sentences; they contain no result of their own. All functions here are pure: tables in,
words out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd

from fairlib.bias import (
    FEWEST_SHOWN,
    bias_differences,
    group_bias,
    group_columns,
    groups_of_speakers,
    layer_order,
    only_groups,
)
from fairlib.bias.contrasts import BETWEEN, WORST
from fairlib.display.words import encoder_label, interval, layers_named, listing, number, percent, sides, spans
from fairlib.tasks import unit_named

SATURATED = 0.6
FEWEST_JUDGED = 10  # people on either side; of fewer nothing is judged
FEWEST_RULE = f" With fewer than {FEWEST_JUDGED} people on either side nothing is judged (inconclusive)."
FIRST_LAYERS = ("cnn", "0")

BEGINS_CLAIM = "The layers of this encoder serve the compared groups unequally from the very first ones on."
BEGINS_CRITERION = (
    "A layer counts as biased for a contrast when the 95 % speaker-bootstrap interval of the log odds ratio"
    " of error excludes zero and its p, family-wise over all layers and contrasts of the encoder (speakers'"
    " labels permuted, largest statistic), is below 0.05. The claim is supported if both of the first layers,"
    " cnn and 0, are biased; contradicted if a later layer is biased but not both of these; inconclusive"
    " otherwise." + FEWEST_RULE
)
WHOSE_CLAIM = "The gap is the encoder's own doing, and not already in the signal."
WHOSE_CRITERION = (
    "A layer's gap counts as larger than a control's when both have the same sign and their difference in log"
    " odds ratio, in pairs (the same speakers resampled in both), has Holm's p below 0.05 over all layers,"
    " contrasts and both controls. The claim is supported if at one biased layer or more the gap is larger than"
    " log-mel's and larger than the same layer's of the untrained twin; contradicted if log-mel has a gap of the"
    " same sign, its interval excluding zero, and no layer's gap is larger than that; inconclusive otherwise."
    + FEWEST_RULE
)

TUNED_CLAIM = "Fine-tuning for speech recognition leaves the gaps of the pretrained encoder as they were."
TUNED_CRITERION = (
    "A layer's gap counts as changed when its log odds ratio in the fine-tuned encoder less that in the pretrained one,"
    " in pairs, has Holm's p below 0.05 over all layers and contrasts. Among the layers at which the pretrained encoder"
    " is biased: the claim is supported if at each of them the fine-tuned encoder is biased to the same side and at"
    " none the gap became smaller; contradicted if at one or more it became smaller and at none larger; inconclusive"
    " otherwise." + FEWEST_RULE
)


@dataclass(frozen=True)
class Finding:
    """One claim, judged.

    Attributes:
        claim: what was asked, as a statement that can be wrong.
        criterion: the rule of judgement, fixed before the results.
        verdict: "supported", "contradicted" or "inconclusive".
        sentence: the finding in words, with its numbers.
        evidence: the rows the verdict rests on (layer, estimate, low, high, ...).
    """

    claim: str
    criterion: str
    verdict: str
    sentence: str
    evidence: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.verdict not in ("supported", "contradicted", "inconclusive"):
            raise ValueError(f"verdict is {self.verdict!r}; it must be supported, contradicted or inconclusive.")

    def record(self) -> dict:
        """The finding as plain values that JSON can say; what is no finite number becomes null.

        Example:
            >>> Finding("c", "r", "supported", "s", [{"layer": "cnn", "low": float("nan")}]).record()["evidence"]
            [{'layer': 'cnn', 'low': None}]
        """
        evidence = json.loads(pd.DataFrame(self.evidence).to_json(orient="records"))
        return {**asdict(self), "evidence": evidence}


# ---- tables ----


def controls(encoder: str) -> list[str]:
    """Encoders to set beside this one: its untrained twin and log-mel, where they make sense.

    Example:
        >>> controls("pocket-hubert"), controls("logmel")
        (['random:pocket-hubert', 'logmel'], [])
    """
    if encoder == "logmel":
        return []
    return ["logmel"] if encoder.startswith("random:") else [f"random:{encoder}", "logmel"]


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

    Where nearly everything is wrong for everybody, a gap between groups means little. That is said of characters and
    words; a phone or a speaker named at random would be wrong far more often than that.
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
    `fairlib.bias.bias_differences`). Controls that the outcomes do not hold are left out; the table may be empty.
    """
    there = set(zip(outcomes["encoder"], outcomes["layer"]))
    pairs = []
    for layer in layer_order(outcomes.loc[outcomes["encoder"] == encoder, "layer"].unique()):
        for control in (("logmel", "logmel"), (f"random:{encoder}", layer)):
            if control in there and control[0] != encoder:
                pairs.append(((encoder, layer), control))
    return bias_differences(outcomes, by, pairs) if pairs else pd.DataFrame()


def layer_table(errors: pd.DataFrame, bias: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """One row per encoder and layer: each group's error and the three gap scales, as text for reading: the
    value and, on a second line, its interval."""
    rows = []
    for encoder in dict.fromkeys(bias["encoder"]):
        scales = {
            scale: gaps(bias, encoder, contrast, scale).set_index("layer")
            for scale in ("difference", "ratio", "log_odds")
        }
        mine = errors[errors["encoder"] == encoder]
        for layer in scales["log_odds"].index:
            row = {"encoder": encoder_label(encoder), "layer": "all" if layer == "logmel" else layer}
            for record in mine[mine["layer"] == layer].itertuples():
                error = percent(record.error), percent(record.low), percent(record.high)
                row[f"error, {record.group}"] = _two_lines(*error)
            points = scales["difference"].loc[layer, ["estimate", "low", "high"]].astype(float) * 100
            row["difference, points"] = _two_lines(*(number(point, 1) for point in points))
            ratio = scales["ratio"].loc[layer, ["estimate", "low", "high"]].astype(float)
            row["ratio"] = _two_lines(*(number(point, 2).lstrip("+") for point in ratio))
            odds = scales["log_odds"].loc[layer, ["estimate", "low", "high"]].astype(float)
            row["log odds ratio"] = _two_lines(*(number(point, 2) for point in odds))
            rows.append(row)
    return pd.DataFrame(rows)


def _two_lines(estimate: str, low: str, high: str) -> str:
    return f"{estimate}\n{low} to {high}"


# ---- judgements ----


def of_people(finding: Finding, rows: pd.DataFrame, by: str, contrast: str) -> Finding:
    """The finding with the number of people it stands on; where they are fewer than `FEWEST_JUDGED`, not judged.

    Args:
        rows: with ``n_speakers_a, n_speakers_b``, the smallest of which count; without them the finding stays as it is.

    Example:
        >>> few = pd.DataFrame({"n_speakers_a": [8], "n_speakers_b": [30]})
        >>> finding = of_people(Finding("c", "r", "supported", "s"), few, "sex", "female vs male")
        >>> finding.verdict, finding.sentence.partition(":")[0]
        ('inconclusive', 'Not judged')
    """
    if not {"n_speakers_a", "n_speakers_b"} <= set(rows) or rows.empty:
        return finding
    sizes = [int(rows[column].min()) for column in ("n_speakers_a", "n_speakers_b")]
    people = listing([f"{side} ({size} people)" for side, size in zip(sides(by, contrast), sizes)])
    if min(sizes) < FEWEST_JUDGED:
        sentence = f"Not judged: {people} are too few, a verdict needs {FEWEST_JUDGED} people on either side."
        return replace(finding, verdict="inconclusive", sentence=sentence)
    return replace(finding, sentence=f"{finding.sentence} Compared are {people}.")


def not_asked(claim: str, criterion: str, why: str) -> Finding:
    """The finding where a corpus does not allow the question."""
    return Finding(claim, criterion, "inconclusive", f"Not asked: {why}")


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
    start = [layer for layer in FIRST_LAYERS if layer in biased]
    later = [layer for layer in biased if layer not in FIRST_LAYERS]

    def finding(verdict: str, sentence: str) -> Finding:
        evidence = rows[["encoder", "layer", "contrast", "estimate", "low", "high", "biased"]].to_dict("records")
        found = Finding(BEGINS_CLAIM, BEGINS_CRITERION, verdict, sentence + _saturation_note(rows), evidence)
        return of_people(found, rows, by, contrast)

    missing = [layer for layer in FIRST_LAYERS if layer not in known]
    if missing:
        return finding(
            "inconclusive",
            f"Undecided: {name} gives no gap with an interval at {listing(missing)} to judge by.",
        )
    at = "; ".join(
        f"{layer} {interval(*rows.set_index('layer').loc[layer, ['estimate', 'low', 'high']].astype(float))}"
        for layer in FIRST_LAYERS
    )
    if len(start) == len(FIRST_LAYERS):
        sentence = (
            f"From the first layers on: in {name} they already differ for {first} against {second} (log odds"
            f" ratio of error, {at}), and {fares(rows, first, second)} at {len(biased)} of {len(layers)}"
            f" layers ({spans(layers, biased)})."
        )
        return finding("supported", sentence)
    if later:
        sentence = (
            f"Not from the first layers on: in {name} these do not both show a gap between {first} and"
            f" {second} (log odds ratio of error, {at}), yet {fares(rows, first, second)} at"
            f" {layers_named(layers, biased)}."
        )
        return finding("contradicted", sentence)
    only = f" beyond {listing(start)}" if start else ""
    sentence = (
        f"Undecided: in {name} no layer{only} shows a gap between {first} and {second} that this many"
        f" speakers could tell from none (log odds ratio of error, {at})."
    )
    return finding("inconclusive", sentence)


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
    twin_name = f"random:{encoder}"
    lacking = [encoder_label(control) for control in ("logmel", twin_name) if control not in here]
    if lacking:
        return finding(
            "inconclusive",
            f"Whose gap it is stays open: there is nothing from {listing(lacking)} to compare with.",
        )
    if not rows["biased"].any():
        return finding(
            "inconclusive",
            f"With no gap shown in {name}, there is none to trace to the encoder or to the signal.",
        )
    mel = gaps(bias, "logmel", contrast).iloc[0]
    twin = gaps(bias, twin_name, contrast).set_index("layer")
    layers = list(rows["layer"])
    apart = differences[(differences["contrast"] == contrast) & (differences["scale"] == "log_odds")]
    shown = apart[apart["p_holm"] < 0.05].set_index(["layer", "encoder_b"])["estimate"]

    def larger(row, control: str, other: float) -> bool:
        difference = shown.get((row.layer, control), 0.0)
        return row.biased and row.estimate * other >= 0 and difference * row.estimate > 0

    above_mel = [row.layer for row in rows.itertuples() if larger(row, "logmel", mel["estimate"])]
    below_mel = [
        row.layer
        for row in rows.itertuples()
        if row.estimate * mel["estimate"] >= 0 and shown.get((row.layer, "logmel"), 0.0) * mel["estimate"] < 0
    ]
    above_twin = [
        row.layer
        for row in rows.itertuples()
        if row.layer in twin.index and larger(row, twin_name, twin.loc[row.layer, "estimate"])
    ]
    both = [layer for layer in above_mel if layer in above_twin]
    side = np.sign(rows.loc[rows["biased"], "estimate"].sum())
    # Each encoder's gap, and how much the gaps differ: the verdict rests on both.
    evidence = pd.concat([rows, mel.to_frame().T, twin.reset_index(), apart])
    mel_gap = f"log-mel's is {interval(mel['estimate'], mel['low'], mel['high'])}"
    twins = (
        f"against its untrained twin the gap is larger at {layers_named(layers, above_twin)}" if above_twin
        else "at no layer is it larger than its untrained twin's"
    )  # fmt: skip
    if both:
        sentence = (
            f"In part at least it is the encoder's own: at {layers_named(layers, both)} the gap is larger than both"
            f" controls' ({mel_gap})."
        )
        return finding("supported", sentence, evidence)
    less = f"; at {layers_named(layers, below_mel)} it is smaller than log-mel's" if below_mel else ""
    if mel["biased"] and np.sign(mel["estimate"]) == side and not above_mel:
        sentence = (
            f"The signal brings it along: {mel_gap}, at no layer is the gap of {name} larger than that{less},"
            f" and {twins}."
        )
        return finding("contradicted", sentence, evidence)
    more = (
        f"larger than log-mel's at {layers_named(layers, above_mel)}"
        if above_mel
        else "not told apart from log-mel's at any layer"
    )
    sentence = f"Whose gap it is stays open: it is {more} ({mel_gap}){less}, and {twins}."
    return finding("inconclusive", sentence, evidence)


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
    changed = apart["p_holm"] < 0.05
    biased = [layer for layer in layers if before.loc[layer, "biased"]]
    sign = np.sign(before["estimate"])
    smaller = [layer for layer in biased if changed[layer] and apart.loc[layer, "estimate"] * sign[layer] < 0]
    larger = [layer for layer in biased if changed[layer] and apart.loc[layer, "estimate"] * sign[layer] > 0]
    still = [
        layer for layer in biased if after.loc[layer, "biased"] and np.sign(after.loc[layer, "estimate"]) == sign[layer]
    ]
    columns = ["encoder", "layer", "encoder_b", "estimate", "low", "high", "p_holm"]
    evidence = apart.reset_index()[columns].to_dict("records")
    by = str(before["by"].iloc[0])
    first, second = sides(by, contrast)
    name, base = encoder_label(tuned), encoder_label(pretrained)

    def finding(verdict: str, sentence: str) -> Finding:
        return of_people(Finding(TUNED_CLAIM, TUNED_CRITERION, verdict, sentence, evidence), before, by, contrast)

    if not biased:
        return finding("inconclusive", f"Undecided: {base} shows no gap between {first} and {second} to begin with.")
    remains = f"Of the {len(biased)} layers at which {base} shows a gap between {first} and {second}, {len(still)} "
    remains += f"{'shows' if len(still) == 1 else 'show'} it to the same side in {name}"
    moved = [f"smaller at {layers_named(layers, smaller)}"] * bool(smaller) + [
        f"larger at {layers_named(layers, larger)}"
    ] * bool(larger)
    how = f"it is shown to be {' and '.join(moved)}" if moved else "at none is it shown to be smaller or larger"
    if smaller and not larger:
        verdict = "contradicted"
    else:
        verdict = "supported" if len(still) == len(biased) and not smaller else "inconclusive"
    return finding(verdict, f"{remains}; {how}.")


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
        f" (Beware: at {layers_named(list(rows['layer']), saturated)} more than {percent(SATURATED)} is wrong over all"
        f" speakers, and a gap there means little{'; the verdict rests on it in part' if rests else ''}.)"
    )


def _control_note(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """Which controls err so often that hardly a gap could show in them; what is said of them rests on little."""
    if "overall" not in bias:
        return ""
    chosen = bias[bias["encoder"].isin(controls(encoder)) & (bias["contrast"] == contrast)]
    lowest = chosen.groupby("encoder", sort=False)["overall"].min()
    said = [f"{encoder_label(name)} {percent(error)}" for name, error in lowest.items() if error > SATURATED]
    if not said:
        return ""
    return f" (Beware: some controls err so often that hardly a gap can show in them, at best {listing(said)}.)"


# ---- choices and summaries ----


def the_encoder(table: pd.DataFrame) -> str:
    """The only encoder of a table that is no control, or else the only one.

    Raises:
        ValueError: there are several.

    Example:
        >>> the_encoder(pd.DataFrame({"encoder": ["logmel", "pocket-hubert", "random:pocket-hubert"]}))
        'pocket-hubert'
    """
    names = list(dict.fromkeys(table["encoder"]))
    trained = [name for name in names if name != "logmel" and not name.startswith("random:")] or names
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


def all_contrasts(tables: dict[str, pd.DataFrame], encoder: str) -> pd.DataFrame:
    """Verdict of C1 and the biased layers for each contrast of each group column, as text for reading."""
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
                    "log odds ratio, all layers": (
                        f"{number(gap['estimate'].min(), 2)} to {number(gap['estimate'].max(), 2)}"
                    ),
                }
            )
    return pd.DataFrame(rows)


def adjusted_table(adjusted: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Raw and adjusted gaps of one contrast at each layer, as text for reading; a failed regression says why."""
    rows = adjusted[adjusted["contrast"] == contrast].set_index("layer")
    scale = {"log_ratio": "log ratio of errors", "log_odds": "log odds ratio"}[str(rows["scale"].iloc[0])]
    table = []
    for layer in layer_order(rows.index):
        row = rows.loc[layer]
        raw = _two_lines(*(number(row[name], 2) for name in ("raw", "raw_low", "raw_high")))
        own = _two_lines(*(number(row[name], 2) for name in ("estimate", "low", "high")))
        table.append(
            {
                "layer": layer,
                f"raw {scale}": raw,
                f"adjusted {scale}": own if not row["problem"] else row["problem"],
                "regression": row["family"],
            }
        )
    return pd.DataFrame(table)
