"""What is said: CTC over characters on frames."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fairlib.corpora import halves
from fairlib.encoders.extraction import reader
from fairlib.encoders.features import Features
from fairlib.files import cache_folder
from fairlib.probes.ctc import fit_ctc, passes_of
from fairlib.probes.frames import StreamedFrames, compare_frame_modes, told_comparison
from fairlib.probes.splits import (
    ProbeError,
    balanced_seconds,
    check_columns,
    check_probe,
    columns_of,
    corpus_name,
    listed,
)
from fairlib.probes.stored import Work, stored, with_left_out
from fairlib.probes.text import count_errors, has_words
from fairlib.probes.transcripts import transcripts

CHARACTER_PROBE = {
    "passes": 6, "seconds_per_batch": 64.0, "learning_rate": 4e-3, "warm_up": 0.05, "clip": 5.0,
    "width": 128, "kernel": 5, "stride": 2,
}  # fmt: skip
_CONTEXT_ONLY = ("width", "kernel", "stride")

# Two to three hours of one corpus are too few for a character probe; these corpora lend it their transcribed speech.
EXTRA_TRAINING_SPEECH = {"speechocean762": ("librispeech",)}


def probe_characters(
    encoder: str, corpus: str | pd.DataFrame, probe: str = "context", seeds: int = 1, force: bool = False, *,
    balance: str | Sequence[str] = (), frames: str = "stored",
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
        frames: ``stored`` on disk for the training; ``streamed``, encoded anew at every pass of it, for want of room;
            or ``cheaper``: whichever costs less time and fits the disk (see `compare_frame_modes`). The outcomes are
            the same but for what sums in another order change.

    Returns:
        Outcomes in units ``char`` and ``word``, with substitutions, deletions and insertions. Utterances whose words
        cannot be known (see `fairlib.probes.text`) are left out, with a warning that counts them by speaker group;
        ``attrs["provenance"]["utterances_left_out"]`` holds the counts. What is written without spaces has no words.

    Raises:
        ProbeError: an unknown probe, column or mode of frames, or a half without a usable transcript.
        fairlib.encoders.features.DiskError: the frames do not fit the disk.
        fairlib.corpora.CorpusError: the corpus has no transcripts.
    """
    check_probe(probe, ("linear", "context"))
    if frames not in ("stored", "streamed", "cheaper"):
        raise ProbeError(f"Frames can be stored, streamed, or whichever is cheaper, not {frames!r}.")
    balance = columns_of(balance)

    def compute(work: Work, seed: int) -> pd.DataFrame:
        check_columns(work.table, balance)
        tables = [work.table, *work.extra]
        read = [transcripts(table) for table in tables]
        texts = [one.texts for one in read]
        half = halves(work.table).to_numpy()
        usable = np.array([bool(text) for text in texts[0]])
        for name in ("train", "test"):
            if not (usable & (half == name)).any():
                raise ProbeError(f"No transcript in the {name} half of {corpus_name(work.table)} can be used.")
        # Where an utterance lies: its table and its row there.
        places = [(0, row) for row in np.flatnonzero(usable & (half == "train"))]
        places += [(number, row) for number in range(1, len(tables)) for row, text in enumerate(texts[number]) if text]
        if balance:
            candidates = pd.concat([tables[number].iloc[[row]] for number, row in places], ignore_index=True)
            places = [places[row] for row in balanced_seconds(candidates, balance, seed)]
        testing = np.flatnonzero(usable & (half == "test"))
        training = len(places)
        places += [(0, row) for row in testing]
        mode = frames
        if mode == "cheaper":
            durations = np.array([tables[number]["duration_s"].iloc[row] for number, row in places])
            passes = passes_of(durations[:training], CHARACTER_PROBE["passes"], CHARACTER_PROBE["seconds_per_batch"])
            costs = compare_frame_modes(work.encoder, tables, passes, cache_folder(), seeds)
            print(told_comparison(costs), file=sys.stderr)
            mode = "streamed" if costs.loc["streamed", "cheaper"] else "stored"
        features = [work.features(table, frames=mode == "stored") for table in tables]
        decoded = fit_ctc(
            _stored(features, places) if mode == "stored" else _streamed(work, tables, features, places),
            [texts[number][row] for number, row in places], training=training, context=probe == "context",
            seed=seed, device=work.device, **CHARACTER_PROBE,
        )  # fmt: skip
        rows, references = work.table.iloc[testing].reset_index(drop=True), [texts[0][row] for row in testing]
        in_words = np.flatnonzero([has_words(text) for text in references])
        if len(in_words) < len(testing):
            warnings.warn(
                f"{len(testing) - len(in_words)} of {len(testing)} test utterances of {corpus_name(work.table)} are "
                "written without spaces between words: their errors are counted in characters, not in words.",
                stacklevel=2,
            )
        results = []
        for layer, hypotheses in zip(work.encoder.layers, decoded):
            for unit, kept in (("char", np.arange(len(testing))), ("word", in_words)):
                if len(kept):
                    counts = count_errors([references[i] for i in kept], [hypotheses[i] for i in kept], unit)
                    tested = rows.iloc[kept].reset_index(drop=True)
                    results.append(pd.concat([tested, counts], axis=1).assign(layer=layer, unit=unit))
        return pd.concat(results).assign(predicted="").pipe(with_left_out, utterances=read[0].left_out)

    name = corpus_name(corpus)
    settings = (
        CHARACTER_PROBE if probe == "context" else {k: v for k, v in CHARACTER_PROBE.items() if k not in _CONTEXT_ONLY}
    )
    extra = EXTRA_TRAINING_SPEECH.get(name, ())
    if balance:
        settings, probe_name = {**settings, "balance": balance}, f"{probe}, balanced by {listed(balance)}"
    else:
        probe_name = probe
    return stored("asr", probe_name, encoder, corpus, extra, settings, seeds, force, compute)


def _stored(features: list[Features], places: list[tuple[int, int]]) -> list[list[np.ndarray]]:
    frames = []
    for layer in features[0].layers:
        views = [one.utterances(layer) for one in features]
        frames.append([views[number][row] for number, row in places])
    return frames


def _streamed(work: Work, tables: list[pd.DataFrame], features: list[Features], places) -> StreamedFrames:
    """What a pass that kept no frames knows suffices: how many there are, and how wide."""
    layers, readers = features[0].layers, [reader(table) for table in tables]
    counts = [[one.counts(layer) for one in features] for layer in layers]
    return StreamedFrames(
        work.encoder,
        lambda place: readers[places[place][0]](places[place][1]),
        np.array([[of_table[number][row] for number, row in places] for of_table in counts]),
        [features[0].matrix(layer).shape[1] // 2 for layer in layers],
    )
