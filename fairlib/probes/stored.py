"""Outcomes that are published or stored are read; the others are computed, from features made once, and stored."""

from __future__ import annotations

import atexit
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pandas as pd
import torch

from fairlib.corpora import as_corpus, corpus_fingerprint, load_corpus, require_text, speaker_columns
from fairlib.corpora.identity import ABSENT, ORIGIN, RECODED, SAME, published_for
from fairlib.encoders import Encoder, encoder_fingerprint, load_encoder
from fairlib.encoders.devices import best_device
from fairlib.encoders.extraction import extract
from fairlib.encoders.features import Features
from fairlib.files import cache_folder, hold, remove_unheld
from fairlib.outcomes import COLUMNS, METHOD, entry_name, note_used, read_outcomes, read_published, write_outcomes
from fairlib.probes.splits import corpus_name
from fairlib.probes.transcripts import text_version
from fairlib.progress import stage

_POOLED_BYTES = 1e9  # of pooled features that are worth keeping until the process ends


def stored(task, probe, encoder, corpus, extra, settings, seeds, force, compute: Callable) -> pd.DataFrame:
    """Outcomes of every seed: published, stored, or computed now and stored."""
    corpus = as_corpus(corpus) if isinstance(corpus, pd.DataFrame) else str(corpus)
    name = corpus_name(corpus)
    key = {
        "task": task, "probe": probe, "encoder": encoder, "encoder_fingerprint": encoder_fingerprint(encoder), "corpus":
        name, "extra": list(extra), "settings": settings, "method": METHOD[task],
    }  # fmt: skip
    if isinstance(corpus, str) and not force:
        entries = [read_published({**key, "seed": seed}) for seed in range(seeds)]
        if all(entry is not None for entry in entries):
            return _together(entries, _published_origin([name, *extra]))

    table = load_corpus(corpus) if isinstance(corpus, str) else corpus
    extra_tables = [load_corpus(other) for other in extra]
    if task in ("asr", "phone"):
        for one in (table, *extra_tables):
            require_text(one)
        if version := text_version(table):
            key["transcripts"] = version
    key["corpus_fingerprint"] = corpus_fingerprint(table)
    key["extra_fingerprints"] = [corpus_fingerprint(other) for other in extra_tables]
    found = [None if force else read_outcomes({**key, "seed": seed}) for seed in range(seeds)]
    if all(entry is not None for entry in found):
        return _together(found, "stored")
    work = Work(encoder, table, extra_tables, key)
    entries = []
    with stage(f"probing {_LABELS[task]}, {encoder} on {name}, {probe}", seeds, "seeds") as done:
        for seed, entry in enumerate(found):
            entries.append(_computed(work, seed, compute, speaker_columns(table)) if entry is None else entry)
            done()
    work.clear()
    return _together(entries, "computed")


_LABELS = {"sid": "speakers", "asr": "characters", "phone": "phones"}


def _computed(work: Work, seed: int, compute: Callable, of_speakers: list[str]) -> pd.DataFrame:
    """One seed's outcomes, computed and stored."""
    started, key = time.monotonic(), {**work.key, "seed": seed}
    rows = compute(work, seed)
    constants = {"encoder": key["encoder"], "task": key["task"], "seed": seed}
    # Some views have several probes in one entry.
    entry = _tidy(rows, of_speakers, **constants, **({} if "probe" in rows else {"probe": key["probe"]}))
    about = {
        "device": work.device, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "duration_s": round(time.monotonic() - started, 1), "left_out": rows.attrs.get("left_out", []),
        "utterances_left_out": rows.attrs.get("utterances_left_out", {}),
    }  # fmt: skip
    write_outcomes(entry, key, about)
    entry.attrs = {"stored": {"key": key, **about}}
    return entry


def with_left_out(rows: pd.DataFrame, speakers: Sequence[str] = (), utterances: dict | None = None) -> pd.DataFrame:
    """Rows that carry, into the store too, which speakers were left out of them, and how many utterances and why."""
    rows.attrs["left_out"] = list(speakers)
    rows.attrs["utterances_left_out"] = utterances or {}
    return rows


class Work:
    """What a probe computes from: the corpus, those that lend it speech, and features made when they are asked for."""

    def __init__(self, encoder: str, table: pd.DataFrame, extra: list[pd.DataFrame], key: dict) -> None:
        self.table, self.extra, self.key = table.reset_index(drop=True), extra, key
        self.device = best_device()
        self._name, self._folders = encoder, {}

    @functools.cached_property
    def encoder(self) -> Encoder:
        return load_encoder(self._name, self.device)

    def features(
        self, table: pd.DataFrame, alteration: str = "", alter: Callable | None = None, frames: bool | None = None,
    ) -> Features:  # fmt: skip
        """Features of a whole corpus; ``alteration`` names what ``alter`` does.

        Without a word about frames they are kept where another probe will want them, so that they come with this pass.
        What is pooled alone is small, so it stays for the other probes of this process.
        """
        fingerprints = [self.key["corpus_fingerprint"], *self.key["extra_fingerprints"]]
        number = next(i for i, one in enumerate([self.table, *self.extra]) if one is table)
        if frames is None:
            frames = _kept is not None and not alteration
        name = "-".join([self.key["encoder_fingerprint"][:12], fingerprints[number][:12], *filter(None, [alteration])])
        # Two probes that run side by side must not remove each other's features.
        owner = "shared" if _kept is not None else f"{self.key['task']}-{self.key['probe']}".replace(" ", "-")
        folder = cache_folder() / "features" / (owner if frames or _kept is not None else "pooled") / name
        if not frames and (folder, self.device) in _pooled and folder.exists():
            return _pooled[folder, self.device]
        folders = self._folders if _kept is None else _kept
        if folder not in folders:
            folders[folder] = hold(folder)
        features = extract(self.encoder, table, folder, frames, alter, _executor)
        if not frames and _kept is None and features.size() <= _POOLED_BYTES:
            _pooled[folder, self.device] = features
            _pooled_folders[folder] = self._folders.pop(folder)
        return features

    def clear(self) -> None:
        _remove(self._folders)


def _remove(folders: dict[Path, IO]) -> None:
    for folder, held in folders.items():
        held.close()
        remove_unheld(folder)
    folders.clear()


_pooled: dict[tuple[Path, str], Features] = {}  # by folder and device, until this process ends
_pooled_folders: dict[Path, IO] = {}
atexit.register(_remove, _pooled_folders)


_kept: dict[Path, IO] | None = None  # features to be removed at the end of `kept_features`
_executor: Executor | None = None  # makes their shards


@contextmanager
def kept_features(executor: Executor | None = None) -> Iterator[None]:
    """Within it, each encoder passes over each corpus once: its features serve every probe, and are removed at the end.

    Frames of all layers are large (three gigabytes for ten hours of a pocket encoder), so outside of it each call of a
    probe removes its own.

    Args:
        executor: makes the features' shards, as in `fairlib.extract`; the probes are trained here.

    Example:
        >>> with kept_features():  # doctest: +SKIP
        ...     speakers = probe_speakers("pocket-hubert", "speechocean762")
        ...     characters = probe_characters("pocket-hubert", "speechocean762")
    """
    global _kept, _executor
    if _kept is not None:  # the outer one removes them
        yield
        return
    _kept, _executor = {}, executor
    try:
        yield
    finally:
        _remove(_kept)
        _kept = _executor = None


def _tidy(rows: pd.DataFrame, of_speakers: list[str], **constants) -> pd.DataFrame:
    rows = rows.assign(**constants)
    for count in ("substitutions", "deletions", "insertions"):
        if count not in rows:
            rows[count] = 0
    return rows[[*COLUMNS, *of_speakers]].astype(COLUMNS).reset_index(drop=True)


def _published_origin(corpora: list[str]) -> str:
    """That outcomes are published, and how the corpora here stand to those that they are of, the least like first."""
    answers = set(map(published_for, corpora))
    return ORIGIN[next(answer for answer in (RECODED, ABSENT, SAME) if answer in answers)]


def _together(entries: list[pd.DataFrame], origin: str) -> pd.DataFrame:
    stored = [entry.attrs["stored"] for entry in entries]
    key = stored[0]["key"]
    note_used(entry["key"] for entry in stored)
    outcomes = pd.concat([entry.copy() for entry in entries], ignore_index=True)
    outcomes.attrs = {
        "provenance": {
            "origin": origin,
            "encoder": key["encoder"],
            "encoder_fingerprint": key["encoder_fingerprint"],
            "corpus": key["corpus"],
            "corpus_fingerprint": key["corpus_fingerprint"],
            "seeds": [entry["key"]["seed"] for entry in stored],
            "entries": [entry_name(entry["key"]) for entry in stored],
            "settings": key["settings"],
            "device": stored[0]["device"],
            "left_out": sorted({speaker for entry in stored for speaker in entry["left_out"]}),
            "utterances_left_out": stored[0].get("utterances_left_out", {}),
            "duration_s": round(sum(entry["duration_s"] for entry in stored), 1),
        }
    }
    return outcomes
