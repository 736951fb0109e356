"""The book's claims, judged of every encoder of which outcomes are published, by the rules of their chapters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, bias_differences, group_bias, layer_order
from fairlib.bias.association import error_slopes
from fairlib.corpora import CORPORA, is_synthetic
from fairlib.encoders import finetuned_from, heard
from fairlib.encoders.names import encoder_label, untrained_twin
from fairlib.findings import (
    Finding,
    after_fine_tuning,
    control_differences,
    controls,
    every_column,
    gaps,
    main_contrast,
    mark_saturated,
    mean_error,
    where_bias_begins,
    whose_gap,
)
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.opposite import c2_finding
from fairlib.findings.survey import by_speaker, every_encoder, published, published_twin
from fairlib.findings.where import do_layers_differ, where_verdict
from fairlib.findings.wording import say

CLAIMS = {
    "where": "different between layers",
    "begins": "unequal from the first layers on",
    "whose": "coming from the encoder",
    "pattern": "opposite patterns",
    "tuned": "unchanged by fine-tuning",
}


def judged(corpus: str, by: str) -> pd.DataFrame:
    """Every claim that published outcomes can judge, of every encoder of ours.

    Of an encoder that has heard part of the corpus, only people whom it has not heard are looked at: those of the test
    half. Where these are too few, nothing is judged.

    Args:
        by: the speaker column whose groups are compared.

    Returns:
        ``encoder, instrument, claim`` (keys of `CLAIMS`), ``error`` (of the best layer) and ``finding``; empty where
        nothing is published of the corpus.
    """
    rows, family = [], every_encoder(corpus)
    for task, unit, probe in (entry.main for entry in TASKS.values()):
        for name, mine in family.items():
            outcomes = mine[mine["unit"] == unit]
            own = outcomes[outcomes["encoder"] == name]
            if own.empty:
                continue
            before = finetuned_from(name)
            if before:
                earlier = by_speaker(published(before[0], corpus, task, unit, probe))
                outcomes = pd.concat([outcomes, earlier[earlier["speaker_id"].isin(own["speaker_id"])]])
            try:
                found = _findings(name, outcomes, by, task)
            except BiasError:  # too few people whom it has not heard
                continue
            error = mean_error(own)["error"].min()
            rows += [
                {"encoder": name, "instrument": TASKS[task].title, "claim": claim, "error": error, "finding": finding}
                for claim, finding in found.items()
            ]
    return pd.DataFrame(rows, columns=["encoder", "instrument", "claim", "error", "finding"])


def _findings(encoder: str, outcomes: pd.DataFrame, by: str, task: str) -> dict[str, Finding]:
    bias = mark_saturated(group_bias(outcomes, by=by), outcomes)
    contrast = main_contrast(bias, encoder)
    if bias.loc[bias["contrast"] == contrast, "few_speakers"].any():
        raise BiasError(f"Of {contrast} too few people are left whom {encoder} has not heard.")
    own, there = outcomes[outcomes["encoder"] == encoder], set(outcomes["encoder"].unique())
    found = {
        "where": do_layers_differ(own, by, encoder, contrast),
        "begins": where_bias_begins(bias, encoder, contrast),
    }
    if set(controls(encoder)) <= there:
        found["whose"] = whose_gap(bias, control_differences(outcomes, by, encoder), encoder, contrast)
    if TASKS[task].c2:
        twins = {encoder: twin} if (twin := untrained_twin(encoder)) in there else {}
        slopes = error_slopes(outcomes[outcomes["encoder"].isin([encoder, *twins.values()])], by, twins)
        found["pattern"] = c2_finding(slopes[slopes["encoder"] == encoder], task, contrast)
    before = finetuned_from(encoder)
    if before and before[0] in there:
        pairs = [((encoder, layer), (before[0], layer)) for layer in layer_order(own["layer"].unique())]
        found["tuned"] = after_fine_tuning(bias, bias_differences(outcomes, by, pairs), encoder, contrast)
    return found


def other_people(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """The gap in speaker identification on every other corpus: the encoder beside its controls.

    Args:
        by: the speaker column whose groups are compared.

    Returns:
        A row for each corpus (synthetic ones left out) and encoder, at the encoder's best layer; empty where nothing is
        published.
    """
    which = TASKS["sid"].main
    corpora = sorted(name for name in CORPORA if name != corpus and not is_synthetic(name))
    rows = []
    for other in corpora:
        own = {name: published(name, other, *which) for name in (encoder, *controls(encoder))}
        if untrained_twin(encoder) in own:
            own[untrained_twin(encoder)] = published_twin(encoder, other, *which)
        outcomes = pd.concat(own.values(), ignore_index=True)
        if by not in outcomes or own[encoder].empty:
            continue
        bias = every_column(outcomes, [by]).get(by)
        if bias is None:
            continue
        contrast = main_contrast(bias, encoder)
        for name in (name for name, mine in own.items() if len(mine)):
            error = mean_error(own[name]).set_index("layer")["error"]
            gap = gaps(bias, name, contrast).set_index("layer").loc[error.idxmin()]
            people = f"{other}, {contrast}\n{gap['n_speakers_a']} and {gap['n_speakers_b']} speakers"
            row: dict[str, Any] = {"people": people, "encoder": encoder_label(name)}
            best = "all" if name == "logmel" else error.idxmin()
            row["best layer"] = Cell(best, "\nerror ", Number("share", error.min()))
            row["log odds ratio there"] = with_interval("log odds", gap) if error.min() else "no errors"
            row["in its training data"] = "in large part" if other in heard(encoder) and name == encoder else ""
            rows.append(row)
    return pd.DataFrame(rows)


def verdicts_table(table: pd.DataFrame) -> pd.DataFrame:
    """`judged` of one instrument a row for each encoder, its verdicts side by side."""
    rows = []
    for (instrument, encoder), mine in table.groupby(["instrument", "encoder"], sort=False):
        verdicts = {claim: _verdict(claim, finding) for claim, finding in zip(mine["claim"], mine["finding"])}
        row = {instrument: Cell(encoder_label(encoder), "\nlowest error ", Number("share", mine["error"].iloc[0]))}
        rows.append(row | {told: verdicts.get(claim, "") for claim, told in CLAIMS.items()})
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()]


def told(table: pd.DataFrame) -> list[str]:
    """For each claim, how the verdicts of `judged` are spread over encoders, in words; where few differ, which.

    Example:
        >>> rows = [("a", "supported"), ("b", "supported"), ("c", "contradicted")]
        >>> table = pd.DataFrame(rows, columns=["encoder", "finding"])
        >>> table = table.assign(instrument="phone classification", claim="whose")
        >>> table["finding"] = [Finding("claim", "rule", verdict, "sentence") for verdict in table["finding"]]
        >>> told(table)
        ['**Coming from the encoder?** Phone classification: supported for 2 of 3, contradicted for c.']
    """
    lines = []
    for claim, question in CLAIMS.items():
        parts: dict[str, list[dict[str, Any]]] = {}
        for instrument, mine in table[table["claim"] == claim].groupby("instrument", sort=False):
            verdicts = mine["finding"].map(partial(_verdict, claim))
            parts[str(instrument)] = [
                {"verdict": verdict, "encoders": list(mine.loc[verdicts == verdict, "encoder"]), "of": len(mine)}
                for verdict in verdicts.value_counts().index
            ]
        if parts:
            lines.append(say("claims.spread", question=question, parts=parts))
    return lines


def _verdict(claim: str, finding: Finding) -> str:
    return where_verdict(finding) if claim == "where" else finding.verdict


def agreement(table: pd.DataFrame, encoder: str) -> str:
    """How many of the verdicts of `judged` on other encoders are as those on this one, as a sentence.

    Two inconclusive verdicts are not agreement about anything, so these are counted separately.

    Example:
        >>> rows = [("a", "supported"), ("b", "supported"), ("c", "contradicted")]
        >>> table = pd.DataFrame(rows, columns=["encoder", "finding"]).assign(instrument="phones", claim="whose")
        >>> table["finding"] = [Finding("claim", "rule", verdict, "sentence") for verdict in table["finding"]]
        >>> agreement(table, "a")
        '2 other encoders gave the same verdict on 1 of 2 tests; they share the same speakers.'
        >>> table["finding"] = [Finding("claim", "rule", "inconclusive", "sentence")] * 3
        >>> agreement(table, "a")
        '2 other encoders gave the same verdict on 2 of 2 tests, 2 of them inconclusive; they share the same speakers.'
    """
    verdicts = table.assign(verdict=table["finding"].map(lambda finding: finding.verdict))
    own = verdicts[verdicts["encoder"] == encoder].set_index(["instrument", "claim"])["verdict"]
    others = verdicts[verdicts["encoder"] != encoder].join(own.rename("own"), on=["instrument", "claim"], how="inner")
    if others.empty:
        return say("claims.alone")
    alike = others.loc[others["verdict"] == others["own"], "verdict"]
    open_both = int((alike == "inconclusive").sum())
    facts = {"others": others["encoder"].nunique(), "alike": len(alike), "tests": len(others), "open": open_both}
    return say("claims.agreement", **facts)
