"""Findings: what a run says about a claim, by a dated criterion.

A finding holds the claim, the criterion, the evidence, the verdict, the facts, and the sentence that states them. The
chapters print these sentences; they contain no result of their own. All functions here are pure: tables in, facts out;
`fairlib.findings.wording` has the words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias.contrasts import counted
from fairlib.findings.rules import FEWEST_JUDGED, claim, rule
from fairlib.findings.wording import say

VERDICTS = ("supported", "contradicted", "depends on the scale", "inconclusive")


def detectable(low, high) -> float:
    """What would be detected with 80 % power, from the 95 % intervals of some estimates: the median's.

    Example:
        >>> round(detectable([-0.196], [0.196]), 2)
        0.28
    """
    half = np.nanmedian((np.asarray(high, float) - np.asarray(low, float)) / 2)
    return float(half * (1 + 0.8416 / 1.96))


def power(what: str) -> str:
    """The smallest difference that these speakers could show, as a sentence; `of_people` counts them in it.

    Example:
        >>> power("a gap of 0.28")
        'With these speakers, a gap of 0.28 would be detected with 80\\xa0% power.'
    """
    return say("parts.power", what=what)


_THESE = "With these speakers"  # what templates say of power begins so


@dataclass(frozen=True)
class Finding:
    """One claim, judged.

    Attributes:
        claim: what was asked, as a statement that can be wrong.
        criterion: the rule of judgement, as `fairlib.findings.rules` states it.
        verdict: one of `VERDICTS`.
        sentence: the finding in words, with its numbers.
        evidence: the rows the verdict rests on (layer, estimate, low, high, ...).
        facts: what the sentence says, as numbers and names: layers that show a gap, what would be detected, ...
    """

    claim: str
    criterion: str
    verdict: str
    sentence: str
    evidence: list[dict] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict is {self.verdict!r}; it must be one of {', '.join(VERDICTS)}.")

    def record(self) -> dict:
        """The finding as plain values that JSON can say; what is no finite number becomes null.

        Example:
            >>> Finding("c", "r", "supported", "s", [{"layer": "cnn", "low": float("nan")}]).record()["evidence"]
            [{'layer': 'cnn', 'low': None}]
        """
        evidence = json.loads(pd.DataFrame(self.evidence).to_json(orient="records"))
        facts = json.loads(pd.Series(self.facts, dtype=object).to_json())
        return {**asdict(self), "evidence": evidence, "facts": facts}


def judged(
    name: str, verdict: str, facts: Mapping[str, Any], evidence: list[dict], rows: pd.DataFrame | None = None,
    said: str = "",
) -> Finding:  # fmt: skip
    """A claim of the book, judged: its words are made from the facts.

    Args:
        name: of the rule, and of its table of templates.
        verdict: one of `VERDICTS`.
        facts: what the template names; ``by`` and ``contrast`` where groups are compared.
        rows: with the number of people that the finding stands on, as `of_people` takes them.
        said: the template; the one called as the verdict by default.

    Example:
        >>> judged("deepens", "inconclusive", {"layer": "cnn"}, [], said="first").sentence
        'The lowest error is at layer cnn, the first, so no growth up to it can be measured.'
    """
    sentence = say(f"{name}.{said or verdict}", **facts)
    found = Finding(claim(name), rule(name), verdict, sentence, evidence, dict(facts))
    return found if rows is None else of_people(found, rows, facts["by"], facts["contrast"])


def of_people(finding: Finding, rows: pd.DataFrame, by: str, contrast: str) -> Finding:
    """The finding with the number of people it stands on; where they are fewer than `FEWEST_JUDGED`, not judged.

    Args:
        rows: with ``n_speakers_a, n_speakers_b``, the smallest of which count; without them the finding stays as it is.

    Example:
        >>> few = pd.DataFrame({"n_speakers_a": [8], "n_speakers_b": [30]})
        >>> finding = of_people(Finding("c", "r", "supported", "s"), few, "age_group", "child vs adult")
        >>> print(finding.verdict, "|", finding.sentence.partition(" A verdict")[0])
        inconclusive | Not judged: 8 children and 30 adults are too few.
    """
    if not {"n_speakers_a", "n_speakers_b"} <= set(rows) or rows.empty:
        return finding
    sizes = [int(rows[column].min()) for column in ("n_speakers_a", "n_speakers_b")]
    people = counted(by, contrast, sizes)
    if min(sizes) < FEWEST_JUDGED:
        return replace(finding, verdict="inconclusive", sentence=say("parts.few", people=people))
    if _THESE in finding.sentence:
        return replace(finding, sentence=finding.sentence.replace(_THESE, say("parts.with", people=people)))
    return replace(finding, sentence=f"{finding.sentence} {say('parts.compared', people=people)}")


def not_asked(claim: str, criterion: str, why: str) -> Finding:
    """The finding where a corpus does not allow the question."""
    return Finding(claim, criterion, "inconclusive", say("parts.not_tested", why=why))


def refused(name: str, why: str) -> Finding:
    """As `not_asked`, of a claim of the book by the name of its rule.

    Example:
        >>> refused("when", "there are no transcripts.").sentence
        'Not tested: there are no transcripts.'
    """
    return not_asked(claim(name), rule(name), why)


def of_task(task: str, finding: Finding) -> Finding:
    """The finding, whose claim says of which task it is: for claims that are judged in several.

    Example:
        >>> of_task("sid", refused("when", "why not")).claim
        'Speaker identification: The gap between the groups opens during pretraining.'
    """
    return replace(finding, claim=f"{TASKS[task].heading}: {finding.claim}")
