"""One claim over many encoders: each one's verdict with a p of its own, and the verdict over all of them.

A rule gives a verdict on one encoder. Over several encoders some would be supported, or contradicted, by chance; so
each verdict has a p, which is corrected for there being as many encoders as were named beforehand (`JOINT_RULE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.base.tasks import TASKS, unit_named
from fairlib.base.writing import interval
from fairlib.bias import bias_differences, group_bias, holm, layer_order
from fairlib.bias.association import error_slopes
from fairlib.encoders.names import untrained_twin
from fairlib.findings.encoder_gap import FIRST_LAYERS, after_fine_tuning, errs_otherwise, where_bias_begins, whose_gap
from fairlib.findings.finding import Finding
from fairlib.findings.gap_tables import control_differences, gaps, mark_saturated, mean_error
from fairlib.findings.opposite import MARGIN as SLOPE_MARGIN
from fairlib.findings.opposite import c2_finding, primary
from fairlib.findings.rules import MARGIN, NUMBERS
from fairlib.findings.wording import estimate_of, say

JUDGES = ("begins", "pattern", "tuned", "whose")  # rules that `judged` knows
JOINT_RULE = (
    "An encoder counts for a claim if its verdict is “supported” and the verdict's p is below {level}, and against it"
    " if its verdict is “contradicted” and the verdict's p is below {level}: each p corrected by Holm over all"
    " {planned} encoders named beforehand, of which those without that verdict, and those that could not be judged,"
    " have a p of 1. Over all encoders the claim is supported if more than half of those named count for it and none"
    " against it; contradicted if more than half count against it and none for it; inconclusive otherwise."
)


@dataclass(frozen=True)
class Judged:
    """A claim, judged for one encoder.

    Attributes:
        encoder: its name.
        finding: by the rule; None where the encoder is excluded.
        p: of the verdict, where that is supported or contradicted; else 1.
        estimate: what the verdict rests on, in words, with intervals.
        error: of the layer with the lowest, over all speakers.
        excluded: why it was not judged; else empty.
        here_alone: whether that is for what its outcomes are in this test, and not for want of any.
        holm: p over all encoders named, once `jointly` has seen them.
    """

    encoder: str
    finding: Finding | None
    p: float = 1.0
    estimate: str = ""
    error: float = float("nan")
    excluded: str = ""
    here_alone: bool = False
    holm: float = 1.0

    @property
    def verdict(self) -> str:
        return self.finding.verdict if self.finding else "not judged"


def judged(
    rule: str, encoder: str, outcomes: pd.DataFrame, task: str, by: str, contrast: str, pretrained: str = ""
) -> Judged:
    """One claim of one encoder, by its rule.

    Args:
        rule: one of `JUDGES`.
        outcomes: of this task; for "pattern" with the untrained twin's, for "tuned" with the pretrained encoder's, for
            "whose" with the twin's and log-mel's.
        pretrained: what a fine-tuned encoder was made from, for "tuned".

    Returns:
        Excluded where even the layer with the lowest error is saturated, or the contrast is not in the outcomes.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> errors = {"child": [0.4, 0.4, 0.4], "adult": [0.2, 0.2, 0.2]}
        >>> outcomes = simulate_outcomes(errors, speakers=60, units=1, by="age_group").assign(probe="linear")
        >>> outcomes = outcomes.replace({"layer": {"2": "cnn"}})
        >>> one = judged("begins", "simulated", outcomes, "sid", "age_group", "child vs adult")
        >>> one.verdict, one.p < 0.05
        ('supported', True)
    """
    unit, probe = TASKS[task].main[1:]
    outcomes = outcomes[(outcomes["unit"] == unit) & (outcomes["probe"] == probe)]
    error = float(mean_error(outcomes[outcomes["encoder"] == encoder])["error"].min())
    if unit_named(unit).saturates and error > NUMBERS["saturated"]:
        why = say("jointly.saturated", error=error, many=unit_named(unit).many)
        return Judged(encoder, None, error=error, excluded=why, here_alone=True)
    bias = mark_saturated(group_bias(outcomes, by=by), outcomes)
    if contrast not in set(bias["contrast"]):
        there = list(dict.fromkeys(bias["contrast"]))
        why = say("jointly.no_contrast", contrast=repr(contrast), by=by, there=there)
        return Judged(encoder, None, error=error, excluded=why, here_alone=True)
    if rule == "begins":
        one = _begins(bias, encoder, contrast)
    elif rule == "pattern":
        one = _pattern(outcomes, encoder, task, by, contrast)
    elif rule == "tuned":
        one = _tuned(outcomes, bias, encoder, pretrained, by, contrast)
    else:
        differences = control_differences(outcomes, by, encoder)
        one = Judged(encoder, whose_gap(bias, differences, encoder, contrast))
    return replace(one, error=error)


def _begins(bias: pd.DataFrame, encoder: str, contrast: str) -> Judged:
    finding = where_bias_begins(bias, encoder, contrast)
    rows = gaps(bias, encoder, contrast).set_index("layer")
    first = rows.loc[[layer for layer in FIRST_LAYERS if layer in rows.index]]
    p = 1.0
    if finding.verdict == "supported":
        p = float(first["p_familywise"].max())
    elif finding.verdict == "contradicted":
        # At a saturated layer a gap could hardly show, so that none there is no evidence.
        open_layers = first[~first["saturated"]]
        small = [equivalence_p(row.estimate, row.low, row.high, MARGIN) for row in open_layers.itertuples()]
        p = max(min(small, default=1.0), float(rows.drop(index=first.index)["p_familywise"].min()))
    said = [f"{layer}: {interval(row['estimate'], row['low'], row['high'])}" for layer, row in first.iterrows()]
    return Judged(encoder, finding, p, "; ".join(said))


def _pattern(outcomes: pd.DataFrame, encoder: str, task: str, by: str, contrast: str) -> Judged:
    twin = untrained_twin(encoder)
    slopes = error_slopes(outcomes[outcomes["encoder"].isin([encoder, twin])], by, {encoder: twin})
    slopes = slopes[slopes["encoder"] == encoder]
    finding, row = c2_finding(slopes, task, contrast), primary(slopes, task, contrast).loc["log_odds"]
    p = 1.0
    if finding.verdict in ("supported", "contradicted"):
        p = float(row["p"])
        if p >= 0.05:  # contradicted by a slope shown to be small: by its 90 % interval, so one-sided
            p = equivalence_p(row["excess"], row["excess_low"], row["excess_high"], SLOPE_MARGIN) / 2
    return Judged(encoder, finding, p, f"slope {interval(row['excess'], row['excess_low'], row['excess_high'])}")


def _tuned(outcomes: pd.DataFrame, bias: pd.DataFrame, encoder: str, pretrained: str, by: str, contrast: str) -> Judged:
    layers = layer_order(outcomes.loc[outcomes["encoder"] == encoder, "layer"].unique())
    pairs = [((encoder, layer), (pretrained, layer)) for layer in layers]
    differences = bias_differences(outcomes, by, pairs)
    finding = after_fine_tuning(bias, differences, encoder, contrast)
    apart = differences[(differences["contrast"] == contrast) & (differences["scale"] == "log_odds")].set_index("layer")
    before = gaps(bias, pretrained, contrast).set_index("layer")
    looked_at = apart[before["biased"].reindex(apart.index) & errs_otherwise(apart)]
    p, said = 1.0, "no layer to compare"
    if looked_at["estimate"].notna().any():
        most = looked_at.loc[looked_at["estimate"].abs().idxmax()]
        said = say("jointly.change", layer=most.name, change=estimate_of(most))
    if finding.verdict == "supported":
        p = max(equivalence_p(row.estimate, row.low, row.high, MARGIN) for row in looked_at.itertuples())
    elif finding.verdict == "contradicted":
        p = float(looked_at["p_holm"].min())
    return Judged(encoder, finding, p, said)


def equivalence_p(estimate: float, low: float, high: float, margin: float) -> float:
    """A p that is below .05 just where the 95 % interval lies within ±margin: twice the larger of two one-sided ones.

    Example:
        >>> round(equivalence_p(0.0, -0.2, 0.2, 0.2), 3), equivalence_p(0.1, 0.0, 0.2, 0.4) < 0.05
        (0.05, True)
    """
    half = stats.norm.ppf(0.975)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.divide(margin - estimate, (high - estimate) / half)
        above = np.divide(margin + estimate, (estimate - low) / half)
    nearest = min(below, above)
    return 1.0 if np.isnan(nearest) else float(min(1.0, 2 * stats.norm.sf(nearest)))


def jointly(claim: str, each: Sequence[Judged], level: float = 0.05) -> tuple[Finding, list[Judged]]:
    """One claim over all encoders, by `JOINT_RULE`.

    Args:
        each: every encoder named beforehand, those that could not be judged too.

    Returns:
        The finding over all, and each with its Holm p.

    Example:
        >>> verdicts = [("a", "supported", 0.001), ("b", "supported", 0.01), ("c", "inconclusive", 1.0)]
        >>> each = [Judged(name, Finding("c", "r", verdict, "s"), p) for name, verdict, p in verdicts]
        >>> over_all, each = jointly("c", each)
        >>> over_all.verdict, [round(one.holm, 3) for one in each]
        ('supported', [0.003, 0.02, 1.0])
    """
    corrected = np.ones(len(each))
    counts = {}
    for verdict in ("supported", "contradicted"):
        mine = np.array([one.verdict == verdict for one in each], bool)
        adjusted = holm([one.p if has else 1.0 for one, has in zip(each, mine)])
        corrected[mine] = adjusted[mine]
        counts[verdict] = [one.encoder for one, has, p in zip(each, mine, adjusted) if has and p < level]
    supporting, against = counts["supported"], counts["contradicted"]
    verdict = "inconclusive"
    if 2 * len(supporting) > len(each) and not against:
        verdict = "supported"
    elif 2 * len(against) > len(each) and not supporting:
        verdict = "contradicted"
    facts = {
        "supporting": supporting, "against": against, "encoders": len(each),
        "out": [one.encoder for one in each if one.finding is None],
    }  # fmt: skip
    evidence = [
        {"encoder": one.encoder, "verdict": one.verdict, "p": one.p, "p_holm": p, "estimate": one.estimate}
        for one, p in zip(each, corrected)
    ]
    rule = JOINT_RULE.format(level=level, planned=len(each))
    finding = Finding(claim, rule, verdict, say("jointly.counts", **facts), evidence, facts)
    return finding, [replace(one, holm=float(p)) for one, p in zip(each, corrected)]


def whole_claim(tests: Sequence[str]) -> str:
    """The verdict on a claim from those of its tests, each over all encoders: all of them have to agree.

    Example:
        >>> whole_claim(["supported", "supported"]), whole_claim(["supported", "contradicted"])
        ('supported', 'inconclusive')
    """
    same = set(tests)
    return same.pop() if same in ({"supported"}, {"contradicted"}) else "inconclusive"
