"""Layer features on disk: a folder a shard, a file a layer, and a manifest that tells a whole shard from a damaged one.

A shard holds for each layer ``LAYER.npy`` (all frames, float16 ``[frames, D]``, if frames were kept),
``LAYER.pooled.npy`` (float32 ``[utterances, 2 D]``) and ``LAYER.index.npy`` (the first frame and the number of frames
of each utterance). ``manifest.json`` says what it was made from and carries a CRC-32 of each file's values: enough
against accidents, and fast. Whoever reads one layer opens that layer's files alone.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fairlib.base.files import write_text
from fairlib.corpora import as_corpus, load_corpus

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskError(RuntimeError):
    """The disk cannot hold the features; the message says what they need and where."""


@dataclass(frozen=True)
class Features:
    """Layer features of a corpus, in its order, and what they are of. Made by `fairlib.extract`, or from `of_arrays`.

    Attributes:
        layers: names, from the signal upwards.
        shards: folders that hold them, memory-mapped.
        name, fingerprint: of the encoder, as outcomes will be called and kept.
        corpus: its table, one row an utterance.
        own: whether no encoder of this name makes them from the corpus as it is: arrays, or altered speech.
    """

    layers: tuple[str, ...]
    shards: list[Path]
    name: str
    fingerprint: str
    corpus: pd.DataFrame
    own: bool = False

    @staticmethod
    def of_arrays(
        layers: Mapping[str, np.ndarray | Sequence[np.ndarray]], corpus: pd.DataFrame, name: str = "mine"
    ) -> Features:
        """Features of one's own, from any model, as any probe takes them.

        Args:
            layers: by name, from the signal upwards, in the corpus's order: one array of pooled features ``[rows, D]``,
                or a list of frames ``[T, D]``, one array an utterance (20 ms each where phones are to be read).
            corpus: a table with utterance_id and speaker_id, or as `fairlib.corpora.as_corpus` takes; path is needed
                for phones alone.
            name: what outcomes call the encoder. They are kept by the arrays' own fingerprint.

        Raises:
            ValueError: names the layer and utterance that do not fit the corpus, or hold what is no number.

        Example:
            >>> table = pd.DataFrame({"utterance_id": ["u1", "u2"], "speaker_id": ["anna", "ben"]})
            >>> mine = Features.of_arrays({"0": [np.ones((50, 8)), np.zeros((40, 8))]}, table)
            >>> mine.pooled("0").shape, mine.frames("0", "u2").shape
            ((2, 16), (40, 8))
        """
        corpus = as_corpus(corpus, audio=False)
        arrays = {str(layer): _checked(str(layer), values, corpus) for layer, values in layers.items()}
        digest = hashlib.sha256()
        for layer, values in arrays.items():
            for each in values if isinstance(values, list) else [values]:
                digest.update(f"{layer} {each.shape} {each.dtype}".encode() + each.tobytes())
        return _ArrayFeatures(tuple(arrays), [], name, digest.hexdigest(), corpus, own=True, arrays=arrays)

    @property
    def utterance_ids(self) -> list[str]:
        """Of each row."""
        return self.corpus["utterance_id"].tolist()

    @property
    def has_frames(self) -> bool:
        """Whether frames were kept, beside what is pooled."""
        return (self.shards[0] / f"{self.layers[0]}.npy").is_file()

    def pooled(self, layer: str) -> np.ndarray:
        """Mean and deviation of a layer over each utterance's frames, float32 ``[rows, 2 D]``."""
        self._check(layer)
        return np.concatenate([np.load(shard / f"{layer}.pooled.npy") for shard in self.shards])

    def frames(self, layer: str, utterance_id: str) -> np.ndarray:
        """All frames of one utterance at a layer, float16 ``[T, D]``, one in 20 ms for most encoders."""
        self._check(layer)
        if utterance_id not in self._rows:
            raise ValueError(f"There is no utterance {utterance_id!r} in these features.")
        return self._frames_at(layer, self._rows[utterance_id])

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.utterance_ids)}

    def _frames_at(self, layer: str, row: int) -> np.ndarray:
        for shard in self.shards:
            index = np.load(shard / f"{layer}.index.npy")
            if row < len(index):
                first, count = index[row]
                return self._stored(shard, layer)[first : first + count]
            row -= len(index)
        raise IndexError(row)

    def _stored(self, shard: Path, layer: str) -> np.ndarray:
        path = shard / f"{layer}.npy"
        if not path.is_file():
            raise ValueError("These features are pooled, without their frames: extract them with frames=True.")
        return np.load(path, mmap_mode="r")

    def counts(self, layer: str) -> np.ndarray:
        """Frames of each utterance, ``[rows]``; known without keeping them."""
        return np.concatenate([np.load(shard / f"{layer}.index.npy")[:, 1] for shard in self.shards])

    def utterances(self, layer: str) -> list[np.ndarray]:
        """One float16 view ``[T, D]`` an utterance; read from disk when it is touched."""
        self._check(layer)
        views = []
        for shard in self.shards:
            stored = self._stored(shard, layer)
            views += [stored[first : first + count] for first, count in np.load(shard / f"{layer}.index.npy")]
        return views

    def same_corpus(self, corpus: str | pd.DataFrame | None) -> pd.DataFrame:
        """The corpus's table, or another one of these very utterances in this order, as with labels of one's own.

        Raises:
            ValueError: it is of other utterances, or their audio is no longer what was encoded.
        """
        corpus = self.corpus if corpus is None else corpus
        table = load_corpus(corpus) if isinstance(corpus, str) else as_corpus(corpus, audio=not self.own)
        if table["utterance_id"].tolist() != self.utterance_ids:
            raise ValueError("The corpus is not the one that the features are of: other utterances, or another order.")
        made = [manifest["made_from"] for shard in self.shards if (manifest := read_manifest(shard))]
        encoded = [state for one in made for state in one["files"]]
        # Outcomes would be kept as those of the new audio. Of shards that were removed nothing can be computed.
        if made and len(made) == len(self.shards) and encoded != file_states(self.corpus["path"]):
            raise ValueError(f"Audio was changed since {self.name} encoded it: extract its features again.")
        return table

    def _check(self, layer: str) -> None:
        if layer not in self.layers:
            raise ValueError(f"There is no layer {layer!r} here; there are {', '.join(self.layers)}.")

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
        passes = [(read_manifest(shard) or {})["pass"] for shard in self.shards]
        audio, padded, wall, busy, halved = (
            sum(one[name] for one in passes) for name in ("audio_s", "padded_s", "wall_s", "busy_s", "halved")
        )
        return {
            "hours": audio / 3600, "hours_per_hour": audio / wall, "padding": 1 - audio / padded, "busy": busy / wall,
            "halved": halved,
        }  # fmt: skip


@dataclass(frozen=True)
class _ArrayFeatures(Features):
    """Features of one's own, in memory."""

    arrays: Mapping[str, np.ndarray | list[np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def has_frames(self) -> bool:
        return all(isinstance(values, list) for values in self.arrays.values())

    def pooled(self, layer: str) -> np.ndarray:
        self._check(layer)
        values = self.arrays[layer]
        if not isinstance(values, list):
            return values.astype(np.float32)
        wide = (one.astype(np.float32) for one in values)
        return np.stack([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in wide])

    def counts(self, layer: str) -> np.ndarray:
        return np.array([len(one) for one in self.utterances(layer)])

    def _frames_at(self, layer: str, row: int) -> np.ndarray:
        return self.utterances(layer)[row]

    def utterances(self, layer: str) -> list[np.ndarray]:
        self._check(layer)
        given = self.arrays[layer]
        if not isinstance(given, list):
            raise ValueError(f"Layer {layer!r} was given pooled: it has no frames.")
        return given


def _checked(layer: str, values, corpus: pd.DataFrame) -> np.ndarray | list[np.ndarray]:
    """One layer's arrays, refused where they do not fit the corpus."""
    names = corpus["utterance_id"].tolist()
    frames = not (isinstance(values, np.ndarray) and values.ndim == 2)
    if len(values) != len(names):
        raise ValueError(f"Layer {layer!r} has {len(values)} rows, and the corpus {len(names)} utterances.")
    each = [np.asarray(one) for one in values]
    for name, one in zip(names, each):
        if one.ndim != (2 if frames else 1) or one.shape[-1] != each[0].shape[-1] or not len(one):
            raise ValueError(
                f"Layer {layer!r} of utterance {name!r} has the shape {one.shape}: it takes frames [T, D] of "
                "every utterance, or one array [rows, D], D being the same for all."
            )
        if not np.isfinite(one).all():
            raise ValueError(f"Layer {layer!r} of utterance {name!r} holds what is no finite number.")
    return each if frames else values


def file_states(paths: Iterable[str]) -> list[str | None]:
    """Size and time of change of each file, by which one is known that was changed in its place; None where none is.

    Example:
        >>> file_states(["nowhere.wav"])
        [None]
    """
    states: list[str | None] = []
    for path in paths:
        try:
            state = os.stat(path)
            states.append(f"{state.st_size} {state.st_mtime_ns}")
        except OSError:
            states.append(None)
    return states


def read_manifest(shard: Path) -> dict | None:
    """What a shard says of itself; None if it is absent or cannot be read."""
    try:
        return json.loads((shard / "manifest.json").read_text())
    except (OSError, ValueError):
        return None


def damaged_file(shard: Path) -> str | None:
    """The first file of a shard that is not what was written, or None. Reads them all."""
    for name, expected in (read_manifest(shard) or {})["arrays"].items():
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
            if frames is not None:
                kind = np.dtype(np.float16)
                self._stored[layer] = _Growing(self._folder / f"{layer}.npy", frames.shape[1:], kind)
        before = self._stored[layer].shape[0] if frames is not None else 0
        starts = before + np.cumsum([0, *counts[:-1]])
        self._index[layer][rows] = np.stack([starts if frames is not None else np.zeros_like(starts), counts], axis=1)
        self._pooled[layer][rows] = pooled
        if frames is not None:
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
