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

from fairlib.base.files import cache_folder, hold, remove_unheld
from fairlib.base.progress import stage
from fairlib.base.tasks import task_named
from fairlib.corpora import as_corpus, corpus_fingerprint, load_corpus, require_text, speaker_columns
from fairlib.encoders import Encoder, encoder_fingerprint, load_encoder
from fairlib.encoders.devices import best_device, with_float64
from fairlib.encoders.extraction import extract
from fairlib.encoders.features import Features
from fairlib.outcomes import COLUMNS, METHOD, SPOKEN, Entry, read_outcomes, read_published, together, write_outcomes
from fairlib.probes.splits import ProbeError, corpus_name
from fairlib.probes.transcripts import text_version

_POOLED_BYTES = 1e9  # of pooled features that are worth keeping until the process ends


def stored(
    task: str, probe: str, what: str | Encoder | Features, corpus: str | pd.DataFrame | None, extra: Sequence[str],
    settings: dict, seeds: int, force: bool, compute: Callable,
) -> pd.DataFrame:  # fmt: skip
    """Outcomes of every seed: published, stored, or computed now and stored.

    Args:
        task, probe, settings: of the probe, part of the key.
        what, corpus, seeds, force: as `fairlib.probe`.
        extra: names of corpora that lend their speech, except where features of one's own are all that there is.
        compute: one seed's outcomes and what was left out (`with_left_out`), from `Work` and the seed.
    """
    if isinstance(what, Features):
        corpus = what.same_corpus(corpus)
        extra = () if what.own else extra
    elif corpus is None:
        raise ProbeError("Name the corpus to probe on, or give its table: only features bring theirs with them.")
    elif isinstance(corpus, pd.DataFrame):
        corpus = as_corpus(corpus)
    encoder, fingerprint = (what, encoder_fingerprint(what)) if isinstance(what, str) else (what.name, what.fingerprint)
    name = corpus_name(corpus)
    key = {
        "task": task, "probe": probe, "encoder": encoder, "encoder_fingerprint": fingerprint, "corpus": name,
        "extra": list(extra), "settings": settings, "method": METHOD[task],
    }  # fmt: skip
    if isinstance(corpus, str) and not force:
        shipped = [entry for seed in range(seeds) if (entry := read_published({**key, "seed": seed})) is not None]
        if len(shipped) == seeds:
            return together(shipped)

    table = load_corpus(corpus) if isinstance(corpus, str) else corpus
    extra_tables = [load_corpus(other) for other in extra]
    if task in ("asr", "phone"):
        for one in (table, *extra_tables):
            require_text(one)
        if version := text_version(table):
            key["transcripts"] = version
    key["corpus_fingerprint"] = corpus_fingerprint(table)
    key["extra_fingerprints"] = [corpus_fingerprint(other) for other in extra_tables]
    entries = [None if force else read_outcomes({**key, "seed": seed}) for seed in range(seeds)]
    if any(entry is None for entry in entries):
        work = Work(what, table, extra_tables, key)
        with stage(f"probing {task_named(task).command}, {encoder} on {name}, {probe}", seeds, "seeds") as done:
            for seed, entry in enumerate(entries):
                entries[seed] = entry or _computed(work, seed, compute, speaker_columns(table))
                done()
        work.clear()
    return together([entry for entry in entries if entry is not None])


def _computed(work: Work, seed: int, compute: Callable, of_speakers: list[str]) -> Entry:
    """One seed's outcomes, computed and stored."""
    started, key = time.monotonic(), {**work.key, "seed": seed}
    rows, left_out = compute(work, seed)
    constants = {"encoder": key["encoder"], "task": key["task"], "seed": seed}
    # Some views have several probes in one entry.
    outcomes = _tidy(rows, of_speakers, **constants, **({} if "probe" in rows else {"probe": key["probe"]}))
    about = {
        "device": work.device, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "duration_s": round(time.monotonic() - started, 1), **left_out,
    }  # fmt: skip
    write_outcomes(outcomes, key, about)
    return Entry(outcomes, key, about)


def with_left_out(
    rows: pd.DataFrame, speakers: Sequence[str] = (), utterances: dict | None = None
) -> tuple[pd.DataFrame, dict]:
    """Rows, and, for the store, which speakers were left out of them, and how many utterances and why."""
    return rows, {"left_out": list(speakers), "utterances_left_out": utterances or {}}


class Work:
    """What a probe computes from: the corpus, those that lend it speech, and features made when they are asked for."""

    def __init__(
        self, what: str | Encoder | Features, table: pd.DataFrame, extra: list[pd.DataFrame], key: dict
    ) -> None:
        self.table, self.extra, self.key = table.reset_index(drop=True), extra, key
        self.device = with_float64(best_device())  # of the probes; the encoder needs no double precision
        self.given = what if isinstance(what, Features) else None
        self._encoder = what if isinstance(what, Encoder) else None
        self._folders: dict = {}

    @functools.cached_property
    def encoder(self) -> Encoder:
        return self._encoder or load_encoder(self.key["encoder"])

    def features(
        self, table: pd.DataFrame, alteration: str = "", alter: Callable | None = None, frames: bool | None = None,
    ) -> Features:  # fmt: skip
        """Features of a whole corpus; ``alteration`` names what ``alter`` does.

        Without a word about frames they are kept where another probe will want them, so that they come with this pass.
        What is pooled alone is small, so it stays for the other probes of this process.
        """
        fingerprints = [self.key["corpus_fingerprint"], *self.key["extra_fingerprints"]]
        number = next(i for i, one in enumerate([self.table, *self.extra]) if one is table)
        if self.given is not None and number == 0:
            return _of_given(self.given, alteration, frames)
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


def _of_given(given: Features, alteration: str, frames: bool | None) -> Features:
    if alteration:
        raise ProbeError(f"This probe alters the speech ({alteration}) before it is encoded: give it the encoder.")
    if frames and not given.has_frames:
        raise ProbeError("This probe needs frames, and these features are pooled: extract with frames=True.")
    return given


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
    spoken = [column for column in SPOKEN if column in rows]
    return rows[[*COLUMNS, *of_speakers, *spoken]].astype(COLUMNS).reset_index(drop=True)
