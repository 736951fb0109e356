"""Extraction: every layer of every utterance in one forward pass, written in shards that a stopped run does not
lose. The pass leaves pooled statistics, and frames too where they are wanted: one pass serves every probe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from fairlib.audio import read_audio
from fairlib.encoders import Encoder
from fairlib.folders import cache_folder

SHARD_UTTERANCES = 256
BATCH_SECONDS = 60.0  # of speech in one transformer batch
SHORTEST_S = 0.1  # an encoder needs a few frames

# Decoding these takes a fifth of the time that a pocket encoder needs, so corpora of this size are decoded once.
_SLOW_TO_DECODE = (".ogg", ".opus", ".mp3")
_DECODED_HOURS = 24  # 2.8 GB of 16-bit samples


class ExtractionError(ValueError):
    """An utterance cannot be encoded or kept; the message names it."""


@dataclass(frozen=True)
class Features:
    """Layer features on disk, memory-mapped, in the corpus's order."""

    layers: tuple[str, ...]
    shards: list[Path]

    def matrix(self, layer: str) -> np.ndarray:
        """Pooled features of a layer: mean and deviation over each utterance's frames, float32 ``[rows, 2 D]``."""
        return np.concatenate([np.load(shard / f"{layer}.pooled.npy") for shard in self.shards])

    def utterances(self, layer: str) -> list[np.ndarray]:
        """One float16 view ``[T, D]`` an utterance; read from disk when it is touched."""
        views = []
        for shard in self.shards:
            stored = np.load(shard / f"{layer}.npy", mmap_mode="r")
            views += np.split(stored, np.cumsum(np.load(shard / f"{layer}.counts.npy"))[:-1])
        return views


def extract(
    encoder: Encoder, corpus: pd.DataFrame, folder: str | Path, frames: bool,
    alter: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> Features:  # fmt: skip
    """Run the encoder once over a corpus and keep every layer.

    Args:
        encoder: from `fairlib.load_encoder`.
        corpus: a corpus table; its row order is the features' order.
        folder: where the shards go; finished shards found there are kept, so give each encoder, corpus and alteration
            its own.
        frames: keep all frames (float16), beside the mean and standard deviation over time (float32) that are always
            kept.
        alter: changes an utterance before it is encoded, from its samples and its utterance_id.

    Raises:
        ExtractionError: an utterance is too short, or a layer's values do not fit half precision.
        fairlib.audio.AudioError: an audio file cannot be read.
    """
    corpus = corpus.reset_index(drop=True)
    short = corpus[corpus["duration_s"] < SHORTEST_S]
    if len(short):
        row = short.iloc[0]
        raise ExtractionError(
            f"Utterance {row.utterance_id} lasts {row.duration_s:.3f} s, less than the {SHORTEST_S} s an encoder "
            "needs: leave it out of the corpus."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keep_audio = corpus["duration_s"].sum() <= _DECODED_HOURS * 3600
    shards = []
    starts = range(0, len(corpus), SHARD_UTTERANCES)
    # Quiet inside notebooks and logs; a person at a terminal sees the shards go by.
    for start in tqdm(starts, desc=f"extract {encoder.name}", unit="shard", disable=not sys.stderr.isatty()):
        shard = folder / f"{start // SHARD_UTTERANCES:05d}"
        utterances = corpus.iloc[start : start + SHARD_UTTERANCES].reset_index(drop=True)
        if not _holds(shard, utterances, frames):
            shutil.rmtree(shard, ignore_errors=True)
            _write_shard(encoder, utterances, shard, frames, keep_audio, alter)
        shards.append(shard)
    return Features(encoder.layers, shards)


def _write_shard(
    encoder: Encoder, utterances: pd.DataFrame, shard: Path, frames: bool, keep_audio: bool, alter
) -> None:
    pooled: dict[str, list] = {layer: [None] * len(utterances) for layer in encoder.layers}
    kept: dict[str, list] = {layer: [None] * len(utterances) for layer in encoder.layers}
    for rows, layers in _forward(encoder, utterances, keep_audio, alter):
        for layer, per_utterance in layers.items():
            for row, values in zip(rows, per_utterance):
                pooled[layer][row] = torch.cat([values.mean(dim=0), values.std(dim=0, correction=0)]).cpu().numpy()
                if frames:
                    kept[layer][row] = values.half().cpu().numpy()
    temporary = shard.with_name(shard.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    names = utterances["utterance_id"].to_numpy()
    for layer in encoder.layers:
        for one, values in zip(names, kept[layer] if frames else pooled[layer]):
            if not np.isfinite(values).all():
                raise ExtractionError(
                    f"Layer {layer} of {encoder.name} has values outside half precision's range in utterance {one}."
                )
        np.save(temporary / f"{layer}.pooled.npy", np.stack(pooled[layer]))
        if frames:
            np.save(temporary / f"{layer}.npy", np.concatenate(kept[layer]))
            np.save(temporary / f"{layer}.counts.npy", np.array([len(one) for one in kept[layer]]))
    about = {"utterances": utterances["utterance_id"].tolist(), "frames": frames}
    (temporary / "about.json").write_text(json.dumps(about))
    temporary.rename(shard)


def _holds(shard: Path, utterances: pd.DataFrame, frames: bool) -> bool:
    """Whether a shard holds what is asked for: one left by a run over other utterances must not be taken for ours."""
    if not (shard / "about.json").exists():
        return False
    about = json.loads((shard / "about.json").read_text())
    return about["utterances"] == utterances["utterance_id"].tolist() and about["frames"] >= frames


def _forward(encoder: Encoder, utterances: pd.DataFrame, keep_audio: bool, alter) -> Iterator[tuple[list[int], dict]]:
    """Batches of similar length; the next ones are decoded while the encoder works."""
    durations = utterances["duration_s"].to_numpy()
    batches: list[list[int]] = []
    for row in np.argsort(durations, kind="stable"):
        # Sorted by length, so the newest is the longest and tells what the padded batch would hold.
        if batches and durations[row] * (len(batches[-1]) + 1) <= BATCH_SECONDS:
            batches[-1].append(int(row))
        else:
            batches.append([int(row)])
    read = _reader(utterances, keep_audio)
    names = utterances["utterance_id"].to_numpy()

    def load(row: int) -> np.ndarray:
        audio = read(row)
        return audio if alter is None else alter(audio, names[row])

    with ThreadPoolExecutor(max_workers=2) as pool:
        ahead = [pool.map(load, batch) for batch in batches[:1]]
        for index, batch in enumerate(batches):
            if index + 1 < len(batches):
                ahead.append(pool.map(load, batches[index + 1]))
            yield batch, encoder.layers_of(list(ahead.pop(0)))


def _reader(utterances: pd.DataFrame, keep_audio: bool) -> Callable[[int], np.ndarray]:
    """Reads an utterance by its row; compressed audio from 16-bit samples in the cache, made on first use."""
    paths = utterances["path"].tolist()
    slow = any(PurePath(path).suffix.lower() in _SLOW_TO_DECODE for path in paths)
    if not (keep_audio and slow):
        return lambda row: read_audio(paths[row])
    try:
        states = [os.stat(path) for path in paths]
    except OSError:
        return lambda row: read_audio(paths[row])  # it names the file
    lines = [f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in zip(paths, states)]
    folder = cache_folder() / "audio" / hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]
    if not folder.exists():
        temporary = folder.with_name(f"{folder.name}.{os.getpid()}")
        temporary.mkdir(parents=True, exist_ok=True)
        decoded = [np.round(np.clip(read_audio(path), -1, 1) * 32767).astype(np.int16) for path in paths]
        np.save(temporary / "samples.npy", np.concatenate(decoded))
        np.save(temporary / "starts.npy", np.cumsum([0, *map(len, decoded)]))
        try:
            temporary.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(temporary)
    samples, starts = np.load(folder / "samples.npy", mmap_mode="r"), np.load(folder / "starts.npy")
    return lambda row: samples[starts[row] : starts[row + 1]].astype(np.float32) / 32767
