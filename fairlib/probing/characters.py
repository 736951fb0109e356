"""What is said: CTC over characters on frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fairlib.corpora import halves, require_text
from fairlib.probing.ctc import fit_ctc
from fairlib.probing.splits import (
    ProbeError,
    balanced_seconds,
    check_columns,
    check_probe,
    columns_of,
    corpus_name,
    listed,
)
from fairlib.probing.stored import Work, stored
from fairlib.probing.text import count_errors, plain_text

CHARACTER_PROBE = {
    "passes": 6, "seconds_per_batch": 64.0, "learning_rate": 4e-3, "warm_up": 0.05, "clip": 5.0,
    "width": 128, "kernel": 5, "stride": 2,
}  # fmt: skip
_CONTEXT_ONLY = ("width", "kernel", "stride")

# Two to three hours of one corpus are too few for a character probe; these corpora lend it their transcribed speech.
EXTRA_TRAINING_SPEECH = {"speechocean762": ("librispeech",)}


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
    check_probe(probe, ("linear", "context"))
    balance = columns_of(balance)

    def compute(work: Work, seed: int) -> pd.DataFrame:
        check_columns(work.table, balance)
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
