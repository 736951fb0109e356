"""Which phone sounds: softmax on frames whose phones come from forced alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fairlib.corpora import halves
from fairlib.outcomes import SPOKEN
from fairlib.probes.classifiers import HIDDEN, fit
from fairlib.probes.frames import stretched
from fairlib.probes.settings import Probe
from fairlib.probes.splits import ProbeError, balanced_seconds, check_columns, corpus_name
from fairlib.probes.stored import Work, with_left_out
from fairlib.probes.transcripts import transcripts

DURATIONS = {"30 ms": 30, "40 to 80 ms": 80}  # and "longer"


@dataclass(frozen=True)
class PhoneProbe(Probe):
    """Phone classification: softmax on frames whose phones come from forced alignment.

    Trained on the corpus's train half, tested on its test half (see `fairlib.corpora.halves`). Outcomes are in unit
    ``phone``: wrong and all frames of each test utterance. Silence, and words that the dictionary lacks, are left out;
    so are utterances whose words cannot be known or are not English, with a warning, and those that the aligner gives
    up on, which are counted on standard error.

    Attributes:
        size: ``linear``, or ``hidden``: with a hidden layer.
        seeds: seeds 0 to ``seeds - 1``.
        balance: speaker columns: train on as many seconds of each group, by leaving utterances out at random. Speech
            for which a column is missing is left out too.
        by_phone: count by speaker, phone and how long the phone lasts (`DURATIONS`), instead of by utterance.
        control: a control task (Hewitt and Liang 2019): each phone between its two neighbours is a type, and each type
            has one random phone as its label, in training and in test. What a probe gets right here it has memorised;
            `selectivity` sets it against the task.
        iterations: steps of the linear probe's training.
        l2: weight of the squared weights in the loss.

    Example:
        >>> PhoneProbe(balance=["sex", "age_group"], control=True).key()["probe"]
        'linear, balanced by sex and age_group, control task'
    """

    task: ClassVar = "phone"
    sizes: ClassVar = {"linear": ("iterations",), "hidden": ()}

    size: str = "linear"
    seeds: int = 1
    balance: str | Sequence[str] = ()
    control: bool = False
    by_phone: bool = False
    iterations: int = 20
    l2: float = 1e-5

    def settings(self) -> dict[str, Any]:
        own = HIDDEN["phone"] if self.size == "hidden" else {"iterations": self.iterations}
        more = {**({"control": 1} if self.control else {}), **({"by_phone": True} if self.by_phone else {})}
        return {**self._values("l2"), **own, **more}

    def compute(self, work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        """One seed's outcomes, and what was left out of them."""
        check_columns(work.table, self.balance)
        frames = PhoneFrames(work)
        table, codes = frames.table, frames.codes
        if self.control:
            codes = control_labels(frames.types, codes, seed)
        train, tested = frames.half == "train", frames.half == "test"
        for part, rows in (("train", train), ("test", tested)):
            if not rows[frames.owner].any():
                raise ProbeError(f"No utterance in the {part} half of {corpus_name(table)} has a phone.")
        if self.balance:
            training = np.flatnonzero(train)
            train = np.isin(np.arange(len(table)), training[balanced_seconds(table.iloc[training], self.balance, seed)])
        test = tested[frames.owner]
        tables = []
        for layer in frames.features.layers:
            scores = fit(self, frames.matrix(layer), codes, train[frames.owner], seed, work.device)
            wrong = (scores.argmax(axis=1) != codes)[test].astype(int)
            counted = frames.by_phone(wrong, test) if self.by_phone else frames.by_utterance(wrong, test)
            tables.append(counted.assign(layer=layer))
        return with_left_out(pd.concat(tables).assign(unit="phone", predicted=""), utterances=frames.left_out)


class PhoneFrames:
    """The aligned corpus: its features, and the phone, type and utterance of every frame that has a phone."""

    def __init__(self, work: Work) -> None:
        from fairlib.probes.alignment import align

        read = transcripts(work.table, english=True)
        self.left_out = read.left_out  # for want of words; not who could not be aligned
        spoken = work.table[[bool(text) for text in read.texts]]
        phones = align(spoken) if len(spoken) else {}
        kept = np.flatnonzero(work.table["utterance_id"].isin(phones))
        if not len(kept):
            raise ProbeError(f"No utterance of {corpus_name(work.table)} could be aligned with an English transcript.")
        self.table = work.table.iloc[kept].reset_index(drop=True)
        self.half = halves(work.table).to_numpy()[kept]  # the corpus's, whoever is left out here
        self.features = work.features(work.table, frames=True)
        views = self.features.utterances(self.features.layers[0])
        self._lengths = {row: len(views[row]) for row in kept}  # other layers may have fewer, as SEW's blocks
        labels, types, durations, owners = [], [], [], []
        for row, (utterance, length) in enumerate(zip(self.table["utterance_id"], self._lengths.values())):
            segments = phones[utterance]
            names = [phone for phone, _, _ in segments]
            contexts = zip(["", *names[:-1]], names, [*names[1:], ""])
            labels.append(phone_labels(segments, length))
            types.append(phone_labels([(" ".join(c), *s[1:]) for c, s in zip(contexts, segments)], length))
            lasting = [(duration_class(end - start), start, end) for _, start, end in segments]
            durations.append(phone_labels(lasting, length))
            owners.append(np.full(length, row))
        label = np.concatenate(labels)
        self._voiced = label != ""
        self.codes, self.phones = pd.factorize(label[self._voiced])
        self.types = pd.factorize(np.concatenate(types)[self._voiced])[0]
        self.durations = np.concatenate(durations)[self._voiced]
        self.owner = np.concatenate(owners)[self._voiced]

    def by_utterance(self, wrong: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        """Wrong and all frames of each utterance; ``wrong`` is of the frames that ``rows`` marks."""
        counts = pd.DataFrame({"row": self.owner[rows], "errors": wrong, "length": 1}).groupby("row").sum()
        return pd.concat([self.table.loc[counts.index], counts], axis=1)

    def by_phone(self, wrong: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        """Wrong and all frames of each speaker, phone and duration, with the columns `SPOKEN`."""
        cells = {"speaker_id": self.table["speaker_id"].to_numpy()[self.owner[rows]], "errors": wrong, "length": 1}
        cells |= {"phone": self.phones[self.codes[rows]], "duration": self.durations[rows]}
        counts = pd.DataFrame(cells).groupby(["speaker_id", *SPOKEN], as_index=False).sum()
        of_speaker = self.table.drop_duplicates("speaker_id").set_index("speaker_id").drop(columns=["utterance_id"])
        return counts.join(of_speaker, on="speaker_id").assign(utterance_id=counts["speaker_id"])

    def matrix(self, layer: str) -> np.ndarray:
        """Frames with a phone, ``[frames, D]`` in half precision."""
        views = self.features.utterances(layer)
        return np.concatenate([stretched(views[row], length) for row, length in self._lengths.items()])[self._voiced]


def duration_class(seconds: float) -> str:
    """How long a phone lasts, in three classes; the first is the least that the aligner gives.

    Example:
        >>> duration_class(0.03), duration_class(0.07), duration_class(0.2)
        ('30 ms', '40 to 80 ms', 'longer')
    """
    return next((name for name, most in DURATIONS.items() if round(1000 * seconds) <= most), "longer")


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


def control_labels(types: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """A random label for each type, the same wherever it stands, drawn by the labels' own frequencies.

    Example:
        >>> control_labels(np.array([0, 1, 0]), np.array([2, 3, 2]), seed=0)[[0, 2]].std()
        np.float64(0.0)
    """
    rng = np.random.default_rng(seed)
    return rng.choice(labels, types.max() + 1)[types]
