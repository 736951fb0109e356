"""Frames of all layers for probes that are trained on them: read from disk, or streamed through the encoder.

Both give the same frames in half precision, batch by batch. Stored, they are encoded once, take their room on the disk
and are read at every pass of the training; streamed, they are encoded anew at every pass and take no room.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch

from fairlib.encoders import Encoder
from fairlib.encoders.devices import with_float64
from fairlib.encoders.extraction import predicted_bytes, reader
from fairlib.encoders.features import told_bytes

STATISTICS_FROM = 500  # utterances; their frames' mean and deviation standardise all


class StoredFrames:
    """Frames from disk: per layer and utterance ``[T, D]``, float16. Layers with fewer frames are brought to the
    longest's: SEW's squeezed ones are repeated, a missing frame is made up."""

    def __init__(self, frames: list[list[np.ndarray]]) -> None:
        self.lengths = np.array([max(len(layer[row]) for layer in frames) for row in range(len(frames[0]))])
        self.widths = [layer[0].shape[1] for layer in frames]
        self._frames = [[stretched(one, to) for one, to in zip(layer, self.lengths)] for layer in frames]

    def held_on(self, device: str) -> StoredFrames:
        """The same, in the memory of a GPU that has at least twice the room: no batch then waits for the disk."""
        bytes_held = 2 * int(self.lengths.sum()) * sum(self.widths)
        if torch.device(device).type == "cuda" and 2 * bytes_held < torch.cuda.mem_get_info(device)[0]:
            self._frames = [
                list(torch.from_numpy(np.concatenate(layer)).to(device).split(self.lengths.tolist()))
                for layer in self._frames
            ]
        return self

    def batches(self, groups: Sequence[list[int]]) -> Iterator[list[torch.Tensor]]:
        """For each group of rows, each layer's frames of these utterances end to end, ``[sum of T, D]``."""
        for rows in groups:
            yield [_end_to_end([layer[row] for row in rows]) for layer in self._frames]

    def statistics(self, rows: Sequence[int] | np.ndarray) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Mean and deviation of each layer over the frames of ``rows``, ``[D]``."""
        means, deviations = [], []
        for layer in self._frames:
            sample = _end_to_end([layer[row] for row in rows]).cpu().numpy().astype(np.float32)
            means.append(torch.from_numpy(sample.mean(axis=0)))
            deviations.append(torch.from_numpy(sample.std(axis=0)))
        return means, deviations


class StreamedFrames:
    """Frames made when they are asked for; audio of the next batch is decoded while the encoder works.

    Args:
        read: an utterance's samples, by its row.
        counts: frames of each layer and utterance ``[layers, rows]``; a pass without frames leaves them.
        widths: of each layer.
    """

    def __init__(
        self, encoder: Encoder, read: Callable[[int], np.ndarray], counts: np.ndarray, widths: list[int]
    ) -> None:
        self.lengths, self.widths = counts.max(axis=0), widths
        self._encoder, self._read = encoder, read

    def batches(self, groups: Sequence[list[int]]) -> Iterator[list[torch.Tensor]]:
        """As `StoredFrames.batches`, on the encoder's device, or where `with_float64` says that probes are trained."""
        device = with_float64(self._encoder.device)
        with ThreadPoolExecutor(2) as pool:
            ahead = [pool.map(self._read, rows) for rows in groups[:1]]
            for number, rows in enumerate(groups):
                ahead += [pool.map(self._read, after) for after in groups[number + 1 : number + 2]]
                layers = self._encoder.layers_of(list(ahead.pop(0)))
                yield [
                    torch.cat([stretched(one.half(), to) for one, to in zip(values, self.lengths[rows])]).to(device)
                    for values in layers.values()
                ]

    def statistics(self, rows: Sequence[int] | np.ndarray) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As `StoredFrames.statistics`, from sums, for all these frames at once would not fit the memory."""
        number = 0
        sums = squares = [torch.zeros(())] * len(self.widths)
        for layers in self.batches([list(rows[start : start + 16]) for start in range(0, len(rows), 16)]):
            number += len(layers[0])
            wide = [layer.double() for layer in layers]
            sums = [one.sum(dim=0) + before for one, before in zip(wide, sums)]
            squares = [one.square().sum(dim=0) + before for one, before in zip(wide, squares)]
        means = [one / number for one in sums]
        deviations = [(one / number - mean**2).clamp(min=0).sqrt() for one, mean in zip(squares, means)]
        return [one.float().cpu() for one in means], [one.float().cpu() for one in deviations]


def _end_to_end(frames: list) -> torch.Tensor:
    return torch.cat(frames) if isinstance(frames[0], torch.Tensor) else torch.from_numpy(np.concatenate(frames))


def stretched(frames, to: int):
    """An utterance's frames at a layer that has fewer, ``[T, D]``, repeated evenly until there are ``to``.

    Example:
        >>> stretched(np.array([[1], [2]]), 5).T
        array([[1, 1, 1, 2, 2]])
    """
    return frames if len(frames) == to else frames[np.arange(to) * len(frames) // to]


def compare_frame_modes(
    encoder: Encoder, tables: Sequence[pd.DataFrame], passes: int, folder: Path, seeds: int = 1
) -> pd.DataFrame:
    """What a training on frames costs with these stored and streamed: the encoder and the disk are tried, for seconds.

    Args:
        tables: the corpora whose frames are needed.
        passes: of the training over them.
        folder: on the disk where they would lie.

    Returns:
        A row for ``stored`` and ``streamed``: ``bytes`` on disk, ``hours`` for encoding, writing and reading (the
        training itself costs the same), ``fits`` the disk, and ``cheaper`` for the one to choose.

    Example:
        >>> compare_frame_modes(load_encoder("pocket-hubert"), [corpus], 30, folder)  # doctest: +SKIP
    """
    durations = np.concatenate([table["duration_s"].to_numpy() for table in tables])
    size, free = predicted_bytes(encoder, durations, frames=True), psutil.disk_usage(str(folder)).free
    write, read, remembered = _disk_speed(folder)
    encode = durations.sum() / _encoder_speed(encoder, tables[0])
    # What fits the memory that is free is read from the disk once, if at all.
    again = remembered if size < psutil.virtual_memory().available / 2 else read
    stored = encode + size / write + seeds * passes * size / again
    sample = min(1.0, STATISTICS_FROM / len(durations))
    streamed = encode * (1 + seeds * (passes + sample))  # a first pass counts the frames
    costs = pd.DataFrame(
        {"bytes": [size, predicted_bytes(encoder, durations, frames=False)], "hours": [stored / 3600, streamed / 3600]},
        index=pd.Index(["stored", "streamed"], name="frames"),
    )
    costs["fits"] = costs["bytes"] < free
    costs["cheaper"] = costs.index == costs[costs["fits"]]["hours"].idxmin() if costs["fits"].any() else False
    return costs


def told_comparison(costs: pd.DataFrame) -> str:
    """The comparison in a sentence.

    Example:
        >>> costs = pd.DataFrame({"bytes": [3e11, 5e7], "hours": [2.0, 9.5], "fits": [False, True]})
        >>> told_comparison(costs.assign(cheaper=[False, True]).set_axis(["stored", "streamed"]))
        'Frames take stored 300.0 GB, which the disk has not, and 2.00 h; streamed 50 MB and 9.50 h: streamed.'
    """
    parts = []
    for name, row in costs.iterrows():
        lacking = "" if row["fits"] else ", which the disk has not,"
        parts.append(f"{name} {told_bytes(row['bytes'])}{lacking} and {row['hours']:.2f} h")
    chosen = "".join(costs.index[costs["cheaper"]]) or "neither"
    return f"Frames take {'; '.join(parts)}: {chosen}."


def _encoder_speed(encoder: Encoder, table: pd.DataFrame) -> float:
    """Seconds of speech a second, from about half a minute of utterances of middling length."""
    middling = table.sort_values("duration_s").iloc[len(table) // 2 :]
    few = middling[middling["duration_s"].cumsum() <= max(30.0, middling["duration_s"].iloc[0])]
    read = reader(few.reset_index(drop=True), keep_audio=False)
    audio = [read(row) for row in range(len(few))]
    encoder.layers_of(audio[:1])  # the first batch prepares kernels
    started = time.perf_counter()
    layers = encoder.layers_of(audio)
    float(next(reversed(layers.values()))[-1].sum())  # a GPU is asked to have finished
    return few["duration_s"].sum() / (time.perf_counter() - started)


def _disk_speed(folder: Path, size: int = 64_000_000) -> tuple[float, ...]:
    """Bytes a second: written, read from the disk, and read again."""
    folder.mkdir(parents=True, exist_ok=True)
    content = np.random.default_rng(0).bytes(size)
    with tempfile.TemporaryFile(dir=folder) as file:
        speeds = []
        for action in ("write", "read", "read again"):
            if action == "read" and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # forget it
            file.seek(0)
            started = time.perf_counter()
            if action == "write":
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            else:
                file.read()
            speeds.append(size / (time.perf_counter() - started))
    return tuple(speeds)
