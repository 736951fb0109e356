"""Outcomes: the tidy table from which every number in the book derives, and the store that keeps it.

One row per encoder, layer, task, unit, probe, seed and utterance. A store entry holds one seed of one probe on one
encoder and corpus, in a Parquet file whose metadata carries its key: everything that changes the result. Entries are
written to a temporary name and renamed; a damaged entry counts as absent. What is published stands in one file for
each corpus and encoder (`fairlib.outcomes.shipped`).

Published outcomes answer for a corpus by its name only where its copy here is the one that they were computed on, or
the same utterances of the same speakers in other audio files, or where it is not here at all
(`fairlib.corpora.identity`). Outcomes of somebody else's speech are never given for one's own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from pandas.api.types import union_categoricals

from fairlib.base.files import ASSETS, cache_folder, replace
from fairlib.corpora.identity import ABSENT, ORIGIN, OTHER, RECODED, SAME, published_for
from fairlib.outcomes.shipped import (
    LONGEST,
    Shipped,
    canonical,
    listed,
    read_shipped,
    read_together,
    shipped_file,
    slug,
    write_shipped,
)

PUBLISHED = ASSETS / "outcomes"

# The version of the method, part of every key. Raise a task's number when a change alters its outcomes; the tests
# recompute a small study and fail when results move while these stand still.
METHOD = {"sid": 2, "asr": 2, "phone": 2}

COLUMNS = {
    "encoder": "string", "layer": "string", "task": "string", "unit": "string", "probe": "string", "seed": "int64",
    "corpus": "string", "utterance_id": "string", "speaker_id": "string", "errors": "int64", "length": "int64",
    "substitutions": "int64", "deletions": "int64", "insertions": "int64", "predicted": "string", "duration_s":
    "float64",
}  # fmt: skip
SPOKEN = ("phone", "duration")  # what was spoken, as further columns, where outcomes are counted by it


_see_published = True
_used: dict[str, dict] = {}  # keys of entries by their names, in the order in which this process first used them
_made: set[str] = set()  # names of entries that this process computed


@dataclass(frozen=True)
class Entry:
    """One seed's outcomes with their key, and what else is known of them (device, duration, who was left out)."""

    outcomes: pd.DataFrame
    key: dict
    about: dict


@contextmanager
def without_published() -> Iterator[None]:
    """Within it, published outcomes are as good as absent: what is asked for is read from the store or computed."""
    global _see_published
    before, _see_published = _see_published, False
    try:
        yield
    finally:
        _see_published = before


def store_folder() -> Path:
    """Where computed outcomes are kept: ``$FAIRLIB_STORE``, or a folder in the user's cache."""
    return Path(os.environ.get("FAIRLIB_STORE") or cache_folder() / "outcomes")


def entry_name(key: dict) -> str:
    """A file name that a person can read and that changes with anything in the key.

    Example:
        >>> entry_name({"task": "sid", "encoder": "random:pocket-hubert", "corpus": "synthetic", "seed": 0})
        'sid-random-pocket-hubert-synthetic-seed0-efcefb213102.parquet'
    """
    digest = hashlib.sha256(canonical(key).encode()).hexdigest()[:12]
    said = f"{key['task']}-{slug(key['encoder'])}-{key['corpus']}-seed{key['seed']}"
    return f"{said[:LONGEST]}-{digest}.parquet"


def anything_published(
    encoder: str, corpus: str, task: str, seed: int, probe: str | None = None, weights: str | None = None
) -> bool:
    """Whether outcomes of this encoder, corpus, task and seed, by any probe or by this one, are published and answer
    for the corpus here.

    By their list alone, in no time.

    Args:
        weights: the encoder's fingerprint; what is published of the same weights by another name then counts, too.

    Example:
        >>> anything_published("logmel", "planted", "sid", 4), anything_published("logmel", "mine", "sid", 0)
        (True, False)
    """
    keys = (one.key for _, one in _of_encoder(encoder, weights, corpus))
    there = any((key["task"], key["seed"]) == (task, seed) and probe in (None, key["probe"]) for key in keys)
    return there and published_for(corpus) != OTHER


def _of_encoder(encoder: str, weights: str | None, corpus: str) -> Iterator[tuple[Path, Shipped]]:
    """Published entries of an encoder on a corpus, each with its file; then those of the same weights by other names:
    encoders of one shape share their untrained twin."""
    # Files are named alike for names that differ in a sign, and a corpus's name may begin another's.
    own, named = shipped_file(PUBLISHED, encoder, corpus), {"encoder": encoder, "corpus": corpus}
    yield from ((own, one) for one in listed(own) if named.items() <= one.key.items())
    same = {"encoder_fingerprint": weights, "corpus": corpus}
    for path in sorted(PUBLISHED.glob(f"{slug(corpus)}-*.parquet")) if weights else ():
        others = (one for one in listed(path) if one.key["encoder"] != encoder)
        yield from ((path, one) for one in others if same.items() <= one.key.items())


def read_outcomes(key: dict) -> Entry | None:
    """The outcomes of exactly this key, or None: published, where its encoder may have another name, or stored."""
    if _see_published and (entry := _published_of(key)) is not None:
        return entry
    path = store_folder() / entry_name(key)
    entry = _read(path) if path.exists() else None
    return entry if entry is not None and canonical(entry.key) == canonical(key) else None


def _published_of(key: dict, but: Iterable[str] = ()) -> Entry | None:
    """The published outcomes of a key, or of one that differs in these parts or in what its encoder is called; they
    bear the name that was asked for, and their entry's key says by which they are published."""
    for path, one in _of_encoder(key["encoder"], key["encoder_fingerprint"], key["corpus"]):
        known = {name: value for name, value in one.key.items() if name not in but} | {"encoder": key["encoder"]}
        if canonical(known) == canonical(key) and (entry := _of_shipped(path, one)) is not None:
            return dataclasses.replace(entry, outcomes=_typed(entry.outcomes.assign(encoder=key["encoder"])))
    return None


def _of_shipped(path: Path, one: Shipped, rows: bool = True) -> Entry | None:
    """An entry of a published file, with its rows or only what it says of itself; None where it is damaged."""
    found = read_shipped(path, one, rows)
    if found is None:
        return None
    table, about = found
    return Entry(_typed(table), one.key, about)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: kind for name, kind in COLUMNS.items() if name in table})


def read_published(key: dict) -> Entry | None:
    """The published outcomes of a key without the corpora's fingerprints: what a reader without audio needs.

    None if they are of another corpus than the one that lies here under its name.
    """
    if not _see_published or OTHER in map(published_for, [key["corpus"], *key["extra"]]):
        return None
    return _published_of(key, _FINGERPRINTS)


def published_outcomes(
    encoder: str, corpus: str | None = None, task: str | None = None, probe: str | None = None
) -> pd.DataFrame:
    """What is published of one encoder, all seeds together; empty if there is nothing, or nothing that answers for the
    corpora here.

    Args:
        corpus, task, probe: only of this one.

    Example:
        >>> sorted(published_outcomes("logmel", "planted")["task"].unique())
        ['asr', 'sid']
    """
    tables = []
    paths = (
        PUBLISHED.glob(f"*-{slug(encoder)}.parquet") if corpus is None else [shipped_file(PUBLISHED, encoder, corpus)]
    )
    for path in sorted(paths):
        groups: dict[int, list[Shipped]] = {}
        for one in listed(path):
            key = one.key
            asked = key["encoder"] == encoder and task in (None, key["task"]) and probe in (None, key["probe"])
            if asked and OTHER not in map(published_for, [key["corpus"], *key["extra"]]):
                groups.setdefault(one.group, []).append(one)
        for entries in groups.values():
            if (found := read_together(path, entries)) is not None:
                note_used(one.key for one in entries)
                names = {canonical(one.key): entry_name(one.key) for one in entries}
                tables.append(_typed(found[0]).assign(entry=found[1].rename_categories(names)))
    if not tables:
        return _typed(pd.DataFrame(columns=list(COLUMNS)))
    entry = union_categoricals([table.pop("entry") for table in tables])
    return pd.concat(tables, ignore_index=True).assign(entry=entry.remove_unused_categories())


def together(entries: list[Entry]) -> pd.DataFrame:
    """The outcomes of several entries in one table, with a column ``entry`` that names where each row comes from."""
    note_used(entry.key for entry in entries)
    sizes = [len(entry.outcomes) for entry in entries]
    names = pd.Categorical.from_codes(np.repeat(range(len(entries)), sizes), [entry_name(one.key) for one in entries])
    return pd.concat([entry.outcomes for entry in entries], ignore_index=True).assign(entry=names)


def entries_of(outcomes: pd.DataFrame) -> list[Entry]:
    """The entries that outcomes come from, by their column ``entry``, without their tables; what is not found is not
    in the list."""
    names = outcomes["entry"].dropna().unique() if "entry" in outcomes else []
    return [entry for entry in (find_entry(name, rows=False) for name in names) if entry is not None]


def provenance(outcomes: pd.DataFrame) -> dict[str, Any]:
    """What is known of where outcomes come from; empty for a table that no entry of the store is behind.

    Returns:
        ``origin`` (published, stored, or computed: by this process), ``encoder, encoder_fingerprint, corpus,
        corpus_fingerprint`` (None where the table holds several), ``seeds, entries, settings, device, left_out``
        (speakers), ``utterances_left_out`` (how many, and why), ``duration_s``.
    """
    entries = entries_of(outcomes)
    if not entries:
        return {}
    names, abouts = [entry_name(entry.key) for entry in entries], [entry.about for entry in entries]
    origin = "computed" if _made.intersection(names) else "stored"
    if all(is_published(name) and not (name in _made and (store_folder() / name).is_file()) for name in names):
        answers = {published_for(name) for entry in entries for name in [entry.key["corpus"], *entry.key["extra"]]}
        # How the corpora here stand to those that they are of, the least like first.
        origin = ORIGIN[next((answer for answer in (RECODED, ABSENT) if answer in answers), SAME)]

    def the_one(name: str) -> Any:
        values = [entry.key[name] for entry in entries]
        return values[0] if all(value == values[0] for value in values) else None

    same = ("encoder", "encoder_fingerprint", "corpus", "corpus_fingerprint", "settings")
    return {"origin": origin} | {name: the_one(name) for name in same} | {
        "seeds": sorted({entry.key["seed"] for entry in entries}),
        "entries": names,
        "device": abouts[0].get("device"),
        "left_out": sorted({speaker for about in abouts for speaker in about.get("left_out", [])}),
        "utterances_left_out": abouts[0].get("utterances_left_out", {}),
        "duration_s": round(sum(about.get("duration_s", 0) for about in abouts), 1),
    }  # fmt: skip


def used_entries() -> list[str]:
    """Names of all entries whose outcomes this process was given, for the record of a chapter's run."""
    return list(_used)


def used_speech() -> list[dict]:
    """Which speech the outcomes that this process was given are of: ``corpus, corpus_fingerprint`` and their number of
    ``entries``. Two fingerprints of one corpus are two copies of it."""
    counts = Counter(
        speech
        for key in _used.values()
        for speech in zip([key["corpus"], *key["extra"]], [key["corpus_fingerprint"], *key["extra_fingerprints"]])
    )
    return [{"corpus": corpus, "corpus_fingerprint": mark, "entries": n} for (corpus, mark), n in counts.items()]


def note_used(keys: Iterable[dict]) -> None:
    _used.update({entry_name(key): key for key in keys})


def find_entry(name: str, rows: bool = True) -> Entry | None:
    """An entry by its name, among the published ones or in the store (what this process made: in the store); None if it
    is in neither, or damaged."""
    path, shipped = store_folder() / name, _published().get(name)
    if path.is_file() and (name in _made or shipped is None):
        return _read(path, rows)
    return None if shipped is None else _of_shipped(*shipped, rows=rows)


def is_published(name: str) -> bool:
    """Whether an entry is among the published ones, by its name."""
    return name in _published()


def published_names() -> list[str]:
    """Names of all published entries, in alphabetical order; each ends with a digest of its key.

    Example:
        >>> len(published_names()) > 300
        True
    """
    return sorted(_published())


def _published() -> dict[str, tuple[Path, Shipped]]:
    """The published entries by their names."""
    return _by_name(tuple((path, path.stat().st_mtime_ns) for path in sorted(PUBLISHED.glob("*.parquet"))))


@functools.lru_cache(maxsize=1)
def _by_name(files: tuple[tuple[Path, int], ...]) -> dict[str, tuple[Path, Shipped]]:
    return {entry_name(one.key): (path, one) for path, _ in files for one in listed(path)}


def publish_entries(names: Iterable[str]) -> None:
    """Copy entries of the store into the package, in place of any that answered the same question before.

    Two published entries of one encoder, corpus, task, probe and seed would be read as one table.

    Raises:
        FileNotFoundError: an entry is not in the store, or not whole there.
        ValueError: an entry beside which it would stand cannot be read; nothing of that file is then written.
    """
    new: dict[Path, dict[tuple, tuple[dict, dict, pd.DataFrame]]] = {}
    for name in names:
        entry = _read(store_folder() / name)
        if entry is None:
            raise FileNotFoundError(f"The store has no whole entry {name}.")
        path = shipped_file(PUBLISHED, entry.key["encoder"], entry.key["corpus"])
        new.setdefault(path, {})[_question(entry.key)] = (entry.key, entry.about, entry.outcomes)
    for path, mine in new.items():
        there = [_of_shipped(path, one) for one in listed(path) if _question(one.key) not in mine]
        if None in there or (path.exists() and not listed(path)):
            raise ValueError(f"{path} is damaged: restore it, or delete it to publish all of it again.")
        write_shipped(path, [*((entry.key, entry.about, entry.outcomes) for entry in there if entry), *mine.values()])


def _question(key: dict) -> tuple:
    return tuple(key[name] for name in ("task", "probe", "encoder", "corpus", "seed"))


_FINGERPRINTS = ("corpus_fingerprint", "extra_fingerprints")


def write_outcomes(outcomes: pd.DataFrame, key: dict, about: dict) -> Path:
    """Store outcomes under their key; ``about`` (device, duration, versions) is kept with them but is not part of the
    key.

    Raises:
        ValueError: a column is missing, or errors, lengths or identifiers are not what an outcome can be.
    """
    check_outcomes(outcomes)
    path = _write(Entry(outcomes, key, about), store_folder())
    _made.add(path.name)
    return path


def copy_entry(name: str, folder: Path) -> None:
    """Write an entry as a file of its own into a folder; one that is not found is not there afterwards either."""
    entry = find_entry(name)
    if entry is not None:
        _write(entry, folder)


def _write(entry: Entry, folder: Path) -> Path:
    path = folder / entry_name(entry.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pandas(entry.outcomes, preserve_index=False)
    said = canonical({"key": entry.key, **entry.about}).encode()
    table = table.replace_schema_metadata({**table.schema.metadata, b"fairlib": said})
    replace(path, lambda at: pyarrow.parquet.write_table(table, at, compression="zstd", write_page_checksum=True))
    return path


def check_outcomes(outcomes: pd.DataFrame) -> None:
    """Refuse a table that is not outcomes, in one sentence.

    Raises:
        ValueError: names the column or the row.
    """
    missing = [column for column in COLUMNS if column not in outcomes]
    if missing:
        raise ValueError(f"Outcomes need the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}.")
    good = (outcomes["errors"] >= 0) & (outcomes["length"] > 0) & outcomes["speaker_id"].notna()
    bad = outcomes[~good]  # with what is no number
    if len(bad):
        row = bad.iloc[0]
        raise ValueError(
            f"Utterance {row.utterance_id} has {row.errors} errors in {row.length} units by speaker {row.speaker_id}: "
            "errors must be 0 or more, lengths 1 or more, speakers named."
        )


def _read(path: Path, rows: bool = True) -> Entry | None:
    """An entry of the store, or None where it is damaged; without rows, what it says of itself alone."""
    try:
        about = json.loads(pyarrow.parquet.read_schema(path).metadata[b"fairlib"])
        key = about.pop("key")
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True).to_pandas() if rows else None
    except (OSError, pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
        warnings.warn(f"{path} is damaged ({error}) and will be computed again.", stacklevel=3)
        return None
    return Entry(pd.DataFrame() if table is None else table, key, about)
