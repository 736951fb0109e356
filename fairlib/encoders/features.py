"""Layer features on disk: a folder a shard, a file a layer, and a manifest that tells a whole shard from a damaged one.

A shard holds for each layer ``LAYER.npy`` (all frames, float16 ``[frames, D]``, if frames were kept),
``LAYER.pooled.npy`` (float32 ``[utterances, 2 D]``) and ``LAYER.index.npy`` (the first frame and the number of frames
of each utterance). ``manifest.json`` says what it was made from and carries a CRC-32 of each file's values: enough
against accidents, and fast. Whoever reads one layer opens that layer's files alone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairlib.files import write_text

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskError(RuntimeError):
    """The disk cannot hold the features; the message says what they need and where."""


@dataclass(frozen=True)
class Features:
    """Layer features on disk, memory-mapped, in the corpus's order. Made by `fairlib.extract`."""

    layers: tuple[str, ...]
    shards: list[Path]

    def matrix(self, layer: str) -> np.ndarray:
        """Pooled features of a layer: mean and deviation over each utterance's frames, float32 ``[rows, 2 D]``."""
        return np.concatenate([np.load(shard / f"{layer}.pooled.npy") for shard in self.shards])

    def counts(self, layer: str) -> np.ndarray:
        """Frames of each utterance, ``[rows]``; known without keeping them."""
        return np.concatenate([np.load(shard / f"{layer}.index.npy")[:, 1] for shard in self.shards])

    def utterances(self, layer: str) -> list[np.ndarray]:
        """One float16 view ``[T, D]`` an utterance; read from disk when it is touched."""
        views = []
        for shard in self.shards:
            stored = np.load(shard / f"{layer}.npy", mmap_mode="r")
            views += [stored[first : first + count] for first, count in np.load(shard / f"{layer}.index.npy")]
        return views

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for shard in self.shards for file in shard.iterdir())

    def report(self) -> dict[str, float]:
        """How the passes that made these features went.

        Returns:
            ``hours`` of audio; ``hours_per_hour`` encoded by one worker; ``padding``, the share of the transformer's
            batches that was padding; ``busy``, the share of the time in which the device computed; ``halved``, how
            often a batch had to be halved for want of memory.
        """
        passes = [read_manifest(shard)["pass"] for shard in self.shards]
        audio, padded, wall, busy, halved = (
            sum(one[name] for one in passes) for name in ("audio_s", "padded_s", "wall_s", "busy_s", "halved")
        )
        return {
            "hours": audio / 3600, "hours_per_hour": audio / wall, "padding": 1 - audio / padded, "busy": busy / wall,
            "halved": halved,
        }  # fmt: skip


def read_manifest(shard: Path) -> dict | None:
    """What a shard says of itself; None if it is absent or cannot be read."""
    try:
        return json.loads((shard / "manifest.json").read_text())
    except (OSError, ValueError):
        return None


def damaged_file(shard: Path) -> str | None:
    """The first file of a shard that is not what was written, or None. Reads them all."""
    for name, expected in read_manifest(shard)["arrays"].items():
        try:
            stored = np.load(shard / name, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return name
        if list(stored.shape) != expected["shape"] or zlib.crc32(stored.data) != expected["crc32"]:
            return name
    return None


class _Growing:
    """A .npy file that grows by its first axis. NumPy leaves room in the header for that axis's digits."""

    def __init__(self, path: Path, tail: tuple[int, ...], dtype: np.dtype) -> None:
        self.file, self.shape, self.dtype, self.crc = path.open("wb"), [0, *tail], dtype, 0
        self._header()

    def _header(self) -> None:
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": tuple(self.shape)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, about)

    def append(self, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, self.dtype).data
        self.crc = zlib.crc32(data, self.crc)
        self.file.write(data)
        self.shape[0] += len(values)

    def finish(self) -> dict:
        self._header()
        self.file.close()
        return {"shape": self.shape, "crc32": self.crc}


class ShardWriter:
    """Writes a shard batch by batch, so that no more than a batch is held. Made by `new_shard`."""

    def __init__(self, folder: Path, rows: int, frames: bool) -> None:
        self._folder, self._rows, self._frames = folder, rows, frames
        self._stored: dict[str, _Growing] = {}
        self._pooled: dict[str, np.ndarray] = {}
        self._index: dict[str, np.ndarray] = {}

    def add(self, layer: str, rows: list[int], pooled: np.ndarray, counts: list[int], frames: np.ndarray | None):
        """Keep one layer of the utterances ``rows``: pooled ``[n, 2 D]``, and frames ``[sum of counts, D]``."""
        if layer not in self._pooled:
            self._pooled[layer] = np.zeros((self._rows, pooled.shape[1]), np.float32)
            self._index[layer] = np.zeros((self._rows, 2), np.int64)
            if self._frames:
                kind = np.dtype(np.float16)
                self._stored[layer] = _Growing(self._folder / f"{layer}.npy", frames.shape[1:], kind)
        before = self._stored[layer].shape[0] if self._frames else 0
        starts = before + np.cumsum([0, *counts[:-1]])
        self._index[layer][rows] = np.stack([starts if self._frames else np.zeros_like(starts), counts], axis=1)
        self._pooled[layer][rows] = pooled
        if self._frames:
            self._stored[layer].append(frames)

    def finish(self, manifest: dict) -> None:
        arrays = {}
        for layer, pooled in self._pooled.items():
            for name, values in ((f"{layer}.pooled.npy", pooled), (f"{layer}.index.npy", self._index[layer])):
                whole = _Growing(self._folder / name, values.shape[1:], values.dtype)
                whole.append(values)
                arrays[name] = whole.finish()
            if self._frames:
                arrays[f"{layer}.npy"] = self._stored[layer].finish()
        write_text(self._folder / "manifest.json", json.dumps({**manifest, "arrays": arrays}))

    def close(self) -> None:
        for stored in self._stored.values():
            with suppress(OSError):  # a full disk complains once more, of what is thrown away
                stored.file.close()


@contextmanager
def new_shard(shard: Path, rows: int, frames: bool) -> Iterator[ShardWriter]:
    """A shard that takes its name when it is whole; whatever goes wrong before, nothing of it is left.

    Raises:
        DiskError: the disk became full.
    """
    temporary = shard.with_name(f"{shard.name}.{os.getpid()}.partial")
    temporary.mkdir()
    writer = ShardWriter(temporary, rows, frames)
    try:
        yield writer
        shutil.rmtree(shard, ignore_errors=True)
        temporary.rename(shard)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise DiskError(
            f"The disk became full while shard {shard.name} of the features in {shard.parent} was written; the shards "
            "before it are whole, and the same call goes on from there. Free some space, or point FAIRLIB_CACHE to a "
            "larger disk."
        ) from None
    finally:
        writer.close()
        shutil.rmtree(temporary, ignore_errors=True)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would not fit.

    Raises:
        DiskError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"{what} need {told_bytes(needed)}, and {folder} has {told_bytes(free)} free: free some space, point "
            "FAIRLIB_CACHE to a larger disk, or stream the frames instead of keeping them."
        )


def told_bytes(size: float) -> str:
    """A size as a person would say it.

    Example:
        >>> told_bytes(3_210_000_000)
        '3.2 GB'
    """
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
