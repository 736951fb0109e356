"""Findings: what a run says about a claim, by a dated criterion.

A finding holds the claim, the criterion, the evidence, the verdict and the sentence that states it. The
chapters print these sentences; they contain no result of their own. All functions here are pure: tables in,
words out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd

from fairlib.bias.contrasts import counted
from fairlib.findings.rules import FEWEST_JUDGED
from fairlib.writing import listing

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
    return f"{_THESE}, {what} would be detected with 80\N{NO-BREAK SPACE}% power."


_THESE = "With these speakers"


@dataclass(frozen=True)
class Finding:
    """One claim, judged.

    Attributes:
        claim: what was asked, as a statement that can be wrong.
        criterion: the rule of judgement, as `fairlib.findings.rules` states it.
        verdict: one of `VERDICTS`.
        sentence: the finding in words, with its numbers.
        evidence: the rows the verdict rests on (layer, estimate, low, high, ...).
    """

    claim: str
    criterion: str
    verdict: str
    sentence: str
    evidence: list[dict] = field(default_factory=list)

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
        return {**asdict(self), "evidence": evidence}


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
    people = listing(counted(by, contrast, sizes))
    if min(sizes) < FEWEST_JUDGED:
        sentence = (
            f"Not judged: {people} are too few. A verdict needs at least {FEWEST_JUDGED} speakers on either side."
        )
        return replace(finding, verdict="inconclusive", sentence=sentence)
    if _THESE in finding.sentence:
        return replace(finding, sentence=finding.sentence.replace(_THESE, f"With {people}"))
    return replace(finding, sentence=f"{finding.sentence} Compared: {people}.")


def not_asked(claim: str, criterion: str, why: str) -> Finding:
    """The finding where a corpus does not allow the question."""
    return Finding(claim, criterion, "inconclusive", f"Not tested: {why}")
