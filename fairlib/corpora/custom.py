"""A corpus of one's own, in whichever of the field's formats it lies there: `_read` says which there are.

Each row is an utterance. The columns ``path`` (of the audio file, as seen from the list's folder) and ``speaker_id``
are needed; ``text``, ``language`` (a code such as ``fr``; English without it), ``utterance_id`` and ``split`` may be
there; ``start`` and ``end`` (seconds) make it a part of a long recording; every other column describes the speakers,
who can be compared by it (see `fairlib.corpora.labels` for how it is checked). A Parquet file or a saved dataset may
have a column of type Audio in place of ``path``.
"""

from __future__ import annotations

import math
import os
import re
import urllib.parse
import warnings
from pathlib import Path, PureWindowsPath

import pandas as pd

from fairlib.base.files import is_there
from fairlib.corpora.audio_folder import read_audio_folder
from fairlib.corpora.corpus import SPEAKER_COLUMNS
from fairlib.corpora.handed_over import names_of
from fairlib.corpora.hub import hub_folder, is_on_hub, pinned
from fairlib.corpora.kaldi import is_kaldi, read_kaldi
from fairlib.corpora.labels import not_recorded, read_ages, settle, tidy
from fairlib.corpora.lhotse import lhotse_files, read_lhotse
from fairlib.corpora.lists import (
    ENDINGS,
    NEEDED,
    OF_UTTERANCES,
    Row,
    ending_of,
    is_saved_dataset,
    parquet_shards,
    read_dataset,
    read_list,
    read_shards,
)
from fairlib.corpora.segments import cut_segments
from fairlib.corpora.splits import in_both_halves
from fairlib.corpora.table import AudioFinder, CorpusError, CorpusWarning, Problems, finish_table

_TIMES = ("start", "end")  # of an utterance in a long recording, in seconds: both, or they describe speakers


def is_own(corpus: str) -> bool:
    """Whether a corpus is named by where it lies: a list in a file, a folder, or a dataset on the hub.

    Example:
        >>> is_own("speech/list.csv"), is_own("train_cuts.jsonl.gz"), is_own("hf:lab/voices"), is_own("speechocean762")
        (True, True, True, False)
    """
    return is_on_hub(corpus) or bool(ending_of(corpus)) or is_there(corpus)


def own_name(corpus: str | Path) -> str:
    """What a corpus of one's own is called in outcomes: ``own-`` keeps it apart from the corpora that are known here.

    A dataset on the hub has the first characters of its commit in its name.

    Example:
        >>> own_name("speech/Our voices.csv")
        'own-Our-voices'
    """
    path = Path(corpus)
    name = path.name[: len(path.name) - len(ending_of(path))]
    if is_on_hub(corpus):
        place, _, commit = pinned(str(corpus)).removeprefix("hf:").partition("@")
        name = f"{place}-{commit[:12]}"
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
            f"one, such as sex or region, with the same value in every row of a speaker{_in_speakers_csv(path)}."
        )
    return divided


def _in_speakers_csv(path: Path) -> str:
    return " (in a folder of audio: in speakers.csv)" if path.is_dir() else ""


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
    """The corpus table with columns of one's own, from a list (CSV, TSV, JSON lines, Parquet), lhotse's manifests or
    cuts, a Kaldi data folder, a dataset that ``save_to_disk`` wrote, or a folder of audio by speaker.

    An utterance without an id is called by its path (`fairlib.corpora.handed_over.names_of`). A path is found whichever
    way it was written: with a Mac's or another form of Unicode, with backslashes, as part of an address (``%20``).
    Audio files of several sampling rates are told: they are resampled when they are read.

    Args:
        root: the list or the folder, or ``hf:owner/name`` of a dataset on the hub (see `fairlib.corpora.hub`), whose
            commit is then in ``corpus.attrs["revision"]``; it must be given.
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
    found = _found(path.parent if path.is_file() or is_saved_dataset(path) else path, listed, problems)
    names = names_of(
        [row.name or written for row, _, written in found], [row.where if row.name else file for row, file, _ in found]
    )
    channels: dict[str, int] = {}
    for (listed_as, file, _), name in zip(found, names, strict=True):
        where, values = listed_as.where, listed_as.values
        with problems.per_utterance():
            times = _times(where, values)
            name = values.get("utterance_id") or name + "".join(f"-{round(100 * time):06d}" for time in times.values())
            part = [*times.values(), *([] if listed_as.channel is None else [listed_as.channel])]
            sound = where if listed_as.name else " ".join([os.path.normpath(file), *(f"{at:g}" for at in part)])
            for what, each in (("utterance", name), ("audio file", sound)):
                if (first := seen.setdefault(f"{what} {each}", where)) != where:
                    raise CorpusError(f"{where} lists {what} {each!r} a second time, after {first}: keep one of them.")
            if listed_as.channel is not None:
                channels[name] = listed_as.channel
            row: dict = {"utterance_id": name, "path": file, "speaker_id": values["speaker_id"], **times}
            row |= {column: values.get(column) for column in ("text", "split", *columns, *language)}
            row |= {"language": values["language"]} if "language" in values else {}
            row |= {} if listed_as.lasts is None else {"lasts": listed_as.lasts}
            try:
                rows.append(row | ({"age": ages(row["age"], where)} if ages and "age" in columns else {}))
            except ValueError as error:
                raise CorpusError(str(error)) from None
    known = tuple(column for column in columns if column in SPEAKER_COLUMNS)
    table = finish_table(cut_segments(rows, problems, channels), own_name(root or path), known, problems)
    if is_on_hub(root or ""):
        table.attrs["revision"] = pinned(str(root))
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
        times = {name: float(values[name] or "") for name in _TIMES}
    except ValueError:
        times = {}
    if not times or not all(map(math.isfinite, times.values())):  # float reads inf and nan, too
        raise CorpusError(
            f"{where}: start {values['start']!r} and end {values['end']!r} must be seconds in its recording."
        )
    return times


def _found(folder: Path, listed: list[Row], problems: Problems) -> list[tuple[Row, str, str]]:
    """Each row with its audio file, and the file's name as the list has it (the spelling that was right)."""
    found, audio = [], AudioFinder()
    for row in listed:
        with problems.per_utterance():
            if row.wrong:
                raise CorpusError(row.wrong)
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
        if os.path.isfile(file):  # unlike Path's, it takes any text: a column of sentences in the wrong place, say
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
        raise CorpusError("A corpus of your own has no usual place: pass its file or folder as root=.")
    if is_on_hub(root):
        return hub_folder(str(root))
    path = Path(os.path.expanduser(root)).absolute()
    if not is_there(path):
        raise CorpusError(f"{path} is not there: give a list ({', '.join(ENDINGS)}) or a folder of your own.")
    return path


def _read(path: Path, audio: bool = True) -> list[Row]:
    """The rows of a corpus, in whichever format it is; with its audio, what was left out is said."""
    if path.is_dir() and is_kaldi(path):
        rows = [Row(*row) for row in read_kaldi(path)]
    elif lhotse_files(path):
        rows = read_lhotse(path, say=audio)
    elif path.is_dir() and is_saved_dataset(path):
        rows = read_dataset(path, audio)
    elif path.is_dir():
        shards = parquet_shards(path)
        rows = read_shards(shards, audio) if shards else read_audio_folder(path, say=audio)
    else:
        rows = read_list(path, audio=audio)
    if not rows:
        raise CorpusError(f"{path} lists no utterance.")
    return rows


def _described(path: Path, listed: list[Row], say: bool = False) -> tuple[list[Row], list[str]]:
    """The rows, and the columns that are to describe the speakers; ages in words are bands."""
    times = _TIMES if set(_TIMES) <= set(listed[0].values) else ()
    columns = [name for name in listed[0].values if name not in (*OF_UTTERANCES, *times)]
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
