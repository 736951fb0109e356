"""Encoders that differ in size alone: whether the larger one, which errs less, serves the groups more equally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias, only_groups
from fairlib.encoders import parameters_of, pretrained_alike
from fairlib.encoders.names import encoder_label, parsed, without_step
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.finding import Finding
from fairlib.findings.gap_tables import gaps, mark_saturated, mean_error
from fairlib.findings.pretraining import best_layer, changes_by_speech, does_it_help, pairs_of, second_seed
from fairlib.findings.rules import rule
from fairlib.findings.survey import published
from fairlib.findings.wording import say

CRITERION = rule("size")
WIDTH = ("model.hidden_size", "model.num_attention_heads", "model.intermediate_size")


def ladders() -> list[list[str]]:
    """Encoders of ours that differ in the width of their blocks alone, each group from the smallest to the largest."""
    return [sorted(names, key=parameters_of) for names in pretrained_alike(*WIDTH)]


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


def does_size_help(outcomes: pd.DataFrame, by: str, contrast: str, smaller: str, larger: str) -> Finding | None:
    """Whether the gap is smaller in the larger encoder, judged by the rule "size"; None without people to compare.

    Args:
        outcomes: of both encoders, one task and unit, the same people and seeds; where both were trained from a second
            seed, of those, too.
    """
    if not {smaller, larger} <= set(outcomes.get("encoder", ())):
        return None
    pair = outcomes[outcomes["encoder"].isin([smaller, larger])]
    try:
        bias = mark_saturated(group_bias(pair, by=by), pair)
    except BiasError:
        return None
    changes = changes_by_speech(outcomes, by, pairs_of(smaller, larger, "larger", "of the larger"))
    return does_it_help(bias, changes, smaller, contrast, best_layer(pair, larger), rule="size")


def up_the_ladder(outcomes: pd.DataFrame, names: Sequence[str], by: str, contrast: str) -> dict[str, Finding]:
    """`does_size_help` of each encoder that is there and the next larger one, by the larger one's name; what cannot be
    judged is left out.

    Args:
        outcomes: from `published_of`.
        names: from the smallest encoder to the largest.
    """
    there = [name for name in names if name in set(outcomes.get("encoder", ()))]
    steps = {larger: does_size_help(outcomes, by, contrast, smaller, larger) for smaller, larger in pairwise(there)}
    return {larger: finding for larger, finding in steps.items() if finding}


def size_verdict(finding: Finding) -> str:
    """The verdict of `does_size_help`; where a change is shown and all are shown to be small, that, too.

    Example:
        >>> size_verdict(Finding("The gap is smaller.", "", "contradicted", "", facts={"within": True}))
        'contradicted, but by less than 0.2 at every layer'
    """
    small = finding.verdict != "inconclusive" and finding.facts["within"]
    return say("size.small", verdict=finding.verdict) if small else finding.verdict


def step_named(task: str, finding: Finding) -> str:
    """Which step of the ladder a finding of `does_size_help` is of, and its verdict."""
    facts = {"smaller": finding.facts["encoder"], "larger": finding.facts["other"]}
    return say("size.step", heading=TASKS[task].heading, verdict=size_verdict(finding), **facts)


def errors_sentence(task: str, outcomes: pd.DataFrame, names: Sequence[str]) -> str:
    """What size buys: the error over all speakers at each encoder's best layer, in this order."""
    lowest = mean_error(outcomes).groupby("encoder")["error"].min()
    shares = [lowest[name] for name in names if name in lowest]
    return say("size.errors", heading=TASKS[task].heading, shares=shares)


def ladder_verdict(steps: Mapping[str, Finding]) -> str:
    """The verdicts of `up_the_ladder` in one line.

    Example:
        >>> found = {name: Finding("The gap is smaller.", "", "inconclusive", "") for name in ("b", "c")}
        >>> ladder_verdict(found)
        'inconclusive at both steps'
    """
    verdicts = {larger: size_verdict(finding) for larger, finding in steps.items()}
    return say("size.ladder", verdicts=verdicts, same=len(set(verdicts.values())) == 1)


def sizes_table(outcomes: pd.DataFrame, bias: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Weights, lowest error and the gap there of each encoder of `published_of`, from the smallest."""
    rows = []
    for name in outcomes["encoder"].unique():
        layer = best_layer(outcomes, name)
        error = mean_error(outcomes[(outcomes["encoder"] == name) & (outcomes["layer"] == layer)])["error"].iloc[0]
        gap = gaps(bias, name, contrast).set_index("layer").loc[layer]
        rows.append(
            {
                "encoder": encoder_label(without_step(name)),
                "million weights": f"{parameters_of(parsed(name).plain) / 1e6:.1f}",
                "most accurate layer": layer,
                "error": Number("share", float(error)),
                f"gap there, {contrast}": Cell(with_interval("log odds", gap)),
            }
        )
    return pd.DataFrame(rows)
