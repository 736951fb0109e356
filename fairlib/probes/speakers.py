"""Who speaks: identification among all speakers or among a few, verification, and whom an error names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fairlib.corpora import halves
from fairlib.corpora.channel import crop, perturb
from fairlib.probes.classifiers import HIDDEN, fit
from fairlib.probes.settings import Probe
from fairlib.probes.splits import (
    ProbeError,
    balanced_speech,
    check_columns,
    columns_of,
    corpus_name,
    enough,
    group_of,
    held_out,
    listed,
)
from fairlib.probes.stored import Work, stored, with_left_out
from fairlib.probes.trials import among_candidates, lda_directions, verification_trials

BALANCED_SPEECH = {"seconds": 2.0, "least_utterances": 8}
FEWEST_UTTERANCES = 4
FEW = (10, 26, 50, 100, 200)  # candidates


@dataclass(frozen=True)
class SpeakerProbe(Probe):
    """Speaker identification: softmax over all speakers, on the mean and deviation over time of each layer's frames.

    Each seed holds out a share of each speaker's utterances, whose outcomes have ``errors`` 0 or 1 and ``predicted``,
    the speaker that was named. Speakers with fewer than four utterances are left out
    (`fairlib.outcomes.provenance` lists them).

    Attributes:
        size: ``linear``, or ``hidden``: with a hidden layer.
        seeds: seeds 0 to ``seeds - 1``, each with its own split.
        perturbed: give every utterance, in training and in test, a random channel of its own at equal level
            (`fairlib.corpora.channel.perturb`): a recording session can then not be taken for its speaker.
        balance: speaker columns. As many speakers of each group (drawn anew by each seed), utterances a speaker and
            seconds an utterance: the middle two seconds of utterances that have them.
        shuffled: a control: shuffle the training utterances' speakers; no better than chance, 1 - 1 / speakers.
        test_share: of each speaker's utterances.
        l2: weight of the squared weights in the loss.
        tolerance: how far above its minimum the linear probe's loss may be, in nats.
        iterations: instead of the minimum, an early stop after so many steps: only to be compared with outcomes that
            were made so.

    Example:
        >>> SpeakerProbe(seeds=5, l2=1e-3).key()["probe"]  # no custom setting is taken for the published one
        'linear, l2 0.001'
    """

    task: ClassVar = "sid"
    sizes: ClassVar = {"linear": ("tolerance", "iterations"), "hidden": ()}

    size: str = "linear"
    seeds: int = 5
    perturbed: bool = False
    balance: str | Sequence[str] = ()
    shuffled: bool = False
    test_share: float = 0.25
    l2: float = 3e-4
    tolerance: float = 1e-5
    iterations: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.test_share < 1:
            raise ProbeError(f"SpeakerProbe has test_share={self.test_share}: it must be above 0 and below 1.")
        if self.size == "linear" and self.iterations is None and not (self.l2 > 0 and self.tolerance > 0):
            raise ProbeError(
                f"SpeakerProbe has l2={self.l2:g} and tolerance={self.tolerance:g}: both must be above 0, or there is"
                " no minimum to end at; iterations= gives a number of steps instead."
            )

    def settings(self) -> dict[str, Any]:
        return {
            **self._values("test_share", "l2"),
            **(HIDDEN["sid"] if self.size == "hidden" else self._end()),
            **({"channel": 1} if self.perturbed else {}),
            **(BALANCED_SPEECH if self.balance else {}),
            **({"shuffled": True} if self.shuffled else {}),
        }

    def _end(self) -> dict[str, Any]:
        """When the linear probe's training is over."""
        return self._values("tolerance" if self.iterations is None else "iterations")

    def compute(self, work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        """One seed's outcomes, and what was left out of them."""
        check_columns(work.table, self.balance)
        if self.balance:
            long_enough = work.table["duration_s"] >= BALANCED_SPEECH["seconds"]
            chosen, few = enough(work.table, int(BALANCED_SPEECH["least_utterances"]), long_enough)
            chosen = chosen[balanced_speech(work.table.iloc[chosen], self.balance, seed)]
        else:
            chosen, few = enough(work.table, FEWEST_UTTERANCES)
        cut = BALANCED_SPEECH["seconds"] if self.balance else None
        features = work.features(work.table, *_alteration(self.perturbed, cut))
        rows = work.table.iloc[chosen].reset_index(drop=True)
        labels, names = pd.factorize(rows["speaker_id"])
        test = held_out(rows["speaker_id"], self.test_share, seed)
        taught = labels.copy()
        if self.shuffled:
            taught[~test] = np.random.default_rng(seed).permutation(labels[~test])
        tables = []
        for layer in features.layers:
            matrix = features.pooled(layer)[chosen]
            guess = fit(self, matrix, taught, ~test, seed, work.device)[test].argmax(axis=1)
            table = rows[test].assign(layer=layer, predicted=np.asarray(names)[guess], length=1)
            tables.append(table.assign(errors=(table["predicted"] != table["speaker_id"]).astype(int)))
        return with_left_out(pd.concat(tables).assign(unit="speaker"), few)


def named_among(size: int, by: str | Sequence[str], probe: SpeakerProbe) -> str:
    """What outcomes of `identify_among` say in ``probe`` where there are so many candidates.

    Example:
        >>> named_among(50, "sex", SpeakerProbe())
        'linear, 50 candidates by sex'
    """
    return f"{probe.name}, {size} candidates by {listed(columns_of(by))}"


def identify_among(
    encoder: str, corpus: str | pd.DataFrame, by: str | Sequence[str] = ("sex",),
    sizes: Sequence[int] = FEW, seeds: int = 5, force: bool = False, *, perturbed: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Speaker identification against the number of candidates, with as many candidates of each group.

    The linear `SpeakerProbe` names the best of a few candidates instead of all speakers: the speaker and others
    drawn at random, so that each group of ``by`` has its equal share. The expectation over all draws is exact (see
    `fairlib.probes.trials.among_candidates`), in thousandths: ``errors`` of a ``length`` of 1000.

    Args:
        by: speaker columns; speakers for whom one is missing are no candidates.
        sizes: numbers of candidates; those that the smallest group cannot fill are left out.
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        seeds, perturbed: as `SpeakerProbe`.

    Returns:
        Outcomes in which ``probe`` names the number, as in "linear, 50 candidates by sex".

    Example:
        >>> few = identify_among("pocket-hubert", "speechocean762", by="sex", sizes=[10])  # doctest: +SKIP
    """
    by = columns_of(by)
    probe = SpeakerProbe(perturbed=perturbed)
    settings, name = {**probe.settings(), "by": by, "sizes": list(sizes)}, probe.name

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        check_columns(work.table, by)
        chosen, few = enough(work.table, FEWEST_UTTERANCES)
        usable = work.table.iloc[chosen].reset_index(drop=True)
        features = work.features(work.table, *_alteration(perturbed))
        labels, names = pd.factorize(usable["speaker_id"])
        groups = group_of(usable.drop_duplicates("speaker_id"), by)  # in the order of names
        test = held_out(usable["speaker_id"], probe.test_share, seed)
        tables = []
        for layer in features.layers:
            scores = fit(probe, features.pooled(layer)[chosen], labels, ~test, seed, work.device)[test]
            for size in sizes:
                wrong = among_candidates(scores, labels[test], groups, size)
                if wrong is None:
                    continue
                known = np.isfinite(wrong)
                table = usable[test][known].assign(layer=layer, errors=np.round(1000 * wrong[known]).astype(int))
                tables.append(table.assign(probe=named_among(size, by, probe)))
        if not tables:
            raise ProbeError(
                f"No size among {', '.join(map(str, sizes))} can be filled with equal shares of the groups by "
                f"{listed(by)}, which have {', '.join(map(str, pd.Series(groups).value_counts()))} speakers: ask for "
                "smaller ones, divisible by the number of groups."
            )
        return with_left_out(pd.concat(tables).assign(unit="speaker", length=1000, predicted=""), few)

    return stored("sid", f"{name}, candidates by {listed(by)}", encoder, corpus, (), settings, seeds, force, compute)


def verify_speakers(
    encoder: str, corpus: str | pd.DataFrame, by: str | Sequence[str] = ("sex",), force: bool = False, *,
    back_end: str = "lda", perturbed: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Speaker verification from every layer: do two utterances come from one speaker?

    All pairs of the test half's utterances are trials, scored by the cosine of their pooled embeddings, standardised on
    the train half (or projected by linear discriminants of its speakers; the halves share no speaker). One threshold
    serves all: that of the equal error rate, where as many target trials are rejected as impostor trials accepted.

    Args:
        by: speaker columns that make the groups.
        back_end: ``lda`` or ``cosine``.
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        perturbed: as `SpeakerProbe`.

    Returns:
        Outcomes in three units, each utterance against all others: ``target`` (errors are false rejects), ``impostor of
        own group`` and ``impostor of other group`` (errors are false accepts); ``length`` counts the trials. The error
        of all target trials is the equal error rate.

    Raises:
        ProbeError: an unknown back end or column, or a test half without two speakers of two utterances.

    Example:
        >>> trials = verify_speakers("pocket-hubert", "speechocean762", by="sex")  # doctest: +SKIP
        >>> trials.groupby(["layer", "unit"])[["errors", "length"]].sum()  # doctest: +SKIP
    """
    by = columns_of(by)
    if back_end not in ("lda", "cosine"):
        raise ProbeError(f"Unknown back end {back_end!r}: choose lda or cosine.")
    settings = {"by": by, "back_end": back_end, **({"channel": 1} if perturbed else {})}

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        check_columns(work.table, by)
        chosen, few = enough(work.table, 2)
        table = work.table.iloc[chosen].reset_index(drop=True)
        half = halves(table).to_numpy()
        train, test = half == "train", half == "test"
        if table.loc[test, "speaker_id"].nunique() < 2:
            raise ProbeError(
                f"Verification needs two test speakers with two utterances; {corpus_name(table)} has fewer."
            )
        features = work.features(work.table, *_alteration(perturbed))
        speakers, _ = pd.factorize(table["speaker_id"])
        groups = group_of(table[test], by)
        tables = []
        for layer in features.layers:
            matrix = features.pooled(layer)[chosen].astype(float)
            matrix = (matrix - matrix[train].mean(axis=0)) / np.maximum(matrix[train].std(axis=0), 1e-6)
            if back_end == "lda":
                matrix = matrix @ lda_directions(matrix[train], speakers[train])
            for unit, errors, trials in verification_trials(matrix[test], speakers[test], groups):
                rows = table[test][trials > 0].assign(errors=errors[trials > 0], length=trials[trials > 0])
                tables.append(rows.assign(layer=layer, unit=unit))
        return with_left_out(pd.concat(tables).assign(predicted=""), few)

    name = f"verification, {back_end}" + (", perturbed channel" if perturbed else "")
    return stored("sid", f"{name} by {listed(by)}", encoder, corpus, (), settings, 1, force, compute)


def confusions(outcomes: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Split speaker identification's errors: taken for a speaker of the own group, or of another.

    Args:
        outcomes: of `SpeakerProbe`, with what they predicted.
        by: speaker columns that make the groups; utterances of speakers for whom one is missing are left out.

    Returns:
        Two tables of outcomes in one: ``unit`` is ``own group`` or ``other group``, ``errors`` counts that kind of
        error alone, so that the two sum to the error. A third column, ``chance``, is the share of that kind among the
        speakers other than the own: what errors that do not mind groups would give.

    Raises:
        ProbeError: no such column, or outcomes of another task.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": ["a", "b", "c"], "predicted": ["b", "b", "a"], "errors": [1, 0, 1]})
        >>> rows["sex"] = ["female", "female", "male"]
        >>> split = confusions(rows.assign(task="sid", encoder="e", probe="linear", layer="1", seed=0), "sex")
        >>> split.groupby("unit")["errors"].sum().to_dict()
        {'other group': 1, 'own group': 1}
    """
    by = columns_of(by)
    check_columns(outcomes, by)
    if set(outcomes["task"]) != {"sid"} or (outcomes["predicted"] == "").any():
        raise ProbeError("Confusions need outcomes of speaker identification: each row must say whom it predicted.")
    people = outcomes.drop_duplicates("speaker_id")
    group = pd.Series(group_of(people, by), index=people["speaker_id"])
    rows = outcomes[(outcomes["speaker_id"].map(group) != "").to_numpy()]
    own, named = rows["speaker_id"].map(group), rows["predicted"].map(group).fillna("")
    # Candidates differ between balanced seeds, so they are counted in each.
    cells = ["encoder", "probe", "layer", "seed"]
    speakers = rows.drop_duplicates([*cells, "speaker_id"]).assign(own_group=own)
    sizes = speakers.groupby([*cells, "own_group"]).size().rename("mine")
    totals = speakers.groupby(cells).size().rename("all")
    counted = rows[cells].assign(own_group=own).join(sizes, on=[*cells, "own_group"]).join(totals, on=cells)
    chance = ((counted["mine"] - 1) / (counted["all"] - 1).clip(lower=1)).to_numpy()
    within, wrong = (own == named).to_numpy(), (rows["errors"] == 1).to_numpy()
    return pd.concat(
        [
            rows.assign(unit="own group", errors=(wrong & within).astype(int), chance=chance),
            rows.assign(unit="other group", errors=(wrong & ~within).astype(int), chance=1 - chance),
        ],
        ignore_index=True,
    )


def _alteration(perturbed: bool, seconds: float | None = None) -> tuple[str, Callable | None]:
    """What is done to an utterance before it is encoded, and the name of that."""
    names = [*(["channel1"] if perturbed else []), *([f"{seconds}s"] if seconds else [])]
    alter = functools.partial(_altered, perturbed=perturbed, seconds=seconds)  # workers can be sent it
    return "-".join(names), alter if names else None


def _altered(audio: np.ndarray, utterance_id: str, perturbed: bool, seconds: float | None) -> np.ndarray:
    if seconds:
        audio = crop(audio, seconds)
    return perturb(audio, utterance_id) if perturbed else audio
