"""Extraction: every layer of every utterance in one forward pass, written in shards that a stopped run does not
lose."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from fairlib.audio import read_audio
from fairlib.encoders import Encoder

SHARD_UTTERANCES = 256
BATCH_SECONDS = 60.0  # of speech in one transformer batch
SHORTEST_S = 0.1  # an encoder needs a few frames


class ExtractionError(ValueError):
    """An utterance cannot be encoded or kept; the message names it."""


@dataclass(frozen=True)
class Features:
    """Layer features on disk, memory-mapped: ``starts[i]`` to ``starts[i + 1]`` are the rows of utterance i in a layer.

    Pooled features have one row an utterance, ``[mean, standard deviation]`` over its frames.
    """

    layers: tuple[str, ...]
    shards: list[Path]
    frame_counts: dict[str, list[np.ndarray]]  # layer -> per shard, frames of each utterance

    def matrix(self, layer: str) -> np.ndarray:
        """All rows of one layer, float32 ``[rows, D]``, in the corpus's order."""
        return np.concatenate([np.load(shard / f"{layer}.npy") for shard in self.shards]).astype(np.float32)

    def utterances(self, layer: str) -> list[np.ndarray]:
        """One float16 view ``[T, D]`` an utterance, in the corpus's order; read from disk when it is touched."""
        views = []
        for shard, counts in zip(self.shards, self.frame_counts[layer]):
            stored = np.load(shard / f"{layer}.npy", mmap_mode="r")
            views += np.split(stored, np.cumsum(counts)[:-1])
        return views


def extract(encoder: Encoder, corpus: pd.DataFrame, folder: str | Path, pooled: bool) -> Features:
    """Run the encoder once over a corpus and keep every layer.

    Args:
        encoder: from `fairlib.load_encoder`.
        corpus: a corpus table; its row order is the features' order.
        folder: where the shards go; finished shards found there are kept, so give each encoder and corpus its own.
        pooled: keep mean and standard deviation over time (float32), or all frames (float16).

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
    shards, counts = [], {layer: [] for layer in encoder.layers}
    starts = range(0, len(corpus), SHARD_UTTERANCES)
    # Quiet inside notebooks and logs; a person at a terminal sees the shards go by.
    for start in tqdm(starts, desc=f"extract {encoder.name}", unit="shard", disable=not sys.stderr.isatty()):
        shard = folder / f"{start // SHARD_UTTERANCES:05d}"
        utterances = corpus.iloc[start : start + SHARD_UTTERANCES]
        if _utterances_in(shard) != utterances["utterance_id"].tolist():
            shutil.rmtree(shard, ignore_errors=True)
            _write_shard(encoder, utterances, shard, pooled)
        shards.append(shard)
        for layer in encoder.layers:
            counts[layer].append(np.load(shard / f"{layer}.counts.npy"))
    return Features(encoder.layers, shards, counts)


def _write_shard(encoder: Encoder, utterances: pd.DataFrame, shard: Path, pooled: bool) -> None:
    kept: dict[str, list] = {layer: [None] * len(utterances) for layer in encoder.layers}
    for rows, layers in _forward(encoder, utterances):
        for layer, per_utterance in layers.items():
            for row, frames in zip(rows, per_utterance):
                if pooled:
                    statistics = [frames.mean(dim=0), frames.std(dim=0, correction=0)]
                    kept[layer][row] = torch.cat(statistics)[None].cpu().numpy()
                else:
                    kept[layer][row] = frames.half().cpu().numpy()
    temporary = shard.with_name(shard.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for layer, rows in kept.items():
        stacked = np.concatenate(rows)
        if not np.isfinite(stacked).all():
            names = utterances["utterance_id"].to_numpy()
            bad = next(name for name, values in zip(names, rows) if not np.isfinite(values).all())
            raise ExtractionError(
                f"Layer {layer} of {encoder.name} has values outside half precision's range in utterance {bad}."
            )
        np.save(temporary / f"{layer}.npy", stacked)
        np.save(temporary / f"{layer}.counts.npy", np.array([len(r) for r in rows]))
    (temporary / "utterances.json").write_text(json.dumps(utterances["utterance_id"].tolist()))
    temporary.rename(shard)


def _utterances_in(shard: Path) -> list[str] | None:
    """Whose features a shard holds: one left by a run over other utterances must not be taken for ours."""
    names = shard / "utterances.json"
    return json.loads(names.read_text()) if names.exists() else None


def _forward(encoder: Encoder, utterances: pd.DataFrame) -> Iterator[tuple[list[int], dict]]:
    """Batches of similar length; the next ones are decoded while the encoder works."""
    durations = utterances["duration_s"].to_numpy()
    paths = utterances["path"].to_numpy()
    batches: list[list[int]] = []
    for row in np.argsort(durations, kind="stable"):
        # Sorted by length, so the newest is the longest and tells what the padded batch would hold.
        if batches and durations[row] * (len(batches[-1]) + 1) <= BATCH_SECONDS:
            batches[-1].append(int(row))
        else:
            batches.append([int(row)])
    with ThreadPoolExecutor(max_workers=2) as pool:
        ahead = [pool.map(read_audio, paths[batch]) for batch in batches[:1]]
        for index, batch in enumerate(batches):
            if index + 1 < len(batches):
                ahead.append(pool.map(read_audio, paths[batches[index + 1]]))
            yield batch, encoder.layers_of(list(ahead.pop(0)))
