"""The published outcomes' files: one for each corpus and encoder.

A file's rows are those of its entries. The column ``key`` holds the whole key of a row's entry, as JSON, and ``about``
what else is known of it. All seeds of one probe stand in one row group, so that they share what repeats in them (a
third of the bytes) and are read without the rest. The file's metadata lists the entries: key and row group.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from fairlib.base.files import replace

LONGEST = 218  # characters of a file's name, where it may have 255 with its digest and while it is being written
_DICTIONARY = 2**24  # bytes; names of many recordings need more than the default, and are written out without one
_DAMAGE = (OSError, pyarrow.ArrowException, KeyError, TypeError, ValueError, IndexError)


class Shipped(NamedTuple):
    """One entry: its key, and the row group that its rows stand in."""

    key: dict
    group: int


def shipped_file(folder: Path, encoder: str, corpus: str) -> Path:
    """Where the entries of an encoder and a corpus stand.

    Example:
        >>> shipped_file(Path("outcomes"), "random:pocket-hubert", "librispeech").name
        'librispeech-random-pocket-hubert.parquet'
    """
    return folder / f"{f'{slug(corpus)}-{slug(encoder)}'[:LONGEST]}.parquet"


def slug(name: str) -> str:
    """A name, of an encoder say, as part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def listed(path: Path) -> list[Shipped]:
    """A file's entries; none where there is no such file, or a damaged one, which is said."""
    try:
        return _listed(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return []
    except _DAMAGE as error:
        warnings.warn(f"{path} is damaged ({error}): nothing in it is read.", stacklevel=2)
        return []


@functools.lru_cache(maxsize=256)
def _listed(path: Path, _changed: int) -> list[Shipped]:
    entries = json.loads(pyarrow.parquet.read_schema(path).metadata[b"fairlib"])
    return [Shipped(one["key"], one["group"]) for one in entries]


def read_shipped(path: Path, entry: Shipped, rows: bool = True) -> tuple[pd.DataFrame, dict] | None:
    """One entry's rows, or an empty table without them, and what else is known of it; None where it is damaged, which
    is said."""
    try:
        table = _group(path, path.stat().st_mtime_ns, entry.group, rows)
        mine = table[table["key"] == canonical(entry.key)]
        about = json.loads(mine["about"].iloc[0])
        return mine.drop(columns=["key", "about"]).reset_index(drop=True), about
    except _DAMAGE as error:
        warnings.warn(f"{path} is damaged ({error}) and will be computed again.", stacklevel=2)
        return None


def read_together(path: Path, entries: list[Shipped]) -> tuple[pd.DataFrame, pd.Categorical] | None:
    """The rows of several entries of one row group, and each row's key as text; None where they are damaged, which is
    said."""
    try:
        table = _group(path, path.stat().st_mtime_ns, entries[0].group, True)
        mine = table[table["key"].isin([canonical(one.key) for one in entries])]
        return mine.drop(columns=["key", "about"]).reset_index(drop=True), mine["key"].array
    except _DAMAGE as error:
        warnings.warn(f"{path} is damaged ({error}) and will be computed again.", stacklevel=2)
        return None


@functools.lru_cache(maxsize=4)  # the seeds of a probe are asked for one after the other
def _group(path: Path, _changed: int, group: int, rows: bool) -> pd.DataFrame:
    # As categories: what is known of an entry can be long, and must not be copied into each of its rows.
    with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True, read_dictionary=["key", "about"]) as file:
        return file.read_row_group(group, None if rows else ["key", "about"]).to_pandas()


def write_shipped(path: Path, entries: Iterable[tuple[dict, dict, pd.DataFrame]]) -> None:
    """Write a file's entries: of each its key, what else is known of it, and its rows."""
    probes: dict[tuple, list] = {}
    for entry in sorted(entries, key=lambda entry: (entry[0]["task"], entry[0]["probe"], entry[0]["seed"])):
        probes.setdefault((entry[0]["task"], entry[0]["probe"]), []).append(entry)
    said = [{"key": key, "group": group} for group, mine in enumerate(probes.values()) for key, _, _ in mine]
    tables = [
        pyarrow.Table.from_pandas(
            pd.concat([rows for _, _, rows in mine], ignore_index=True).assign(
                key=_repeated([canonical(key) for key, _, _ in mine], [len(rows) for _, _, rows in mine]),
                about=_repeated([canonical(about) for _, about, _ in mine], [len(rows) for _, _, rows in mine]),
            ),
            preserve_index=False,
        )
        for mine in probes.values()
    ]
    schema = pyarrow.unify_schemas([table.schema.remove_metadata() for table in tables], promote_options="permissive")
    schema = schema.with_metadata({b"fairlib": json.dumps(said, sort_keys=True, separators=(",", ":")).encode()})

    def write(at: Path) -> None:
        with pyarrow.parquet.ParquetWriter(
            at,
            schema,
            compression="zstd",
            compression_level=12,
            write_page_checksum=True,
            dictionary_pagesize_limit=_DICTIONARY,
        ) as writer:
            for table in tables:
                filled = [
                    table[name].cast(kind) if name in table.column_names else pyarrow.nulls(len(table), kind)
                    for name, kind in zip(schema.names, schema.types)
                ]
                writer.write_table(pyarrow.Table.from_arrays(filled, schema=schema), row_group_size=len(table))

    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, write)


def _repeated(values: list[str], times: list[int]) -> pd.Categorical:
    categories = list(dict.fromkeys(values))
    return pd.Categorical.from_codes(np.repeat([categories.index(value) for value in values], times), categories)


def canonical(value: dict) -> str:
    """A key as the text that two equal keys share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
