"""Probes: what can be read from each layer, and with how many errors. All layers' probes see the same data.

Three tasks: who speaks (`probe_speakers`: softmax on mean and deviation over time), what is said (`probe_characters`:
CTC on frames), and which phone sounds (`probe_phones`: softmax on force-aligned frames), each in two sizes of probe and
with the controls that tell what an error means. `identify_among` and `verify_speakers` are further views of the first
task, `description_length` of the first and the last. Each returns outcomes (see `fairlib.outcomes`), from the store if
they are there.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fairlib.channel import crop, perturb
from fairlib.corpora import SPEAKER_COLUMNS, corpus_fingerprint, halves, load_corpus, require_text
from fairlib.encoders import Encoder, encoder_fingerprint, load_encoder
from fairlib.extraction import extract
from fairlib.folders import cache_folder
from fairlib.outcomes import COLUMNS, METHOD, read_outcomes, read_published, write_outcomes
from fairlib.probing.codes import online_code
from fairlib.probing.ctc import fit_ctc
from fairlib.probing.hidden import fit_hidden
from fairlib.probing.softmax import fit_softmax
from fairlib.probing.text import count_errors, plain_text
from fairlib.probing.trials import among_candidates, lda_directions, verification_trials

SPEAKER_PROBE = {"test_share": 0.25, "iterations": 20, "l2": 3e-4}
CHARACTER_PROBE = {
    "passes": 6, "seconds_per_batch": 64.0, "learning_rate": 4e-3, "warm_up": 0.05, "clip": 5.0,
    "width": 128, "kernel": 5, "stride": 2,
}  # fmt: skip
PHONE_PROBE = {"iterations": 20, "l2": 1e-5}
HIDDEN = {
    "sid": {"hidden": 256, "steps": 300, "batch": 512, "learning_rate": 2e-3, "l2": 3e-4},
    "phone": {"hidden": 128, "steps": 1500, "batch": 4096, "learning_rate": 2e-3, "l2": 1e-5},
}
BALANCED_SPEECH = {"seconds": 2.0, "least_utterances": 8}
FEWEST_UTTERANCES = 4

# Two to three hours of one corpus are too few for a character probe; these corpora lend it their transcribed speech.
EXTRA_TRAINING_SPEECH = {"speechocean762": ("librispeech",)}


class ProbeError(ValueError):
    """A corpus cannot be probed as asked; the message says what is lacking."""


def probe_speakers(
    encoder: str, corpus: str | pd.DataFrame, seeds: int = 5, force: bool = False, *, probe: str = "linear",
    perturbed: bool = False, balance: str | Sequence[str] = (), shuffled: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Speaker identification from every layer: softmax over all speakers, on pooled embeddings.

    Each seed holds out a quarter of each speaker's utterances. Speakers with fewer than four utterances are left out;
    ``attrs["provenance"]["left_out"]`` lists them.

    Args:
        encoder: a name that `load_encoder` takes.
        corpus: a corpus table, or a name; for a name, published outcomes are used if there are any.
        seeds: seeds 0 to ``seeds - 1``, each with its own split.
        force: compute from audio, whatever is stored.
        probe: ``linear``, or ``hidden``: with a hidden layer.
        perturbed: give every utterance, in training and in test, a random channel of its own at equal level
            (`fairlib.channel.perturb`): a recording session can then not be taken for its speaker.
        balance: speaker columns. As many speakers of each group (drawn anew by each seed), utterances a speaker and
            seconds an utterance: the middle two seconds of utterances that have them.
        shuffled: a control: shuffle the training utterances' speakers; no better than chance, 1 - 1 / speakers.

    Returns:
        Outcomes of the held-out utterances: ``errors`` 0 or 1, ``predicted`` the speaker that was named. The column
        ``probe`` names all that departs from the plain probe, as in "linear, perturbed channel".

    Raises:
        ProbeError: fewer than two speakers have enough utterances, or an unknown probe or column.
    """
    balance = _columns(balance)
    sizes = {"linear": {}, "hidden": HIDDEN["sid"]}
    _check_probe(probe, sizes)
    settings = {**SPEAKER_PROBE, **sizes[probe]}
    name = probe
    if perturbed:
        settings, name = {**settings, "channel": 1}, f"{name}, perturbed channel"
    if balance:
        settings, name = {**settings, **BALANCED_SPEECH, "balance": balance}, f"{name}, balanced by {_and(balance)}"
    if shuffled:
        settings, name = {**settings, "shuffled": True}, f"{name}, shuffled labels"

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        _check_columns(work.table, balance)
        if balance:
            long_enough = work.table["duration_s"] >= BALANCED_SPEECH["seconds"]
            chosen, few = _enough(work.table, BALANCED_SPEECH["least_utterances"], long_enough)
            chosen = chosen[balanced_speech(work.table.iloc[chosen], balance, seed)]
        else:
            chosen, few = _enough(work.table, FEWEST_UTTERANCES)
        features = work.features(work.table, *_alteration(perturbed, BALANCED_SPEECH["seconds"] if balance else None))
        rows = work.table.iloc[chosen].reset_index(drop=True)
        labels, names = pd.factorize(rows["speaker_id"])
        test = held_out(rows["speaker_id"], SPEAKER_PROBE["test_share"], seed)
        taught = labels.copy()
        if shuffled:
            taught[~test] = np.random.default_rng(seed).permutation(labels[~test])
        tables = []
        for layer in features.layers:
            matrix = features.matrix(layer)[chosen]
            guess = _fit("sid", probe, matrix, taught, ~test, seed, work.device)[test].argmax(axis=1)
            table = rows[test].assign(layer=layer, predicted=np.asarray(names)[guess], length=1)
            tables.append(table.assign(errors=(table["predicted"] != table["speaker_id"]).astype(int)))
        return pd.concat(tables).assign(unit="speaker").pipe(_with_left_out, few)

    return _stored("sid", name, encoder, corpus, (), settings, seeds, force, compute)


def identify_among(
    encoder: str, corpus: str | pd.DataFrame, by: str | Sequence[str] = ("sex",),
    sizes: Sequence[int] = (10, 26, 50, 100, 200), seeds: int = 5, force: bool = False, *, perturbed: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Speaker identification against the number of candidates, with as many candidates of each group.

    The probe of `probe_speakers` names the best of a few candidates instead of all speakers: the speaker and others
    drawn at random, so that each group of ``by`` has its equal share. The expectation over all draws is exact (see
    `fairlib.probing.trials.among_candidates`), in thousandths: ``errors`` of a ``length`` of 1000.

    Args:
        by: speaker columns; speakers for whom one is missing are no candidates.
        sizes: numbers of candidates; those that the smallest group cannot fill are left out.
        encoder, corpus, seeds, force, perturbed: as `probe_speakers`.

    Returns:
        Outcomes in which ``probe`` names the number, as in "linear, 50 candidates by sex".
    """
    by = _columns(by)
    settings = {**SPEAKER_PROBE, "by": by, "sizes": list(sizes), **({"channel": 1} if perturbed else {})}
    name = "linear" + (", perturbed channel" if perturbed else "")

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        _check_columns(work.table, by)
        chosen, few = _enough(work.table, FEWEST_UTTERANCES)
        usable = work.table.iloc[chosen].reset_index(drop=True)
        features = work.features(work.table, *_alteration(perturbed))
        labels, names = pd.factorize(usable["speaker_id"])
        groups = _group_of(usable.drop_duplicates("speaker_id"), by)  # in the order of names
        test = held_out(usable["speaker_id"], SPEAKER_PROBE["test_share"], seed)
        tables = []
        for layer in features.layers:
            scores = _fit("sid", "linear", features.matrix(layer)[chosen], labels, ~test, seed, work.device)[test]
            for size in sizes:
                wrong = among_candidates(scores, labels[test], groups, size)
                if wrong is None:
                    continue
                known = np.isfinite(wrong)
                table = usable[test][known].assign(layer=layer, errors=np.round(1000 * wrong[known]).astype(int))
                tables.append(table.assign(probe=f"{name}, {size} candidates by {_and(by)}"))
        if not tables:
            raise ProbeError(
                f"No size among {', '.join(map(str, sizes))} can be filled with equal shares of the groups by "
                f"{_and(by)}, which have {', '.join(map(str, pd.Series(groups).value_counts()))} speakers: ask for "
                "smaller ones, divisible by the number of groups."
            )
        return pd.concat(tables).assign(unit="speaker", length=1000, predicted="").pipe(_with_left_out, few)

    return _stored("sid", f"{name}, candidates by {_and(by)}", encoder, corpus, (), settings, seeds, force, compute)


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
        encoder, corpus, force, perturbed: as `probe_speakers`.

    Returns:
        Outcomes in three units, each utterance against all others: ``target`` (errors are false rejects), ``impostor of
        own group`` and ``impostor of other group`` (errors are false accepts); ``length`` counts the trials. The error
        of all target trials is the equal error rate.

    Raises:
        ProbeError: an unknown back end or column, or a test half without two speakers of two utterances.
    """
    by = _columns(by)
    if back_end not in ("lda", "cosine"):
        raise ProbeError(f"Unknown back end {back_end!r}: choose lda or cosine.")
    settings = {"by": by, "back_end": back_end, **({"channel": 1} if perturbed else {})}

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        _check_columns(work.table, by)
        chosen, few = _enough(work.table, 2)
        table = work.table.iloc[chosen].reset_index(drop=True)
        test = (halves(table) == "test").to_numpy()
        if table.loc[test, "speaker_id"].nunique() < 2:
            raise ProbeError(f"Verification needs two test speakers with two utterances; {_name(table)} has fewer.")
        features = work.features(work.table, *_alteration(perturbed))
        speakers, _ = pd.factorize(table["speaker_id"])
        groups = _group_of(table[test], by)
        tables = []
        for layer in features.layers:
            matrix = features.matrix(layer)[chosen].astype(float)
            matrix = (matrix - matrix[~test].mean(axis=0)) / np.maximum(matrix[~test].std(axis=0), 1e-6)
            if back_end == "lda":
                matrix = matrix @ lda_directions(matrix[~test], speakers[~test])
            for unit, errors, trials in verification_trials(matrix[test], speakers[test], groups):
                rows = table[test][trials > 0].assign(errors=errors[trials > 0], length=trials[trials > 0])
                tables.append(rows.assign(layer=layer, unit=unit))
        return pd.concat(tables).assign(predicted="").pipe(_with_left_out, few)

    name = f"verification, {back_end}" + (", perturbed channel" if perturbed else "")
    return _stored("sid", f"{name} by {_and(by)}", encoder, corpus, (), settings, 1, force, compute)


def probe_characters(
    encoder: str, corpus: str | pd.DataFrame, probe: str = "context", seeds: int = 1, force: bool = False, *,
    balance: str | Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Speech recognition from every layer: CTC over characters, greedy decoding.

    Trained on the corpus's train half (and the corpora of `EXTRA_TRAINING_SPEECH`), tested on its test half (see
    `fairlib.corpora.halves`); the two share no speaker. Layers start from the same weights, so that they differ by
    their features only.

    Args:
        probe: ``linear``, or ``context``: two convolutions over 0.3 s.
        encoder, corpus, force: as `probe_speakers`.
        seeds: seeds 0 to ``seeds - 1``, each with its own initial weights and order of batches.
        balance: speaker columns: train on as many seconds of each group, by leaving utterances out at random. Speech
            for which a column is missing is left out too.

    Returns:
        Outcomes in units ``char`` and ``word``, with substitutions, deletions and insertions.

    Raises:
        ProbeError: an unknown probe or column, or a transcript without a letter.
        fairlib.corpora.CorpusError: an utterance has no transcript.
    """
    _check_probe(probe, ("linear", "context"))
    balance = _columns(balance)

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        _check_columns(work.table, balance)
        tables = [work.table, *work.extra]
        texts = []
        for table in tables:
            require_text(table)
            texts.append([plain_text(text) for text in table["text"]])
            for row, text in zip(table.itertuples(), texts[-1]):
                if not text:
                    raise ProbeError(
                        f"The transcript of {row.utterance_id} in {row.corpus} holds no letter: {row.text!r}."
                    )
        half = halves(work.table).to_numpy()
        features = [work.features(table, frames=True) for table in tables]
        # Where an utterance lies: its table and its row there.
        places = [(0, row) for row in np.flatnonzero(half == "train")]
        places += [(number, row) for number, table in enumerate(tables) if number for row in range(len(table))]
        if balance:
            candidates = pd.concat([tables[number].iloc[[row]] for number, row in places], ignore_index=True)
            places = [places[row] for row in balanced_seconds(candidates, balance, seed)]
        testing = np.flatnonzero(half == "test")
        training = len(places)
        places += [(0, row) for row in testing]
        frames = []
        for layer in features[0].layers:
            views = [one.utterances(layer) for one in features]
            frames.append([views[number][row] for number, row in places])
        decoded = fit_ctc(
            frames, [texts[number][row] for number, row in places], training=training, context=probe == "context",
            seed=seed, device=work.device, **CHARACTER_PROBE,
        )  # fmt: skip
        rows, references = work.table.iloc[testing].reset_index(drop=True), [texts[0][row] for row in testing]
        results = []
        for layer, hypotheses in zip(features[0].layers, decoded):
            for unit in ("char", "word"):
                counts = count_errors(references, hypotheses, unit)
                results.append(pd.concat([rows, counts], axis=1).assign(layer=layer, unit=unit))
        return pd.concat(results).assign(predicted="")

    name = corpus if isinstance(corpus, str) else _name(corpus)
    settings = (
        CHARACTER_PROBE if probe == "context" else {k: v for k, v in CHARACTER_PROBE.items() if k not in _CONTEXT_ONLY}
    )
    extra = EXTRA_TRAINING_SPEECH.get(name, ())
    if balance:
        settings, probe_name = {**settings, "balance": balance}, f"{probe}, balanced by {_and(balance)}"
    else:
        probe_name = probe
    return _stored("asr", probe_name, encoder, corpus, extra, settings, seeds, force, compute)


_CONTEXT_ONLY = ("width", "kernel", "stride")


def probe_phones(
    encoder: str, corpus: str | pd.DataFrame, seeds: int = 1, force: bool = False, *, probe: str = "linear",
    balance: str | Sequence[str] = (), control: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Phone classification from every layer: softmax on frames whose phones come from forced alignment.

    Halves as `probe_characters`, without extra speech. Silence, and words that the dictionary lacks, are left out;
    utterances that the aligner gives up on are counted on standard error and left out.

    Args:
        probe: ``linear``, or ``hidden``: with a hidden layer.
        balance: as `probe_characters`.
        control: a control task (Hewitt and Liang 2019): each phone between its two neighbours is a type, and each type
            has one random phone as its label, in training and in test. What a probe gets right here it has memorised;
            `selectivity` sets it against the task.
        encoder, corpus, seeds, force: as `probe_speakers`.

    Returns:
        Outcomes in unit ``phone``: wrong and all frames of each test utterance.
    """
    sizes = {"linear": PHONE_PROBE, "hidden": {**HIDDEN["phone"]}}
    _check_probe(probe, sizes)
    balance = _columns(balance)
    settings, name = dict(sizes[probe]), probe
    if balance:
        settings, name = {**settings, "balance": balance}, f"{name}, balanced by {_and(balance)}"
    if control:
        settings, name = {**settings, "control": 1}, f"{name}, control task"

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        _check_columns(work.table, balance)
        frames = _PhoneFrames(work)
        table, codes = frames.table, frames.codes
        if control:
            codes = control_labels(frames.types, codes, seed)
        train = (halves(table) == "train").to_numpy()
        if balance:
            training = np.flatnonzero(train)
            train = np.isin(np.arange(len(table)), training[balanced_seconds(table.iloc[training], balance, seed)])
        test = (halves(table) == "test").to_numpy()[frames.owner]
        tables = []
        for layer in frames.features.layers:
            scores = _fit("phone", probe, frames.matrix(layer), codes, train[frames.owner], seed, work.device)
            wrong = (scores.argmax(axis=1) != codes)[test].astype(int)
            counts = pd.DataFrame({"row": frames.owner[test], "errors": wrong, "length": 1}).groupby("row").sum()
            tables.append(pd.concat([table.loc[counts.index], counts], axis=1).assign(layer=layer))
        return pd.concat(tables).assign(unit="phone", predicted="")

    return _stored("phone", name, encoder, corpus, (), settings, seeds, force, compute)


def description_length(
    encoder: str, corpus: str | pd.DataFrame, task: str = "sid", seeds: int = 1, force: bool = False
):
    """Online code length of the labels given each layer: how hard a layer makes its probe work.

    Voita and Titov 2020: labels are sent in blocks of growing size, each coded with a linear probe trained on all
    before; the first block costs log2(classes) a label (see `fairlib.probing.codes.online_code`). A layer from which a
    few examples suffice has a short code; labels that it does not tell cost log2(classes) bits each.

    Args:
        task: ``sid`` (speakers of utterances) or ``phone`` (phones of frames; of one frame in ten).
        encoder, corpus, force: as `probe_speakers`.
        seeds: each with its own order of the labels.

    Returns:
        Outcomes in unit ``millibit``: code length of each utterance's labels in thousandths of a bit (``errors``) and
        their number (``length``); ``probe`` is ``online code``, and ``uniform code`` for the code that knows nothing.
    """
    if task not in ("sid", "phone"):
        raise ProbeError(f"Unknown task {task!r}: choose sid or phone.")
    settings = {**(SPEAKER_PROBE if task == "sid" else PHONE_PROBE), "code": 1}

    def compute(work: _Work, seed: int) -> pd.DataFrame:
        few: list[str] = []
        if task == "sid":
            kept, few = _enough(work.table, FEWEST_UTTERANCES)
            table, features = work.table.iloc[kept].reset_index(drop=True), work.features(work.table)
            owner, codes = np.arange(len(table)), pd.factorize(table["speaker_id"])[0]
            layers = features.layers

            def matrix(layer: str) -> np.ndarray:
                return features.matrix(layer)[kept]
        else:
            frames = _PhoneFrames(work)
            chosen = np.sort(np.random.default_rng(seed).permutation(len(frames.owner))[: len(frames.owner) // 10])
            table, owner, codes = frames.table, frames.owner[chosen], pd.factorize(frames.codes[chosen])[0]
            layers = frames.features.layers

            def matrix(layer: str) -> np.ndarray:
                return frames.matrix(layer)[chosen]

        tables = []
        for layer in layers:
            bits = online_code(
                matrix(layer), codes, groups=owner, seed=seed, l2=settings["l2"], iterations=settings["iterations"],
                device=work.device,
            )  # fmt: skip
            for name, lengths in (
                ("online code", bits),
                ("uniform code", np.full(len(bits), np.log2(codes.max() + 1))),
            ):
                sums = pd.DataFrame({"row": owner, "errors": 1000 * lengths, "length": 1}).groupby("row").sum()
                sums["errors"] = sums["errors"].round().astype(int)
                tables.append(pd.concat([table.loc[sums.index], sums], axis=1).assign(layer=layer, probe=name))
        return pd.concat(tables).assign(unit="millibit", predicted="").pipe(_with_left_out, few)

    return _stored(task, "online code", encoder, corpus, (), settings, seeds, force, compute)


def confusions(outcomes: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Split speaker identification's errors: taken for a speaker of the own group, or of another.

    Args:
        outcomes: of `probe_speakers`, with what they predicted.
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
    by = _columns(by)
    _check_columns(outcomes, by)
    if set(outcomes["task"]) != {"sid"} or (outcomes["predicted"] == "").any():
        raise ProbeError("Confusions need outcomes of probe_speakers: each row must say whom it predicted.")
    people = outcomes.drop_duplicates("speaker_id")
    group = pd.Series(_group_of(people, by), index=people["speaker_id"])
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


def selectivity(outcomes: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """Error on the control task less error on the task, layer by layer (Hewitt and Liang 2019).

    Args:
        outcomes, control: of the same encoders, corpus and layers, the second with ``shuffled`` or ``control``.

    Returns:
        One row per encoder, task, unit and layer: ``error, control_error, selectivity``.

    Raises:
        ProbeError: the two have no layer in common.

    Example:
        >>> rows = pd.DataFrame({"encoder": "e", "task": "sid", "unit": "speaker", "layer": "1", "length": [1, 1]})
        >>> selectivity(rows.assign(errors=[0, 1]), rows.assign(errors=1))["selectivity"].tolist()
        [0.5]
    """
    cells = ["encoder", "task", "unit", "layer"]
    errors = [
        rows.groupby(cells, sort=False)["errors"].sum() / rows.groupby(cells, sort=False)["length"].sum()
        for rows in (outcomes, control)
    ]
    table = pd.concat([errors[0].rename("error"), errors[1].rename("control_error")], axis=1, join="inner")
    if table.empty:
        raise ProbeError("The task's and the control's outcomes share no encoder, task, unit and layer.")
    return table.assign(selectivity=table["control_error"] - table["error"]).reset_index()


# ------------------------------------------------------------------------------------------------- store and provenance

_kept: set[Path] | None = None  # features to be removed at the end of `kept_features`


@contextmanager
def kept_features() -> Iterator[None]:
    """Within it, each encoder passes over each corpus once: its features serve every probe, and are removed at the end.

    Frames of all layers are large (three gigabytes for ten hours of a pocket encoder), so outside of it each call of a
    probe removes its own.

    Example:
        >>> with kept_features():  # doctest: +SKIP
        ...     speakers = probe_speakers("pocket-hubert", "speechocean762")
        ...     characters = probe_characters("pocket-hubert", "speechocean762")
    """
    global _kept
    if _kept is not None:  # the outer one removes them
        yield
        return
    _kept = set()
    try:
        yield
    finally:
        for folder in _kept:
            shutil.rmtree(folder, ignore_errors=True)
        _kept = None


class _Work:
    """What a probe computes from: the corpus, those that lend it speech, and features made when they are asked for."""

    def __init__(self, encoder: str, table: pd.DataFrame, extra: list[pd.DataFrame], key: dict) -> None:
        self.table, self.extra, self.key = table.reset_index(drop=True), extra, key
        self.encoder: Encoder = load_encoder(encoder)
        self.device = self.encoder.device
        self._folders: set[Path] = set()

    def features(self, table: pd.DataFrame, alteration: str = "", alter: Callable | None = None, frames: bool = False):
        """Features of a whole corpus; ``alteration`` names what ``alter`` does."""
        fingerprints = [self.key["corpus_fingerprint"], *self.key["extra_fingerprints"]]
        number = next(i for i, one in enumerate([self.table, *self.extra]) if one is table)
        # Two probes that run side by side must not remove each other's features.
        owner = "shared" if _kept is not None else f"{self.key['task']}-{self.key['probe']}".replace(" ", "-")
        name = "-".join([self.key["encoder_fingerprint"][:12], fingerprints[number][:12], *filter(None, [alteration])])
        folder = cache_folder() / "features" / owner / name
        (self._folders if _kept is None else _kept).add(folder)
        # Frames that another probe will want come with the same pass.
        return extract(self.encoder, table, folder, frames or (_kept is not None and not alteration), alter)

    def clear(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def _stored(task, probe, encoder, corpus, extra, settings, seeds, force, compute: Callable) -> pd.DataFrame:
    """Outcomes of every seed: published, stored, or computed now and stored."""
    name = corpus if isinstance(corpus, str) else _name(corpus)
    key = {
        "task": task, "probe": probe, "encoder": encoder, "encoder_fingerprint": encoder_fingerprint(encoder), "corpus":
        name, "extra": list(extra), "settings": settings, "method": METHOD[task],
    }  # fmt: skip
    if isinstance(corpus, str) and not force:
        entries = [read_published({**key, "seed": seed}) for seed in range(seeds)]
        if all(entry is not None for entry in entries):
            return _together(entries, "published")

    table = load_corpus(corpus) if isinstance(corpus, str) else corpus
    extra_tables = [load_corpus(other) for other in extra]
    key["corpus_fingerprint"] = corpus_fingerprint(table)
    key["extra_fingerprints"] = [corpus_fingerprint(other) for other in extra_tables]
    entries, origin, work = [], "stored", None
    for seed in range(seeds):
        entry = None if force else read_outcomes({**key, "seed": seed})
        if entry is None:
            origin = "computed"
            work = work or _Work(encoder, table, extra_tables, key)
            started = time.monotonic()
            rows = compute(work, seed)
            constants = {"encoder": encoder, "task": task, "seed": seed}
            # Some views have several probes in one entry.
            entry = _tidy(rows, **constants, **({} if "probe" in rows else {"probe": probe}))
            about = {
                "device": work.device, "threads": torch.get_num_threads(), "torch": torch.__version__,
                "duration_s": round(time.monotonic() - started, 1), "left_out": rows.attrs.get("left_out", []),
            }  # fmt: skip
            write_outcomes(entry, {**key, "seed": seed}, about)
            entry.attrs = {"stored": {"key": {**key, "seed": seed}, **about}}
        entries.append(entry)
    if work is not None:
        work.clear()
    return _together(entries, origin)


def _tidy(rows: pd.DataFrame, **constants) -> pd.DataFrame:
    rows = rows.assign(**constants)
    for count in ("substitutions", "deletions", "insertions"):
        if count not in rows:
            rows[count] = 0
    speaker = [column for column in SPEAKER_COLUMNS if column in rows]
    return rows[[*COLUMNS, *speaker]].astype(COLUMNS).reset_index(drop=True)


def _together(entries: list[pd.DataFrame], origin: str) -> pd.DataFrame:
    stored = [entry.attrs["stored"] for entry in entries]
    key = stored[0]["key"]
    outcomes = pd.concat([entry.copy() for entry in entries], ignore_index=True)
    outcomes.attrs = {
        "provenance": {
            "origin": origin,
            "encoder": key["encoder"],
            "encoder_fingerprint": key["encoder_fingerprint"],
            "corpus": key["corpus"],
            "corpus_fingerprint": key["corpus_fingerprint"],
            "seeds": [entry["key"]["seed"] for entry in stored],
            "settings": key["settings"],
            "device": stored[0]["device"],
            "left_out": sorted({speaker for entry in stored for speaker in entry["left_out"]}),
            "duration_s": round(sum(entry["duration_s"] for entry in stored), 1),
        }
    }
    return outcomes


def _name(table: pd.DataFrame) -> str:
    return str(table["corpus"].iloc[0])


# ------------------------------------------------------------------------------------------------------ parts of probes


def _fit(task: str, probe: str, matrix, labels, train, seed: int, device: str) -> np.ndarray:
    """Scores of every row by one layer's probe of either size."""
    if probe == "hidden":
        return fit_hidden(matrix, labels, train, seed=seed, device=device, **HIDDEN[task])
    settings = SPEAKER_PROBE if task == "sid" else PHONE_PROBE
    return fit_softmax(matrix, labels, train, iterations=settings["iterations"], l2=settings["l2"], device=device)


def _alteration(perturbed: bool, seconds: float | None = None) -> tuple[str, Callable | None]:
    """What is done to an utterance before it is encoded, and the name of that."""
    names = [*(["channel1"] if perturbed else []), *([f"{seconds}s"] if seconds else [])]

    def alter(audio: np.ndarray, utterance_id: str) -> np.ndarray:
        if seconds:
            audio = crop(audio, seconds)
        return perturb(audio, utterance_id) if perturbed else audio

    return "-".join(names), alter if names else None


def _enough(table: pd.DataFrame, least: int, usable: pd.Series | None = None) -> tuple[np.ndarray, list[str]]:
    """Rows of the speakers with ``least`` usable utterances, and the speakers without, who are named on the way."""
    usable = np.ones(len(table), bool) if usable is None else usable.to_numpy()
    counts = pd.Series(usable).groupby(table["speaker_id"].to_numpy()).sum()
    few = sorted(counts.index[counts < least])
    if len(counts) - len(few) < 2:
        raise ProbeError(f"Probing speakers needs at least two with {least} utterances each; {_name(table)} has fewer.")
    if few:
        print(f"{len(few)} speakers with fewer than {least} utterances are left out.", file=sys.stderr)
    return np.flatnonzero(usable & ~table["speaker_id"].isin(few).to_numpy()), few


def _with_left_out(rows: pd.DataFrame, speakers: list[str]) -> pd.DataFrame:
    rows.attrs["left_out"] = list(speakers)
    return rows


class _PhoneFrames:
    """The aligned corpus: its features, and the phone, type and utterance of every frame that has a phone."""

    def __init__(self, work: _Work) -> None:
        from fairlib.alignment import align

        phones = align(work.table)
        kept = np.flatnonzero(work.table["utterance_id"].isin(phones))
        self.table = work.table.iloc[kept].reset_index(drop=True)
        self.features = work.features(work.table, frames=True)
        self._rows = kept
        labels, types, owners = [], [], []
        for row, (utterance, frames) in enumerate(
            zip(self.table["utterance_id"], self._frames(self.features.layers[0]))
        ):
            segments = phones[utterance]
            names = [phone for phone, _, _ in segments]
            contexts = zip(["", *names[:-1]], names, [*names[1:], ""])
            labels.append(phone_labels(segments, len(frames)))
            types.append(phone_labels([(" ".join(c), *s[1:]) for c, s in zip(contexts, segments)], len(frames)))
            owners.append(np.full(len(frames), row))
        label = np.concatenate(labels)
        self._voiced = label != ""
        self.codes, self.phones = pd.factorize(label[self._voiced])
        self.types = pd.factorize(np.concatenate(types)[self._voiced])[0]
        self.owner = np.concatenate(owners)[self._voiced]

    def _frames(self, layer: str) -> list[np.ndarray]:
        views = self.features.utterances(layer)
        return [views[row] for row in self._rows]

    def matrix(self, layer: str) -> np.ndarray:
        """Frames with a phone, ``[frames, D]`` in half precision."""
        return np.concatenate(self._frames(layer))[self._voiced]


def _columns(by: str | Sequence[str]) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def _check_probe(probe: str, known) -> None:
    if probe not in known:
        raise ProbeError(f"Unknown probe {probe!r}: choose {' or '.join(known)}.")


def _check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    there = [column for column in SPEAKER_COLUMNS if column in table and column != "age"]
    for column in columns:
        if column not in there:
            raise ProbeError(
                f"There is no speaker group column {column!r} here; there are: {', '.join(there) or 'none'}."
            )


def _group_of(rows: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """The group of each row, "female, adult" by two columns; empty where one of them is missing."""
    known = rows[list(by)].notna().all(axis=1)
    names = rows[list(by)].astype("str").agg(", ".join, axis=1)
    return names.where(known, "").to_numpy()


# ---------------------------------------------------------------------------------------------------- splits and labels


def held_out(speakers: pd.Series, share: float, seed: int) -> np.ndarray:
    """Mark ``share`` of each speaker's utterances (at least one) for testing; a boolean array, one entry a row.

    Example:
        >>> held_out(pd.Series(["a"] * 4 + ["b"] * 4), share=0.25, seed=0).sum()
        np.int64(2)
    """
    rng = np.random.default_rng(seed)
    test = np.zeros(len(speakers), bool)
    for rows in speakers.reset_index(drop=True).groupby(speakers.to_numpy()).indices.values():
        test[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return test


def balanced_speech(utterances: pd.DataFrame, by: Sequence[str], seed: int) -> np.ndarray:
    """Rows with as many speakers of each group and as many utterances of each speaker, both drawn at random.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": list("aaabbccc"), "sex": ["f"] * 5 + ["m"] * 3})
        >>> rows.iloc[balanced_speech(rows, ["sex"], seed=0)].groupby("sex").size().to_dict()
        {'f': 3, 'm': 3}
    """
    rng = np.random.default_rng(seed)
    rows = utterances.reset_index(drop=True)
    people = rows.drop_duplicates("speaker_id").sort_values("speaker_id")
    groups = pd.Series(_group_of(people, by), index=people["speaker_id"])
    groups = groups[groups != ""]
    if groups.nunique() < 2:
        raise ProbeError(
            f"Balancing by {_and(by)} needs two groups with usable speakers; there are {groups.nunique()}."
        )
    size = groups.value_counts().min()
    speakers = np.concatenate(
        [rng.permutation(names)[:size] for _, names in sorted(groups.groupby(groups).groups.items())]
    )
    each = rows[rows["speaker_id"].isin(speakers)].groupby("speaker_id").size().min()
    indices = rows.groupby("speaker_id").indices
    return np.sort(np.concatenate([rng.permutation(indices[speaker])[:each] for speaker in np.sort(speakers)]))


def balanced_seconds(utterances: pd.DataFrame, by: Sequence[str], seed: int) -> np.ndarray:
    """Rows with as many seconds of each group as the smallest has, to within an utterance, drawn at random.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": list("abcd"), "sex": list("ffmf"), "duration_s": [1.0, 1.0, 2.0, 1.0]})
        >>> len(balanced_seconds(rows, ["sex"], seed=0))
        3
    """
    for column in by:
        if column not in utterances:
            raise ProbeError(f"No training speech records {column!r}, which it should be balanced by.")
    rng = np.random.default_rng(seed)
    groups, seconds = _group_of(utterances, by), utterances["duration_s"].to_numpy()
    names = sorted(set(groups) - {""})
    if len(names) < 2:
        raise ProbeError(f"Balancing by {_and(by)} needs training speech of two groups; there is {len(names)}.")
    most = min(seconds[groups == name].sum() for name in names)
    chosen = []
    for name in names:
        rows = rng.permutation(np.flatnonzero(groups == name))
        chosen.append(rows[np.cumsum(seconds[rows]) <= most + 1e-6])
    return np.sort(np.concatenate(chosen))


def control_labels(types: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """A random label for each type, the same wherever it stands, drawn by the labels' own frequencies.

    Example:
        >>> control_labels(np.array([0, 1, 0]), np.array([2, 3, 2]), seed=0)[[0, 2]].std()
        np.float64(0.0)
    """
    rng = np.random.default_rng(seed)
    return rng.choice(labels, types.max() + 1)[types]


def phone_labels(segments: list[tuple[str, float, float]], frames: int) -> np.ndarray:
    """The phone under the centre of each 20 ms frame, ``[frames]``; empty where there is none (silence).

    Args:
        segments: ``(phone, start, end)`` in seconds, in order; silence is left out.
    """
    labels = np.full(frames, "", dtype=f"<U{max([4, *(len(phone) for phone, _, _ in segments)])}")
    centres = (np.arange(frames) * 320 + 200) / 16_000
    for phone, start, end in segments:
        labels[(centres >= start) & (centres < end)] = phone
    return labels
