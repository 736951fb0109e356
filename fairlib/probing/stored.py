"""Outcomes that are published or stored are read; the others are computed, from features made once, and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pandas as pd
import torch

from fairlib.corpora import as_corpus, corpus_fingerprint, load_corpus, require_text, speaker_columns
from fairlib.encoders import Encoder, encoder_fingerprint, load_encoder
from fairlib.extraction import extract
from fairlib.features import Features
from fairlib.folders import cache_folder, hold, remove_unheld
from fairlib.outcomes import COLUMNS, METHOD, entry_name, note_used, read_outcomes, read_published, write_outcomes
from fairlib.probing.splits import corpus_name
from fairlib.probing.transcripts import text_version


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
            return _together(entries, "published")

    table = load_corpus(corpus) if isinstance(corpus, str) else corpus
    extra_tables = [load_corpus(other) for other in extra]
    if task in ("asr", "phone"):
        for one in (table, *extra_tables):
            require_text(one)
        if version := text_version(table):
            key["transcripts"] = version
    key["corpus_fingerprint"] = corpus_fingerprint(table)
    key["extra_fingerprints"] = [corpus_fingerprint(other) for other in extra_tables]
    entries, origin, work = [], "stored", None
    for seed in range(seeds):
        entry = None if force else read_outcomes({**key, "seed": seed})
        if entry is None:
            origin = "computed"
            work = work or Work(encoder, table, extra_tables, key)
            started = time.monotonic()
            rows = compute(work, seed)
            constants = {"encoder": encoder, "task": task, "seed": seed}
            # Some views have several probes in one entry.
            entry = _tidy(rows, speaker_columns(table), **constants, **({} if "probe" in rows else {"probe": probe}))
            about = {
                "device": work.device, "threads": torch.get_num_threads(), "torch": torch.__version__,
                "duration_s": round(time.monotonic() - started, 1), "left_out": rows.attrs.get("left_out", []),
                "utterances_left_out": rows.attrs.get("utterances_left_out", {}),
            }  # fmt: skip
            write_outcomes(entry, {**key, "seed": seed}, about)
            entry.attrs = {"stored": {"key": {**key, "seed": seed}, **about}}
        entries.append(entry)
    if work is not None:
        work.clear()
    return _together(entries, origin)


def with_left_out(rows: pd.DataFrame, speakers: Sequence[str] = (), utterances: dict | None = None) -> pd.DataFrame:
    """Rows that carry, into the store too, which speakers were left out of them, and how many utterances and why."""
    rows.attrs["left_out"] = list(speakers)
    rows.attrs["utterances_left_out"] = utterances or {}
    return rows


class Work:
    """What a probe computes from: the corpus, those that lend it speech, and features made when they are asked for."""

    def __init__(self, encoder: str, table: pd.DataFrame, extra: list[pd.DataFrame], key: dict) -> None:
        self.table, self.extra, self.key = table.reset_index(drop=True), extra, key
        self.encoder: Encoder = load_encoder(encoder)
        self.device = self.encoder.device
        self._folders: dict[Path, IO] = {}

    def features(
        self, table: pd.DataFrame, alteration: str = "", alter: Callable | None = None, frames: bool | None = None,
    ) -> Features:  # fmt: skip
        """Features of a whole corpus; ``alteration`` names what ``alter`` does.

        Without a word about frames they are kept where another probe will want them, so that they come with this pass.
        """
        fingerprints = [self.key["corpus_fingerprint"], *self.key["extra_fingerprints"]]
        number = next(i for i, one in enumerate([self.table, *self.extra]) if one is table)
        # Two probes that run side by side must not remove each other's features.
        owner = "shared" if _kept is not None else f"{self.key['task']}-{self.key['probe']}".replace(" ", "-")
        name = "-".join([self.key["encoder_fingerprint"][:12], fingerprints[number][:12], *filter(None, [alteration])])
        folder = cache_folder() / "features" / owner / name
        folders = self._folders if _kept is None else _kept
        if folder not in folders:
            folders[folder] = hold(folder)
        if frames is None:
            frames = _kept is not None and not alteration
        return extract(self.encoder, table, folder, frames, alter, _executor)

    def clear(self) -> None:
        _remove(self._folders)


def _remove(folders: dict[Path, IO]) -> None:
    for folder, held in folders.items():
        held.close()
        remove_unheld(folder)


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


def _together(entries: list[pd.DataFrame], origin: str) -> pd.DataFrame:
    stored = [entry.attrs["stored"] for entry in entries]
    key = stored[0]["key"]
    note_used(entry_name(entry["key"]) for entry in stored)
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
