"""Probes: what can be read from each layer, and with how many errors. All layers' probes are trained at the same time.

Three tasks: who speaks (`probe_speakers`: linear softmax on mean and deviation over time), what is said
(`probe_characters`: CTC on frames, linear or with a small context head), and which phone sounds (`probe_phones`: linear
softmax on force-aligned frames). Each returns outcomes (see `fairlib.outcomes`), from the store if they are there.

The layers' probes share batches and an optimiser but no parameters, and the optimiser (Adam, with gradients clipped
probe by probe) treats every parameter for itself: a stack of probes learns what each would have learned alone.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fairlib.corpora import SPEAKER_COLUMNS, corpus_fingerprint, load_corpus, require_text
from fairlib.encoders import Encoder, encoder_fingerprint, load_encoder
from fairlib.extraction import extract
from fairlib.folders import cache_folder
from fairlib.outcomes import COLUMNS, METHOD, read_outcomes, read_published, write_outcomes
from fairlib.probing.ctc import fit_ctc
from fairlib.probing.softmax import fit_softmax
from fairlib.probing.text import count_errors, plain_text

SPEAKER_PROBE = {"test_share": 0.25, "steps": 150, "learning_rate": 0.03, "l2": 3e-4}
CHARACTER_PROBE = {
    "passes": 6, "seconds_per_batch": 64.0, "learning_rate": 4e-3, "warm_up": 0.05, "clip": 5.0,
    "width": 128, "kernel": 5, "stride": 2,
}  # fmt: skip
PHONE_PROBE = {"steps": 1500, "frames_per_batch": 4096, "learning_rate": 5e-3, "l2": 1e-5}

# Two to three hours of one corpus are too few for a character probe; these corpora lend it their transcribed speech.
EXTRA_TRAINING_SPEECH = {"speechocean762": ("librispeech",)}


class ProbeError(ValueError):
    """A corpus cannot be probed as asked; the message says what is lacking."""


def probe_speakers(encoder: str, corpus: str | pd.DataFrame, seeds: int = 5, force: bool = False) -> pd.DataFrame:
    """Speaker identification from every layer: a linear softmax over all speakers, on pooled embeddings.

    Each seed holds out a quarter of each speaker's utterances. Speakers with fewer than four utterances are left out,
    with a warning.

    Args:
        encoder: a name that `load_encoder` takes.
        corpus: a corpus table, or a name; for a name, published outcomes are used if there are any.
        seeds: seeds 0 to ``seeds - 1``, each with its own split.
        force: compute from audio, whatever is stored.

    Returns:
        Outcomes of the held-out utterances: ``errors`` 0 or 1, ``predicted`` the speaker that was named.

    Raises:
        ProbeError: fewer than two speakers have four utterances.
    """

    def compute(
        loaded: Encoder, table: pd.DataFrame, extra: list[pd.DataFrame], folder: Path, seed: int
    ) -> pd.DataFrame:
        counts = table.groupby("speaker_id").size()
        few = counts[counts < 4].index
        usable = table[~table["speaker_id"].isin(few)].reset_index(drop=True)
        if usable["speaker_id"].nunique() < 2:
            raise ProbeError(
                f"Identifying speakers needs at least two with 4 utterances each; {_name(table)} has fewer."
            )
        if len(few):
            print(f"{len(few)} speakers with fewer than 4 utterances are left out.", file=sys.stderr)
        features = extract(loaded, usable, folder / "pooled", pooled=True)
        labels, names = pd.factorize(usable["speaker_id"])
        test = held_out(usable["speaker_id"], SPEAKER_PROBE["test_share"], seed)
        predicted = fit_softmax(
            [features.matrix(layer) for layer in features.layers], labels, ~test, device=loaded.device,
            steps=SPEAKER_PROBE["steps"], learning_rate=SPEAKER_PROBE["learning_rate"], l2=SPEAKER_PROBE["l2"],
        )  # fmt: skip
        tables = []
        for layer, guess in zip(features.layers, predicted):
            rows = usable[test].assign(layer=layer, predicted=np.asarray(names)[guess[test]], length=1)
            tables.append(rows.assign(errors=(rows["predicted"] != rows["speaker_id"]).astype(int)))
        return pd.concat(tables).assign(unit="speaker")

    return _stored("sid", "linear", encoder, corpus, (), SPEAKER_PROBE, seeds, force, compute)


def probe_characters(
    encoder: str, corpus: str | pd.DataFrame, probe: str = "context", seeds: int = 1, force: bool = False
) -> pd.DataFrame:
    """Speech recognition from every layer: CTC over characters, greedy decoding.

    Trained on the corpus's train split (and the corpora of `EXTRA_TRAINING_SPEECH`), tested on its test split; the two
    share no speaker. A corpus without these splits is divided by speaker, a quarter of them for testing.

    Args:
        probe: ``linear``, or ``context``: two convolutions over 0.3 s.
        encoder, corpus, force: as `probe_speakers`.
        seeds: seeds 0 to ``seeds - 1``, each with its own initial weights and order of batches.

    Returns:
        Outcomes in units ``char`` and ``word``, with substitutions, deletions and insertions.

    Raises:
        ProbeError: an unknown probe, or a transcript without a letter.
        fairlib.corpora.CorpusError: an utterance has no transcript.
    """
    if probe not in ("linear", "context"):
        raise ProbeError(f"Unknown probe {probe!r}: choose linear or context.")

    def compute(
        loaded: Encoder, table: pd.DataFrame, extra: list[pd.DataFrame], folder: Path, seed: int
    ) -> pd.DataFrame:
        training = pd.concat([table[_split(table) == "train"], *extra], ignore_index=True)
        testing = table[_split(table) == "test"].reset_index(drop=True)
        everything = pd.concat([training, testing], ignore_index=True)
        require_text(everything)
        texts = [plain_text(text) for text in everything["text"]]
        for index, text in enumerate(texts):
            if not text:
                row = everything.iloc[index]
                raise ProbeError(f"The transcript of {row.utterance_id} in {row.corpus} holds no letter: {row.text!r}.")
        features = extract(loaded, everything, folder / "frames", pooled=False)
        frames = [features.utterances(layer) for layer in features.layers]
        decoded = fit_ctc(
            frames, texts, training=len(training), context=probe == "context", seed=seed, device=loaded.device,
            **CHARACTER_PROBE,
        )  # fmt: skip
        tables = []
        for layer, hypotheses in zip(features.layers, decoded):
            for unit in ("char", "word"):
                counts = count_errors(texts[len(training) :], hypotheses, unit)
                tables.append(pd.concat([testing, counts], axis=1).assign(layer=layer, unit=unit))
        return pd.concat(tables).assign(predicted="")

    name = corpus if isinstance(corpus, str) else _name(corpus)
    settings = (
        CHARACTER_PROBE if probe == "context" else {k: v for k, v in CHARACTER_PROBE.items() if k not in _CONTEXT_ONLY}
    )
    extra = EXTRA_TRAINING_SPEECH.get(name, ())
    return _stored("asr", probe, encoder, corpus, extra, settings, seeds, force, compute)


_CONTEXT_ONLY = ("width", "kernel", "stride")


def probe_phones(encoder: str, corpus: str | pd.DataFrame, seeds: int = 1, force: bool = False) -> pd.DataFrame:
    """Phone classification from every layer: a linear softmax on frames whose phones come from forced alignment.

    Splits as `probe_characters`, without extra speech. Silence is left out; utterances that the aligner gives up on are
    counted on standard error and left out.

    Returns:
        Outcomes in unit ``phone``: wrong and all frames of each test utterance.
    """

    def compute(
        loaded: Encoder, table: pd.DataFrame, extra: list[pd.DataFrame], folder: Path, seed: int
    ) -> pd.DataFrame:
        from fairlib.alignment import align

        phones = align(table)
        table = table[table["utterance_id"].isin(phones)].reset_index(drop=True)
        features = extract(loaded, table, folder / "phone-frames", pooled=False)
        split = _split(table).to_numpy()
        frame_lists = [features.utterances(layer) for layer in features.layers]
        labels, owners = [], []
        for row, utterance in enumerate(table["utterance_id"]):
            names = phone_labels(phones[utterance], len(frame_lists[0][row]))
            labels.append(names)
            owners.append(np.full(len(names), row))
        owner, label = np.concatenate(owners), np.concatenate(labels)
        voiced = label != ""
        codes, _ = pd.factorize(label[voiced])
        owner = owner[voiced]
        matrices = [np.concatenate(frames)[voiced].astype(np.float32) for frames in frame_lists]
        train = split[owner] == "train"
        predicted = fit_softmax(
            matrices, codes, train, device=loaded.device, learning_rate=PHONE_PROBE["learning_rate"],
            l2=PHONE_PROBE["l2"], steps=PHONE_PROBE["steps"], batch=PHONE_PROBE["frames_per_batch"], seed=seed,
        )  # fmt: skip
        tables = []
        for layer, guess in zip(features.layers, predicted):
            frame = pd.DataFrame({"row": owner[~train], "errors": (guess != codes)[~train].astype(int), "length": 1})
            sums = frame.groupby("row").sum()
            tables.append(pd.concat([table.loc[sums.index], sums], axis=1).assign(layer=layer))
        return pd.concat(tables).assign(unit="phone", predicted="")

    return _stored("phone", "linear", encoder, corpus, (), PHONE_PROBE, seeds, force, compute)


# ------------------------------------------------------------------------------------------------- store and provenance


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
    entries, origin, loaded = [], "stored", None
    # Features last as long as the seeds need them: frames of all layers are large, outcomes small.
    work = _features_folder(key)
    for seed in range(seeds):
        entry = None if force else read_outcomes({**key, "seed": seed})
        if entry is None:
            origin = "computed"
            loaded = loaded or load_encoder(encoder)
            started = time.monotonic()
            rows = compute(loaded, table, extra_tables, work, seed)
            outcomes = _tidy(rows, encoder=encoder, task=task, probe=probe, seed=seed)
            about = {
                "device": loaded.device, "threads": torch.get_num_threads(), "torch": torch.__version__,
                "duration_s": round(time.monotonic() - started, 1),
            }  # fmt: skip
            write_outcomes(outcomes, {**key, "seed": seed}, about)
            entry = outcomes
            entry.attrs = {"stored": {"key": {**key, "seed": seed}, **about}}
        entries.append(entry)
    shutil.rmtree(work, ignore_errors=True)
    return _together(entries, origin)


def _features_folder(key: dict) -> Path:
    name = f"{key['encoder_fingerprint'][:12]}-{key['corpus_fingerprint'][:12]}"
    return cache_folder() / "features" / key["task"] / name


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
            "duration_s": round(sum(entry["duration_s"] for entry in stored), 1),
        }
    }
    return outcomes


def _name(table: pd.DataFrame) -> str:
    return str(table["corpus"].iloc[0])


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


def _split(table: pd.DataFrame) -> pd.Series:
    """The corpus's own train and test halves, or a quarter of its speakers for testing where it has none."""
    if "split" in table and set(table["split"].dropna()) >= {"train", "test"}:
        return table["split"]
    speakers = np.sort(table["speaker_id"].unique())
    if len(speakers) < 2:
        raise ProbeError(f"{_name(table)} has one speaker: probing across speakers needs at least two.")
    chosen = np.random.default_rng(0).permutation(speakers)[: max(1, len(speakers) // 4)]
    return pd.Series(np.where(table["speaker_id"].isin(chosen), "test", "train"), index=table.index)


def phone_labels(segments: list[tuple[str, float, float]], frames: int) -> np.ndarray:
    """The phone under the centre of each 20 ms frame, ``[frames]``; empty where there is none (silence).

    Args:
        segments: ``(phone, start, end)`` in seconds, in order; silence is left out.
    """
    labels = np.full(frames, "", dtype="<U4")
    centres = (np.arange(frames) * 320 + 200) / 16_000
    for phone, start, end in segments:
        labels[(centres >= start) & (centres < end)] = phone
    return labels
