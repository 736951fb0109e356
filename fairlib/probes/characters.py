"""What is said: CTC over characters on frames."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fairlib.base.files import cache_folder
from fairlib.corpora import halves
from fairlib.encoders.extraction import reader
from fairlib.encoders.features import Features
from fairlib.probes.ctc import fit_ctc, passes_of
from fairlib.probes.frames import StreamedFrames, compare_frame_modes, told_comparison
from fairlib.probes.settings import Probe
from fairlib.probes.splits import ProbeError, balanced_seconds, check_columns, corpus_name
from fairlib.probes.stored import Work, with_left_out
from fairlib.probes.text import count_errors, has_words
from fairlib.probes.transcripts import transcripts

_ANY_SIZE = ("passes", "seconds_per_batch", "learning_rate", "warm_up", "clip")
_CONTEXT_ONLY = ("width", "kernel", "stride")


@dataclass(frozen=True)
class CharacterProbe(Probe):
    """Speech recognition: CTC over characters on frames, greedy decoding.

    Trained on the corpus's train half (and all of `fairlib.corpora.borrowed`), tested on its test half (see
    `fairlib.corpora.halves`); the two share no speaker. Layers start from the same weights, so that they differ by
    their features only. Outcomes are in units ``char`` and ``word``, with substitutions, deletions and insertions.

    Utterances whose words cannot be known (see `fairlib.probes.text`) are left out, with a warning that counts them by
    speaker group; `fairlib.outcomes.provenance` holds the counts. What is written without spaces has no words.

    Attributes:
        size: ``context``: two convolutions over 0.36 s; or ``linear``.
        seeds: seeds 0 to ``seeds - 1``, each with its own initial weights and order of batches.
        balance: speaker columns: train on as many seconds of each group, by leaving utterances out at random. Speech
            for which a column is missing is left out too.
        frames: ``stored`` on disk for the training; ``streamed``, encoded anew at every pass of it, for want of room;
            or ``cheaper``: whichever costs less time and fits the disk (see `compare_frame_modes`). The outcomes are
            the same but for what sums in another order change.
        passes: over the training speech, more where that is little.
        seconds_per_batch: of speech, padded.
        learning_rate: the highest; it rises over ``warm_up`` (a share) of the steps and then falls.
        clip: largest norm of each layer's gradient.
        width, kernel, stride: of the context probe's convolutions: channels, taps, and frames that are averaged first.

    Example:
        >>> CharacterProbe(size="linear", passes=12).key()["probe"]
        'linear, 12 passes'
    """

    task: ClassVar = "asr"
    sizes: ClassVar = {"linear": (), "context": _CONTEXT_ONLY}

    size: str = "context"
    seeds: int = 1
    balance: str | Sequence[str] = ()
    frames: str = "stored"
    passes: int = 6
    seconds_per_batch: float = 64.0
    learning_rate: float = 4e-3
    warm_up: float = 0.05
    clip: float = 5.0
    width: int = 128
    kernel: int = 5
    stride: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames not in ("stored", "streamed", "cheaper"):
            raise ProbeError(f"Frames can be stored, streamed, or whichever is cheaper, not {self.frames!r}.")

    def settings(self) -> dict[str, Any]:
        return self._values(*_ANY_SIZE, *(_CONTEXT_ONLY if self.size == "context" else ()))

    def compute(self, work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        """One seed's outcomes, and what was left out of them."""
        check_columns(work.table, self.balance)
        tables = [work.table, *work.extra]
        read = [transcripts(table) for table in tables]
        texts = [one.texts for one in read]
        half = halves(work.table).to_numpy()
        usable = np.array([bool(text) for text in texts[0]])
        for name in ("train", "test"):
            if not (usable & (half == name)).any():
                raise ProbeError(f"No transcript in the {name} half of {corpus_name(work.table)} can be used.")
        # Where an utterance lies: its table and its row there.
        places = [(0, int(row)) for row in np.flatnonzero(usable & (half == "train"))]
        places += [(number, row) for number in range(1, len(tables)) for row, text in enumerate(texts[number]) if text]
        if self.balance:
            candidates = pd.concat([tables[number].iloc[[row]] for number, row in places], ignore_index=True)
            places = [places[row] for row in balanced_seconds(candidates, self.balance, seed)]
        testing = np.flatnonzero(usable & (half == "test"))
        training = len(places)
        places += [(0, int(row)) for row in testing]
        mode = "stored" if work.given else self.frames
        if mode == "cheaper":
            durations = np.array([tables[number]["duration_s"].iloc[row] for number, row in places])
            passes = passes_of(durations[:training], self.passes, self.seconds_per_batch)
            costs = compare_frame_modes(work.encoder, tables, passes, cache_folder(), self.seeds)
            print(told_comparison(costs), file=sys.stderr)
            mode = "streamed" if costs.loc["streamed", "cheaper"] else "stored"
        features = [work.features(table, frames=mode == "stored") for table in tables]
        decoded = fit_ctc(
            _stored(features, places) if mode == "stored" else _streamed(work, tables, features, places),
            [texts[number][row] for number, row in places], training=training, context=self.size == "context",
            seed=seed, device=work.device, **{name: getattr(self, name) for name in (*_ANY_SIZE, *_CONTEXT_ONLY)},
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
        for layer, hypotheses in zip(features[0].layers, decoded, strict=True):
            for unit, kept in (("char", np.arange(len(testing))), ("word", in_words)):
                if len(kept):
                    counts = count_errors([references[i] for i in kept], [hypotheses[i] for i in kept], unit)
                    tested = rows.iloc[kept].reset_index(drop=True)
                    results.append(pd.concat([tested, counts], axis=1).assign(layer=layer, unit=unit))
        return with_left_out(pd.concat(results).assign(predicted=""), utterances=read[0].left_out)


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
        [features[0].pooled(layer).shape[1] // 2 for layer in layers],
    )
