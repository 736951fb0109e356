"""A recipe's speech in one file, and the cluster of each of its frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchaudio

from fairlib.base.files import replace
from fairlib.base.progress import stage, steps
from fairlib.corpora import halves, load_corpus
from fairlib.corpora.audio import SAMPLE_RATE, from_int16, read_audio, to_int16
from fairlib.encoders import Encoder, load_encoder
from fairlib.encoders.extraction import BATCH_SECONDS, length_batches
from fairlib.training.loop import save_array
from fairlib.training.recipe import SHORTEST_CROP_S, Data, Recipe, RecipeError, Targets

# All three families convolve alike: one frame every 320 samples, the first one centred on sample 200.
FRAME_STEP, FRAME_WIDTH = 320, 400
CLUSTERED_FRAMES, CLUSTER_STARTS = 300_000, 3  # of k-means: frames that it is fitted to, and starts
CEPSTRA = 13  # of the MFCC, whose deltas are added
MFCC_WIDTH_MS, MFCC_STEP_MS = 25.0, 10.0


@dataclass(frozen=True)
class Speech:
    """Audio of many utterances end to end, with the cluster of every frame where the recipe has targets."""

    audio: np.ndarray  # int16 [samples], memory-mapped
    starts: np.ndarray  # int64 [utterances + 1]
    targets: np.ndarray | None  # small integers [frames], memory-mapped

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    @cached_property
    def frame_starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(frame_count(self.lengths))])

    @property
    def hours(self) -> float:
        return len(self.audio) / SAMPLE_RATE / 3600

    def utterance(self, row: int) -> np.ndarray:
        """One utterance as float samples in [-1, 1]."""
        return from_int16(self.audio[self.starts[row] : self.starts[row + 1]])


def frame_count(samples):
    """How many frames the convolutions make of so many samples."""
    return np.maximum((np.asarray(samples) - FRAME_WIDTH) // FRAME_STEP + 1, 0)


def prepare_speech(recipe: Recipe, output: Path) -> Speech:
    """Decode the recipe's corpora into one file and give every 20 ms frame its cluster. Done once per ``output``.

    The folder is made if need be.

    Raises:
        RecipeError: a corpus is not there, or holds nothing to train on.
    """
    output.mkdir(parents=True, exist_ok=True)
    audio, starts, targets = (output / name for name in ("audio.int16", "starts.npy", "targets.npy"))
    teacher = None
    if recipe.targets and recipe.targets.features != "mfcc" and not targets.exists():
        teacher = _teacher(recipe.targets)  # a wrong name is told before an hour's audio is decoded
    if not starts.exists():
        paths = [path for part in recipe.data for path in _paths(part)]
        lengths: list[int] = []
        replace(audio, lambda path: lengths.extend(_decode(paths, path)))
        save_array(starts, np.cumsum([0, *lengths]))  # last: where it is, the audio is whole
    speech = Speech(np.memmap(audio, np.int16, "r"), np.load(starts), None)
    if recipe.targets is None:
        return speech
    if not targets.exists():
        frames = _target_features(recipe.targets, teacher, speech)
        save_array(targets, cluster(frames, recipe.targets.clusters, recipe.seed))
    return Speech(speech.audio, speech.starts, np.load(targets, mmap_mode="r"))


def _paths(part: Data) -> list[str]:
    corpus = load_corpus(part.corpus)
    if part.split == "train":
        corpus = corpus[halves(corpus) == "train"]
    if part.hours is not None:
        # The same utterances whatever the recipe's seed, so that seeds differ in nothing but their random numbers.
        order = np.random.default_rng(0).permutation(len(corpus))
        enough = corpus.iloc[order]["duration_s"].cumsum() <= part.hours * 3600
        corpus = corpus.iloc[np.sort(order[enough.to_numpy()])]
    return list(corpus["path"])


def _decode(paths: list[str], audio: Path) -> list[int]:
    """Write all audio end to end; the number of samples of each utterance."""

    def decode(path: str) -> np.ndarray:
        return to_int16(read_audio(path))  # loudness is left as recorded

    lengths = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool, audio.open("wb") as file:
        windows = [paths[start : start + 512] for start in range(0, len(paths), 512)]  # not all in memory at once
        decoded = (samples for window in windows for samples in pool.map(decode, window))
        for samples in steps("decoding speech", decoded, len(paths), "utterances"):
            samples.tofile(file)
            lengths.append(len(samples))
    if sum(length >= SHORTEST_CROP_S * SAMPLE_RATE for length in lengths) == 0:
        raise RecipeError("The recipe's corpora hold no utterance of at least two seconds: nothing to train on.")
    return lengths


def _teacher(targets: Targets) -> Encoder:
    encoder = load_encoder(targets.features)
    if targets.layer not in encoder.layers:
        raise RecipeError(
            f"Encoder {targets.features} has no layer {targets.layer!r}; it has {', '.join(encoder.layers)}."
        )
    return encoder


def _target_features(targets: Targets, teacher: Encoder | None, speech: Speech) -> np.ndarray:
    audible = np.flatnonzero(frame_count(speech.lengths))
    if teacher is None:
        batches, features = [[row] for row in range(len(audible))], _mfcc(targets.smoothing_frames)
    else:
        most = BATCH_SECONDS[torch.device(teacher.device).type]
        batches = length_batches(speech.lengths[audible] / SAMPLE_RATE, most)
        features = _layer(teacher, targets.layer or "")
    frames: list[np.ndarray] = [np.empty(0)] * len(audible)
    for batch in steps("making targets", batches, unit="batches"):
        for row, values in zip(batch, features([speech.utterance(audible[row]) for row in batch])):
            frames[row] = values
    return np.concatenate(frames)


def _layer(teacher: Encoder, layer: str) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    return lambda audio: [frames.half().cpu().numpy() for frames in teacher.layers_of(audio)[layer]]


def _mfcc(smoothing: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    return lambda audio: [frame_mfcc(one, smoothing) for one in audio]


def frame_mfcc(audio: np.ndarray, smoothing: int) -> np.ndarray:
    """Smoothed MFCC with deltas for each encoder frame, less their mean over the utterance, ``[frames, 26]``.

    The mean carries speaker and channel, which the targets should not name. Row i is centred where the encoder's
    frame i is, on sample ``320 i + 200``.
    """
    if not frame_count(len(audio)):
        return np.empty((0, 2 * CEPSTRA), np.float32)
    mfcc = torchaudio.compliance.kaldi.mfcc(
        torch.from_numpy(audio)[None] * 32768,
        num_ceps=CEPSTRA,
        dither=0.0,
        frame_length=MFCC_WIDTH_MS,
        frame_shift=MFCC_STEP_MS,
    )
    mfcc = torch.cat([mfcc, torchaudio.functional.compute_deltas(mfcc.T[None])[0].T], dim=1)
    kernel = torch.full((1, 1, smoothing), 1 / smoothing)
    padded = torch.nn.functional.pad(mfcc.T[:, None], (smoothing // 2, smoothing - 1 - smoothing // 2), "replicate")
    smooth = torch.nn.functional.conv1d(padded, kernel)[:, 0].T
    frames = smooth[:: FRAME_STEP // 160][: frame_count(len(audio))]
    return (frames - frames.mean(dim=0)).numpy()


def cluster(frames: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The k-means cluster of each frame ``[frames, D]``, as small integers; dimensions are scaled to unit variance."""
    from sklearn.cluster import MiniBatchKMeans

    rows = np.random.default_rng(seed).permutation(len(frames))[:CLUSTERED_FRAMES]
    scale = frames[rows].astype(np.float32).std(axis=0) + 1e-6
    with stage(f"clustering {len(rows):,} of {len(frames):,} frames"):
        means = MiniBatchKMeans(clusters, batch_size=10_000, n_init=CLUSTER_STARTS, random_state=seed).fit(
            frames[rows] / scale
        )
    parts = np.array_split(frames, max(1, len(frames) // 100_000))
    return np.concatenate([means.predict(part / scale) for part in parts]).astype(np.min_scalar_type(clusters - 1))
