"""A corpus table that somebody made: completed and checked, so that it is as good as one that was loaded."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from fairlib.corpora.audio import AudioError
from fairlib.corpora.labels import as_text, read_ages
from fairlib.corpora.table import UTTERANCE_COLUMNS, CorpusError, checked, headers, stem

_SEVERAL = (list, tuple, set, dict, bytes, np.ndarray)


def as_corpus(table: pd.DataFrame, audio: bool = True) -> pd.DataFrame:
    """A table that somebody made, as a loader would have made it: what can be derived is filled in, labels are checked.

    Needed are path and speaker_id. An utterance without an id is called by its file, or by its row where files are
    called alike; durations come from the audio files' headers; text and split may be missing. Without ``audio``, as
    features of one's own need none, utterance_id may stand in the place of path.

    Raises:
        CorpusError: a column, a path or a speaker is missing, an id comes twice, an audio file cannot be read, or an
            age is no number.

    Example:
        >>> as_corpus(pd.DataFrame({"path": ["a.wav"]}))
        Traceback (most recent call last):
        ...
        fairlib.corpora.table.CorpusError: A corpus table needs the columns path and speaker_id; this one lacks \
        speaker_id: it has path.
    """
    named = ("path", "speaker_id") if audio or "path" in table else ("utterance_id", "speaker_id")
    lacking = [column for column in named if column not in table]
    if lacking:
        there = ", ".join(map(str, table.columns)) or "no column"
        raise CorpusError(
            f"A corpus table needs the columns {' and '.join(named)}; this one lacks {' and '.join(lacking)}: it has "
            f"{there}."
        )
    if table.empty:
        raise CorpusError("The corpus table lists no utterance.")
    table = _single_values(table.reset_index(drop=True).rename(columns=str))
    columns = {column: table[column].astype(object).map(as_text) for column in named}
    for column, values in columns.items():
        if values.isna().any():
            row = values.isna().idxmax()
            raise CorpusError(f"Row {row} of the corpus table has no {column}: fill it in or leave that row out.")
    if "path" in columns:
        columns["path"] = columns["path"].map(lambda path: str(Path(path).expanduser().absolute()))
    if "utterance_id" in table:
        columns["utterance_id"] = table["utterance_id"].astype(object).map(as_text)
    else:
        columns["utterance_id"] = pd.Series(names_of(columns["path"].tolist(), columns["path"].tolist()))
    twice = columns["utterance_id"][columns["utterance_id"].duplicated() | columns["utterance_id"].isna()]
    if len(twice):
        raise CorpusError(
            f"Utterance {twice.iloc[0]!r} of the corpus table comes twice, again in row {twice.index[0]}: keep one row."
        )
    for column, usual in (("corpus", "own-table"), ("text", None), ("split", None)):
        columns[column] = table[column] if column in table else pd.Series([usual] * len(table), dtype="str")
    table = table.assign(**{name: values.astype("str") for name, values in columns.items()})
    if "age" in table:
        table = _with_ages(table)
    table["duration_s"] = _durations(table)
    first = [column for column in UTTERANCE_COLUMNS if column in table]
    return checked(table[[*first, *(column for column in table.columns if column not in first)]])


def _single_values(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that hold one value in each row: an array, a dictionary or bytes cannot describe a speaker."""
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise CorpusError(f"The corpus table has two columns {twice[0]!r}: rename or remove one.")
    several = [
        column
        for column in table
        if table[column].dtype == object and table[column].map(lambda value: isinstance(value, _SEVERAL)).any()
    ]
    return table.drop(columns=several)


def _with_ages(table: pd.DataFrame) -> pd.DataFrame:
    ages = table["age"].astype(object).map(as_text)
    read = read_ages(ages)
    if read is None:
        return table.drop(columns="age").assign(age_group=table.get("age_group", ages))
    try:
        return table.assign(age=[read(age, f"row {row}") for row, age in ages.items()])
    except ValueError as error:
        raise CorpusError(str(error)) from None


def _durations(table: pd.DataFrame) -> pd.Series:
    if "duration_s" in table and table["duration_s"].notna().all():
        return table["duration_s"].astype("float64")
    if "path" not in table:
        return pd.Series(float("nan"), index=table.index)
    durations = []
    for header in headers(table[["path"]].to_dict("records")):
        if isinstance(header, AudioError):
            raise CorpusError(str(header))
        durations.append(header[0])
    return pd.Series(durations, dtype="float64")


def names_of(written: list[str], files: list[str]) -> list[str]:
    """A name for each utterance whose list gives none: as short as its file is written, unless two would share it.

    It is the path without its extension (of an absolute path the file's name), or else the part below the folder that
    all have in common, or else with the extension, or else the row.

    Args:
        written: the path of each utterance as the list has it.
        files: which file it is; those that come twice share their name.

    Example:
        >>> names_of(["/data/anna/1.wav", "/data/ben/1.wav"], ["a", "b"])
        ['anna/1', 'ben/1']
        >>> names_of(["1.wav", "1.wav"], ["row 0", "row 1"])
        ['row-000000', 'row-000001']
    """
    paths = [PurePath(path) for path in written]
    together = os.path.commonpath([path.parent for path in paths]) if len({p.is_absolute() for p in paths}) == 1 else ""
    below = [path.relative_to(together) if together else path for path in paths]
    ways = (
        [stem(path.name) if path.is_absolute() else _without_extension(path) for path in paths],
        [_without_extension(path) for path in below],
        [path.as_posix() for path in below],
    )
    different = len(set(files))
    for names in ways:
        if len(set(names)) == different == len(set(zip(names, files))):
            return names
    return [f"row-{row:06d}" for row in range(len(paths))]


def _without_extension(path: PurePath) -> str:
    return (path.parent / stem(path.name)).as_posix()
