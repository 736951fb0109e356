"""A corpus of one's own: one CSV beside its audio, a Kaldi data folder, or a dataset that ``save_to_disk`` wrote.

Each row is an utterance. The columns ``path`` (of the audio file, as seen from the CSV's folder) and ``speaker_id`` are
needed; ``text``, ``language`` (a code such as ``fr``; English without it), ``utterance_id`` and ``split`` may be there;
``start`` and ``end`` (seconds) make it a part of a long recording;
every other column describes the speakers, who can be compared by it (see `fairlib.corpora.labels` for how it is
checked). A dataset may have a column of type Audio in place of ``path``. It is read with pyarrow alone, so that the
package `datasets` is not needed, and audio that it holds is written to the cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import pandas as pd

from fairlib.corpora.corpus import SPEAKER_COLUMNS
from fairlib.corpora.handed_over import names_of
from fairlib.corpora.kaldi import is_kaldi, read_kaldi
from fairlib.corpora.labels import as_text, not_recorded, read_ages, settle, tidy
from fairlib.corpora.segments import cut_segments
from fairlib.corpora.splits import in_both_halves
from fairlib.corpora.table import (
    RESERVED_COLUMNS,
    UTTERANCE_COLUMNS,
    AudioFinder,
    CorpusError,
    CorpusWarning,
    Problems,
    finish_table,
)
from fairlib.files import cache_folder, replace

NEEDED = ("path", "speaker_id")
_OF_UTTERANCES = (*NEEDED, "text", "language", "utterance_id", "split")
_TIMES = ("start", "end")  # of an utterance in a long recording, in seconds: both, or they describe speakers
_MADE_HERE = ("corpus", "duration_s", "")  # what saving a corpus table adds; the audio tells it anyway

# The columns whose meaning is known are known in any capitals.
_KNOWN = {name.casefold(): name for name in (*UTTERANCE_COLUMNS, "language", *SPEAKER_COLUMNS)}


class Row(NamedTuple):
    """One utterance of a list: where it stands, its values, and what a dataset calls its audio."""

    where: str
    values: dict[str, str | None]
    name: str = ""


def is_own(corpus: str) -> bool:
    """Whether a corpus is named by where it lies: a CSV file or a folder.

    Example:
        >>> is_own("speech/list.csv"), is_own("speechocean762")
        (True, False)
    """
    return corpus.lower().endswith(".csv") or Path(corpus).expanduser().is_dir()


def own_name(corpus: str | Path) -> str:
    """What a corpus of one's own is called in outcomes: ``own-`` keeps it apart from the corpora that are known here.

    Example:
        >>> own_name("speech/Our voices.csv")
        'own-Our-voices'
    """
    path = Path(corpus)
    name = path.stem if path.suffix.lower() == ".csv" else path.name
    return "own-" + (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "corpus")


def own_groups(corpus: str | Path) -> dict[str, list[str]]:
    """The columns that speakers can be compared by, each with its groups; reads no audio.

    Raises:
        CorpusError: the list cannot be read, or no column divides the speakers.
    """
    path = _place(corpus)
    table = _settled(path)
    groups = {
        column: None if pd.api.types.is_numeric_dtype(table[column]) else sorted(table[column].dropna().unique())
        for column in table.columns
        if column not in ("speaker_id", "age")
    }
    divided = {column: values for column, values in groups.items() if values is not None and len(values) > 1}
    if not divided:
        whole = [
            f"{column} holds numbers" if values is None else f"{column} is {' or '.join(values) or 'empty'} throughout"
            for column, values in groups.items()
        ]
        alike = f" ({'; '.join(whole)})" if whole else ""
        raise CorpusError(
            f"{path} has no column that divides its speakers into groups{alike}: add "
            "one, such as sex or region, with the same value in every row of a speaker."
        )
    return divided


def own_numbers(corpus: str | Path) -> list[str]:
    """The columns that hold a number of each speaker, such as age, of which bands can be compared; reads no audio."""
    table = _settled(_place(corpus))
    numbers = [column for column in table.columns if pd.api.types.is_numeric_dtype(table[column])]
    return [column for column in numbers if column != "speaker_id" and table[column].nunique() > 1]


def why_no_groups(corpus: str, column: str) -> str:
    """Why a column that a corpus has is none to compare speakers by, and what to do; empty where it lacks the column.

    Example:
        >>> why_no_groups("speechocean762", "age")
        'age is a number of years, no group: compare by age_group, or add a column with bands of your own'
    """
    if column == "age":
        return "age is a number of years, no group: compare by age_group, or add a column with bands of your own"
    if not is_own(corpus):
        return ""
    listed, columns = _described(_place(corpus), _read(_place(corpus), audio=False))
    if column not in columns:
        return ""
    table = _settled(_place(corpus))
    if column not in table:
        return f"{column} differs within a speaker, so it describes utterances"
    if pd.api.types.is_numeric_dtype(table[column]):
        return f"{column} holds numbers, no groups: add a column with bands of them"
    return f"{column} has one value, or none, for all speakers"


def _settled(path: Path) -> pd.DataFrame:
    """Speakers and what the list says of them, checked as `load` does; reads no audio."""
    listed, columns = _described(path, _read(path, audio=False))
    table = pd.DataFrame([{column: row.values[column] for column in ("speaker_id", *columns)} for row in listed])
    table = table[table["speaker_id"].notna()]
    return settle(table.assign(speaker_id=table["speaker_id"].map(tidy)), columns)[0]


def load(root: str | Path | None = None, on_error: str = "raise") -> pd.DataFrame:
    """The corpus table with columns of one's own.

    An utterance without an id is called by its path (`fairlib.corpora.handed_over.names_of`). A path is found whichever
    way it was written: with a Mac's or another form of Unicode, with backslashes, as part of an address (``%20``).
    Audio files of several sampling rates are told: they are resampled when they are read.

    Args:
        root: the CSV file, or the folder that `datasets` saved; it must be given.
        on_error: "raise" stops at the first utterance that cannot be used; "skip" leaves such utterances out, warns,
            and lists them in ``corpus.attrs["skipped"]``.

    Raises:
        CorpusError: a file or column is missing, an encoding cannot be read, an id or file comes twice, an age is no
            number, or a speaker stands in both train and test.

    Example:
        >>> load("voices.csv")["region"].value_counts()  # doctest: +SKIP
    """
    path = _place(root)
    problems, rows = Problems(on_error), []
    seen: dict[str, str] = {}
    listed, columns = _described(path, _read(path), say=True)
    ages = read_ages([row.values.get("age") for row in listed])
    language = [name for name in ("language",) if name in listed[0].values]
    found = _found(path if path.is_dir() and is_kaldi(path) else path.parent, listed, problems)
    names = names_of(
        [row.name or written for row, _, written in found], [row.where if row.name else file for row, file, _ in found]
    )
    for (listed_as, file, _), name in zip(found, names, strict=True):
        where, values, of_dataset = listed_as
        with problems.per_utterance():
            times = _times(where, values)
            name = values.get("utterance_id") or name + "".join(f"-{round(100 * time):06d}" for time in times.values())
            sound = where if of_dataset else " ".join([file, *(f"{time:g}" for time in times.values())])
            for what, each in (("utterance", name), ("audio file", sound)):
                if (first := seen.setdefault(f"{what} {each}", where)) != where:
                    raise CorpusError(f"{where} lists {what} {each!r} a second time, after {first}: keep one of them.")
            row: dict = {"utterance_id": name, "path": file, "speaker_id": values["speaker_id"], **times}
            row |= {column: values.get(column) for column in ("text", "split", *columns, *language)}
            row |= {"language": values["language"]} if "language" in values else {}
            try:
                rows.append(row | ({"age": ages(row["age"], where)} if ages and "age" in columns else {}))
            except ValueError as error:
                raise CorpusError(str(error)) from None
    known = tuple(column for column in columns if column in SPEAKER_COLUMNS)
    table = finish_table(cut_segments(rows, problems), own_name(path), known, problems)
    _check_halves(table, path)
    rates = table.attrs["sample_rates"]
    if len(rates) > 1:
        told = ", ".join(f"{count:,} at {rate:,} Hz" for rate, count in rates.items())
        warnings.warn(
            f"{path}: the audio files have several sampling rates ({told}); all are resampled to 16,000 Hz, but what a "
            "lower rate has cut off does not come back.",
            CorpusWarning,
            stacklevel=3,
        )
    return table


def _times(where: str, values: dict[str, str | None]) -> dict[str, float]:
    """Where in its recording an utterance starts and ends, if the list says so."""
    if not set(_TIMES) <= set(values):
        return {}
    try:
        return {name: float(values[name] or "") for name in _TIMES}
    except ValueError:
        raise CorpusError(
            f"{where}: start {values['start']!r} and end {values['end']!r} must be seconds in its recording."
        ) from None


def _found(folder: Path, listed: list[Row], problems: Problems) -> list[tuple[Row, str, str]]:
    """Each row with its audio file, and the file's name as the list has it (the spelling that was right)."""
    found, audio = [], AudioFinder()
    for row in listed:
        with problems.per_utterance():
            for name in NEEDED:
                if not row.values[name]:
                    raise CorpusError(f"{row.where} has no {name}: fill it in or remove that row.")
            found.append((row, *_find(folder, str(row.values["path"]), row.where, audio)))
    return found


def _find(folder: Path, path: str, where: str, audio: AudioFinder) -> tuple[str, str]:
    written = path.removeprefix("file://")
    slashes = written.replace("\\", "/")
    spellings = dict.fromkeys([written, slashes, urllib.parse.unquote(written), urllib.parse.unquote(slashes)])
    for spelling in spellings:
        file = folder / Path(spelling).expanduser()
        if file.is_file():
            return str(file.absolute()), spelling
    advice = "correct the list, or put the file there"
    if PureWindowsPath(path).drive:
        advice = f"a path of another machine; give it as seen from {folder}"
    complaints = []
    for spelling in spellings:
        try:
            return audio.find(folder / Path(spelling).expanduser(), where, advice), spelling
        except CorpusError as error:
            complaints.append(error)
    raise complaints[0]


def _place(root: str | Path | None) -> Path:
    if root is None:
        raise CorpusError("A corpus of your own has no usual place: pass the CSV file or the folder as root=.")
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise CorpusError(f"{path} is not there: give the CSV file, or the folder that save_to_disk wrote.")
    return path


def _read(path: Path, audio: bool = True) -> list[Row]:
    if path.is_dir() and is_kaldi(path):
        rows = [Row(*row) for row in read_kaldi(path)]
    else:
        rows = _read_dataset(path, audio) if path.is_dir() else _read_csv(path)
    if not rows:
        raise CorpusError(f"{path} lists no utterance.")
    return rows


def _read_csv(path: Path) -> list[Row]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path} line {line} is not UTF-8 text: save the file as UTF-8 (in a spreadsheet: CSV UTF-8)."
        ) from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = [_column(name) for name in next(lines, [])]
        _check_columns(path, header)
        for fields in lines:
            if not any(field.strip() for field in fields):
                continue
            where = f"{path} line {lines.line_num}"
            if len(fields) != len(header):
                raise CorpusError(
                    f"{where} has {len(fields)} fields where the first line has {len(header)}: correct it (a field "
                    'that holds a comma stands in quotation marks, "so, like this").'
                )
            values = {name: field.strip() or None for name, field in zip(header, fields, strict=True)}
            rows.append(Row(where, {name: value for name, value in values.items() if name not in _MADE_HERE}))
    except csv.Error as error:
        raise CorpusError(f"{path} line {lines.line_num} is no CSV ({error}): correct it.") from None
    return rows


def _column(name: str) -> str:
    return _KNOWN.get(tidy(name).casefold(), name.strip())


def _check_columns(path: Path, header: list[str]) -> None:
    """Refuse a list that lacks a column, names one twice, or gives one the name of something else."""
    missing = [name for name in NEEDED if name not in header]
    if missing:
        other = next((mark for mark in ";\t" if len(header) == 1 and mark in header[0]), None)
        hint = f": its columns are separated by {other!r}, save it with commas" if other else ""
        raise CorpusError(
            f"{path} has no column {missing[0]!r}; its columns are {', '.join(map(repr, header)) or 'none'}"
            f"{hint or ': add or rename one'}."
        )
    for name in header:
        if name and header.count(name) > 1:
            raise CorpusError(f"{path} has two columns {name!r}: rename or remove one.")
        if name in RESERVED_COLUMNS and name not in (*_OF_UTTERANCES, *_MADE_HERE):
            raise CorpusError(f"{path} has a column {name!r}, a name that outcomes use themselves: rename it.")


def _read_dataset(folder: Path, audio: bool) -> list[Row]:
    if (folder / "dataset_dict.json").is_file():
        parts = {name: folder / name for name in _json(folder / "dataset_dict.json")["splits"]}
    elif (folder / "state.json").is_file():
        parts = {None: folder}
    else:
        raise CorpusError(
            f"{folder} holds no dataset (state.json or dataset_dict.json): give a folder that save_to_disk of the "
            "package datasets wrote (what load_dataset reads, Parquet files too, can be saved so), or a CSV file."
        )
    return [row for split, part in parts.items() for row in _read_part(part, split, audio)]


def _read_part(folder: Path, split: str | None, audio: bool) -> Iterator[Row]:
    import pyarrow

    state, features = _json(folder / "state.json"), _json(folder / "dataset_info.json")["features"]
    if state.get("_indices_files"):
        raise CorpusError(f"{folder} was saved as a selection of other rows: call flatten_indices() and save it again.")
    sound = next((name for name, kind in features.items() if kind.get("_type") == "Audio"), None)
    # What is no single value (lists, pictures) cannot describe a speaker.
    plain = [name for name, kind in features.items() if kind.get("_type") in ("Value", "ClassLabel") and name != sound]
    _check_columns(folder, [name for name in plain if name != "path" or not sound] + (["path"] if sound else []))
    number = 0
    for entry in state["_data_files"]:
        file = folder / entry["filename"]
        try:
            with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as batches:
                for batch in batches:
                    sounds = batch.column(sound) if sound and audio else None
                    for place, values in enumerate(batch.select(plain).to_pylist()):
                        where, number = f"{folder} row {number}", number + 1
                        values = {name: _text(value, features[name]) for name, value in values.items()}
                        called = ""
                        if sounds is not None:
                            sample = sounds[place].as_py() or {}
                            called = sample.get("path") or f"{split or 'row'}-{number - 1:06d}.wav"
                            values["path"] = _sound_file(sample, Path(called))
                        values = {"split": split} | values
                        yield Row(where, {name: of for name, of in values.items() if name not in _MADE_HERE}, called)
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{file} cannot be read ({reason}): save the dataset again.") from None


def _text(value, feature: dict) -> str | None:
    """A value as the CSV would hold it; labels that are stored as numbers by their names."""
    if value is None or value != value or value == -1 and feature["_type"] == "ClassLabel":
        return None
    if feature["_type"] == "ClassLabel":
        return feature["names"][value]
    return (as_text(value) or "").strip() or None


def _sound_file(sample: dict, name: Path) -> str | None:
    """Where an utterance of a dataset lies as a file: its own, or one in the cache, named after its content."""
    if not sample.get("bytes"):
        return sample.get("path")
    digest = hashlib.sha256(sample["bytes"]).hexdigest()[:32]
    file = cache_folder() / "own-audio" / digest[:2] / f"{digest}{name.suffix.lower() or '.wav'}"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, lambda temporary: temporary.write_bytes(sample["bytes"]))
    return str(file)


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}): save the dataset again.") from None


def _described(path: Path, listed: list[Row], say: bool = False) -> tuple[list[Row], list[str]]:
    """The rows, and the columns that are to describe the speakers; ages in words are bands."""
    times = _TIMES if set(_TIMES) <= set(listed[0].values) else ()
    columns = [name for name in listed[0].values if name not in (*_OF_UTTERANCES, *times)]
    if "age" not in columns:
        return listed, columns
    if read_ages([row.values["age"] for row in listed]) is not None:
        unknown = [row.values for row in listed if row.values["age"] and not_recorded(row.values["age"])]
        if unknown and say:
            words = ", ".join(f"“{word}”" for word in sorted({str(values["age"]) for values in unknown}))
            who = len({values["speaker_id"] for values in unknown})
            told = f"{path}: Taken as not recorded: age {words} ({who} speaker{'s' * (who > 1)})."
            warnings.warn(told, CorpusWarning, stacklevel=4)
        return listed, columns
    columns.remove("age")
    done = "left out, for there is a column age_group" if "age_group" in columns else "read as age_group"
    if say:
        warnings.warn(f"{path}: the column age holds words or bands; it is {done}.", CorpusWarning, stacklevel=4)
    if "age_group" in columns:
        return listed, columns
    for row in listed:
        row.values["age_group"] = row.values.pop("age")
    return listed, [*columns, "age_group"]


def _check_halves(table: pd.DataFrame, path: Path) -> None:
    both = in_both_halves(table)
    if both:
        raise CorpusError(
            f"{path}: {len(both)} speakers stand in both train and test, {both[0]} first: no speaker may be in both; "
            "without the column split a quarter of the speakers is drawn for testing."
        )
