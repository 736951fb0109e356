"""A corpus of one's own: one CSV beside its audio, or a Hugging Face dataset that ``save_to_disk`` wrote.

Each row is an utterance. The columns ``path`` (of the audio file, as seen from the CSV's folder) and ``speaker_id`` are
needed; ``text``, ``utterance_id`` and ``split`` may be there; every other column describes the speakers, who can be
compared by it. A dataset may have a column of type Audio in place of ``path``. It is read with pyarrow alone, so that
the package `datasets` is not needed, and audio that it holds is written to the cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fairlib.corpora.table import (
    RESERVED_COLUMNS,
    SPEAKER_COLUMNS,
    AudioFinder,
    CorpusError,
    Problems,
    finish_table,
    stem,
)
from fairlib.folders import cache_folder, replace

NEEDED = ("path", "speaker_id")
_OF_UTTERANCES = (*NEEDED, "text", "utterance_id", "split")
_MADE_HERE = ("corpus", "duration_s", "")  # what saving a corpus table adds; the audio tells it anyway

Row = tuple[str, dict[str, str | None]]  # where it stands, and its values


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
        CorpusError: as `load`, or no column divides the speakers.
    """
    path = _place(corpus)
    of_speakers = _speaker_columns(_read(path, audio=False))
    groups = {column: sorted(set(values.values())) for column, values in of_speakers.items() if column != "age"}
    divided = {column: values for column, values in groups.items() if len(values) > 1}
    if not divided:
        alike = [f"{column} is {' or '.join(values) or 'empty'} throughout" for column, values in groups.items()]
        alike = f" ({'; '.join(alike)})" if alike else ""
        raise CorpusError(
            f"{path} has no column that divides its speakers into groups{alike}: add "
            "one, such as sex or region, with the same value in every row of a speaker."
        )
    return divided


def load(root: str | Path | None = None, on_error: str = "raise") -> pd.DataFrame:
    """The corpus table with columns of one's own; ``root`` is the CSV or the folder, ``on_error`` as in `load_corpus`.

    An utterance without an id gets its path's, without the extension. A column that differs within a speaker does not
    describe speakers: it is left out, with a warning. So are audio files of other sampling rates told: they are
    resampled when they are read.

    Raises:
        CorpusError: a file or column is missing, an encoding cannot be read, an id or file comes twice, a known speaker
            column (sex, age, ...) differs within a speaker, or a speaker stands in both train and test.

    Example:
        >>> load("voices.csv")["region"].value_counts()  # doctest: +SKIP
    """
    path = _place(root)
    problems, audio, rows = Problems(on_error), AudioFinder(), []
    listed = _read(path)
    columns = _speaker_columns(listed)
    left_out = [name for name in listed[0][1] if name not in (*columns, *_OF_UTTERANCES)]
    if left_out:
        warnings.warn(
            f"{path}: {', '.join(left_out)} differs within a speaker, so it describes utterances and is left out.",
            stacklevel=3,
        )
    seen: dict[str, str] = {}
    for where, values in listed:
        with problems.per_utterance():
            for name in NEEDED:
                if not values[name]:
                    raise CorpusError(f"{where} has no {name}: fill it in or remove that row.")
            file = path.parent / Path(values["path"]).expanduser()
            found = str(file.absolute()) if file.is_file() else audio.find(file, where)
            utterance = values.get("utterance_id") or _id_of(Path(values["path"]))
            for what, name in (("utterance", utterance), ("audio file", found)):
                if (first := seen.setdefault(f"{what} {name}", where)) != where:
                    raise CorpusError(f"{where} lists {what} {name!r} a second time, after {first}: keep one of them.")
            row = {"utterance_id": utterance, "path": found, "speaker_id": values["speaker_id"]}
            row |= {"text": values.get("text"), "split": values.get("split")}
            row |= {column: of.get(values["speaker_id"]) for column, of in columns.items()}
            rows.append(row | ({"age": _age(row["age"], where)} if "age" in columns else {}))
    table = finish_table(rows, own_name(path), tuple(columns), problems)
    _check_halves(table, path)
    rates = table.attrs["sample_rates"]
    if len(rates) > 1:
        told = ", ".join(f"{count:,} at {rate:,} Hz" for rate, count in rates.items())
        warnings.warn(
            f"{path}: the audio files have several sampling rates ({told}); all are resampled to 16,000 Hz, but what a "
            "lower rate has cut off does not come back.",
            stacklevel=3,
        )
    return table


def _id_of(path: Path) -> str:
    return stem(path.name) if path.is_absolute() else (path.parent / stem(path.name)).as_posix()


def _place(root: str | Path | None) -> Path:
    if root is None:
        raise CorpusError("A corpus of your own has no usual place: pass the CSV file or the folder as root=.")
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise CorpusError(f"{path} is not there: give the CSV file, or the folder that save_to_disk wrote.")
    return path


def _read(path: Path, audio: bool = True) -> list[Row]:
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
        header = [name.strip() for name in next(lines, [])]
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
            rows.append((where, {name: value for name, value in values.items() if name not in _MADE_HERE}))
    except csv.Error as error:
        raise CorpusError(f"{path} line {lines.line_num} is no CSV ({error}): correct it.") from None
    return rows


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
            "package datasets wrote, or a CSV file."
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
                        if sounds is not None:
                            sample = sounds[place].as_py() or {}
                            name = Path(sample.get("path") or f"{split or 'row'}-{number - 1:06d}.wav")
                            values["path"] = _sound_file(sample, name)
                            values["utterance_id"] = values.get("utterance_id") or stem(name.name)
                        values = {"split": split} | values
                        yield where, {name: value for name, value in values.items() if name not in _MADE_HERE}
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{file} cannot be read ({reason}): save the dataset again.") from None


def _text(value, feature: dict) -> str | None:
    """A value as the CSV would hold it; labels that are stored as numbers by their names."""
    if value is None or value != value or value == -1 and feature["_type"] == "ClassLabel":
        return None
    if feature["_type"] == "ClassLabel":
        return feature["names"][value]
    return str(value).strip() or None


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


def _speaker_columns(rows: list[Row]) -> dict[str, dict[str, str]]:
    """Columns with one value a speaker, each with the value of every speaker for whom a row has it."""
    columns = {}
    for column in [name for name in rows[0][1] if name not in _OF_UTTERANCES]:
        first: dict[str, tuple[str, str]] = {}
        for where, values in rows:
            speaker, value = values["speaker_id"], values[column]
            if not speaker or not value or first.setdefault(speaker, (value, where))[0] == value:
                continue
            if column not in SPEAKER_COLUMNS:
                break
            raise CorpusError(
                f"{where}: {column} of speaker {speaker} is {value!r}, but {first[speaker][0]!r} in "
                f"{first[speaker][1]}: correct one of them."
            )
        else:
            columns[column] = {speaker: value for speaker, (value, _) in first.items()}
    return columns


def _age(value: str | None, where: str) -> float | None:
    if value is None:
        return None
    try:
        age = float(value)
    except ValueError:
        age = 0.0
    if not 0 < age < 120:
        raise CorpusError(f"{where}: the age {value!r} is no number of years between 0 and 120: correct it.")
    return age


def _check_halves(table: pd.DataFrame, path: Path) -> None:
    sides = [set(table.loc[table["split"] == side, "speaker_id"]) for side in ("train", "test")]
    both = sorted(sides[0] & sides[1])
    if both:
        raise CorpusError(
            f"{path}: {len(both)} speakers stand in both train and test, {both[0]} first: no speaker may be in both; "
            "without the column split a quarter of the speakers is drawn for testing."
        )
