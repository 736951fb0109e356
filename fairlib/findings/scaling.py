"""Encoders that differ in scale alone, in their size or in the hours they heard: whether the one with more, which errs
less, serves the groups more equally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias, only_groups
from fairlib.encoders import parameters_of, pretrained_alike
from fairlib.encoders.names import encoder_label, parsed, without_step
from fairlib.findings import rules
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.finding import Finding
from fairlib.findings.gap_tables import gaps, mark_saturated, mean_error
from fairlib.findings.pretraining import (
    best_layer,
    changes_by_speech,
    does_it_help,
    hours_heard,
    pairs_of,
    second_seed,
)
from fairlib.findings.survey import published
from fairlib.findings.wording import say

# By the rule that judges it, what alone differs in the recipes.
DIFFER = {
    "size": ("model.hidden_size", "model.num_attention_heads", "model.intermediate_size"),
    "hours": ("schedule.steps",),
}
CRITERIA = {name: rules.rule(name) for name in DIFFER}


def ladders(rule: str) -> list[list[str]]:
    """Encoders of ours that differ in one thing alone, each group from the one with the least of it to the most.

    Args:
        rule: a key of `DIFFER`.

    Example:
        >>> ladders("hours")
        [['mini-hubert', 'mini-hubert-long'], ['mini-wavlm', 'mini-wavlm-long']]
    """

    def amount(name: str) -> tuple[int, float]:
        return parameters_of(name), max(hours_heard(name).values())

    return [sorted(names, key=amount) for names in pretrained_alike(*DIFFER[rule])]


def published_of(
    encoders: Sequence[str], task: str, corpus: str, by: str, groups: Sequence[str] | None = None
) -> pd.DataFrame:
    """What is published of these encoders and of their second trainings, one below the other, of the groups' speakers;
    by the task's main probe.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        groups: only these; by default all.
    """
    names = [*encoders, *filter(None, map(second_seed, encoders))]
    tables = [published(name, corpus, *TASKS[task].main) for name in names]
    every = pd.concat([table for table in tables if by in table] or [pd.DataFrame()], ignore_index=True)
    return every if groups is None or every.empty else only_groups(every, by, groups)


def does_it_close(rule: str, outcomes: pd.DataFrame, by: str, contrast: str, less: str, more: str) -> Finding | None:
    """Whether the gap is smaller in the encoder with more; None without people to compare.

    Args:
        rule: a key of `DIFFER`.
        outcomes: of both encoders, one task and unit, the same people and seeds; where both were trained from a second
            seed, of those, too.
    """
    if not {less, more} <= set(outcomes.get("encoder", ())):
        return None
    pair = outcomes[outcomes["encoder"].isin([less, more])]
    try:
        bias = mark_saturated(group_bias(pair, by=by), pair)
    except BiasError:
        return None
    changes = changes_by_speech(outcomes, by, pairs_of(less, more, "with more", "of the one with more"))
    return does_it_help(bias, changes, less, contrast, best_layer(pair, more), rule)


def up_the_ladder(
    rule: str, outcomes: pd.DataFrame, names: Sequence[str], by: str, contrast: str
) -> dict[str, Finding]:
    """`does_it_close` of each encoder that is there and the next one, by the next one's name; what cannot be judged is
    left out.

    Args:
        rule: a key of `DIFFER`.
        outcomes: from `published_of`.
        names: from the encoder with the least to the one with the most.
    """
    there = [name for name in names if name in set(outcomes.get("encoder", ()))]
    steps = {more: does_it_close(rule, outcomes, by, contrast, less, more) for less, more in pairwise(there)}
    return {more: finding for more, finding in steps.items() if finding}


def verdict_told(finding: Finding) -> str:
    """The verdict of `does_it_close`; where a change is shown and all are shown to be small, that, too.

    Example:
        >>> verdict_told(Finding("The gap is smaller.", "", "contradicted", "", facts={"within": True}))
        'contradicted, but by less than 0.2 at every layer'
    """
    small = finding.verdict != "inconclusive" and finding.facts["within"]
    return say("scaling.small", verdict=finding.verdict) if small else finding.verdict


def step_named(task: str, finding: Finding) -> str:
    """Which step of the ladder a finding of `does_it_close` is of, and its verdict."""
    facts = {"less": finding.facts["encoder"], "more": finding.facts["other"]}
    return say("scaling.step", heading=TASKS[task].heading, verdict=verdict_told(finding), **facts)


def errors_sentence(rule: str, task: str, outcomes: pd.DataFrame, names: Sequence[str]) -> str:
    """What more of it brings: the error over all speakers at each encoder's best layer, in this order."""
    lowest = mean_error(outcomes).groupby("encoder")["error"].min()
    shares = {name: lowest[name] for name in names if name in lowest}
    return say(f"{rule}.errors", heading=TASKS[task].heading, shares=shares)


def ladder_verdict(rule: str, steps: Mapping[str, Finding]) -> str:
    """The verdicts of `up_the_ladder`, of one ladder or of several, in one line.

    Args:
        rule: a key of `DIFFER`.

    Example:
        >>> found = {name: Finding("The gap is smaller.", "", "inconclusive", "") for name in ("b", "c")}
        >>> ladder_verdict("size", found), ladder_verdict("hours", found)
        ('inconclusive at both steps', 'inconclusive in both families')
    """
    verdicts = {more: verdict_told(finding) for more, finding in steps.items()}
    return say(f"{rule}.ladder", verdicts=verdicts, same=len(set(verdicts.values())) == 1)


def scaling_table(outcomes: pd.DataFrame, bias: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Weights, hours heard, lowest error and the gap there of each encoder of `published_of`, in this order."""
    rows = []
    for name in outcomes["encoder"].unique():
        layer = best_layer(outcomes, name)
        error = mean_error(outcomes[(outcomes["encoder"] == name) & (outcomes["layer"] == layer)])["error"].iloc[0]
        gap = gaps(bias, name, contrast).set_index("layer").loc[layer]
        rows.append(
            {
                "encoder": encoder_label(without_step(name)),
                "million weights": f"{parameters_of(parsed(name).plain) / 1e6:.1f}",
                "hours heard": f"{max(hours_heard(name).values()):.0f}",
                "most accurate layer": layer,
                "error": Number("share", float(error)),
                f"gap there, {contrast}": Cell(with_interval("log odds", gap)),
            }
        )
    return pd.DataFrame(rows)
