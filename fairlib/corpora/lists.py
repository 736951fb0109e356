"""A list of utterances in a file: CSV, TSV, JSON lines, Parquet, or what ``save_to_disk`` of datasets wrote.

Whatever the format, a list becomes rows of text, as a CSV would hold them. What is no single value (lists, pictures)
cannot describe a speaker and is not read. Arrow and Parquet are read with pyarrow alone, so that the package `datasets`
is not needed; audio that they hold is written to the cache.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fairlib.base.files import cache_folder, replace
from fairlib.corpora.corpus import SPEAKER_COLUMNS
from fairlib.corpora.labels import as_text, tidy
from fairlib.corpora.table import RESERVED_COLUMNS, UTTERANCE_COLUMNS, CorpusError, CorpusWarning

ENDINGS = (".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet")
NEEDED = ("path", "speaker_id")
OF_UTTERANCES = (*NEEDED, "text", "language", "utterance_id", "split")
_MADE_HERE = ("corpus", "duration_s", "", "__index_level_0__")  # what saving a table adds; the audio tells it anyway

_TOLD_BETTER = (("Value", "ClassLabel"), ("Audio", "Image"))  # what a column looks like, and what datasets says it is
# Older versions of datasets wrote a hash behind the numbers.
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?\.parquet", re.IGNORECASE)
_AT_ONCE = 256  # rows of a Parquet file: they may hold audio

# The columns whose meaning is known are known in any capitals.
_KNOWN = {name.casefold(): name for name in (*UTTERANCE_COLUMNS, "language", *SPEAKER_COLUMNS)}


class Row(NamedTuple):
    """One utterance of a list.

    Attributes:
        where: where it stands; no two rows stand in one place.
        values: what the list says of it, by column; all rows of a list have the columns of its first.
        name: what a dataset calls its audio.
        wrong: why it cannot be used, one sentence.
        channel: the only one of its file's channels to be read.
        lasts: seconds that its file must last, where the list says so and the file is read whole.
    """

    where: str
    values: dict[str, str | None]
    name: str = ""
    wrong: str = ""
    channel: int | None = None
    lasts: float | None = None


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE  # quotation marks quote in a list with commas, and are letters in one with tabs


def ending_of(path: str | Path) -> str:
    """Which of `ENDINGS` a file's name has, in any capitals; empty if none.

    Example:
        >>> ending_of("voices.JSONL.gz"), ending_of("voices.xlsx")
        ('.jsonl.gz', '')
    """
    return next((ending for ending in ENDINGS if str(path).lower().endswith(ending)), "")


def read_list(path: Path, needed: tuple[str, ...] = NEEDED, audio: bool = True) -> list[Row]:
    """The rows of a list in a file, by its extension.

    Args:
        path: the file.
        needed: columns that it must have.
        audio: write audio that is in a Parquet file to the cache.

    Raises:
        CorpusError: the extension is not known, the file cannot be read, or a column is missing, comes twice or has the
            name of something else.
    """
    ending = ending_of(path)
    if ending in (".csv", ".tsv"):
        return _read_separated(path, "," if ending == ".csv" else "\t", needed)
    if ending == ".parquet":
        return _read_parquet(path, needed, audio)
    if ending:
        return _read_json_lines(path, needed)
    raise CorpusError(
        f"{path} is no list that can be read by its extension: {', '.join(ENDINGS[:-1])} and {ENDINGS[-1]} are known; "
        "save it as one of them."
    )


def _read_separated(path: Path, separator: str, needed: tuple[str, ...]) -> list[Row]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path} line {line} is not UTF-8 text: save the file as UTF-8 (in a spreadsheet: CSV UTF-8)."
        ) from None
    how = csv.excel if separator == "," else _Tabs
    lines = csv.reader(io.StringIO(text, newline=""), how, strict=True)
    rows: list[Row] = []
    try:
        header = [_column(name) for name in next(lines, [])]
        _check_columns(path, header, needed)
        for fields in lines:
            if not any(field.strip() for field in fields):
                continue
            where = f"{path} line {lines.line_num}"
            if len(fields) != len(header):
                hint = ' (a field that holds a comma stands in quotation marks, "so, like this")' * (separator == ",")
                raise CorpusError(
                    f"{where} has {len(fields)} fields where the first line has {len(header)}: correct it{hint}."
                )
            values = {name: field.strip() or None for name, field in zip(header, fields, strict=True)}
            rows.append(Row(where, _without_what_is_made(values)))
    except csv.Error as error:
        raise CorpusError(
            f"{path} line {lines.line_num} is no {path.suffix[1:].upper()} ({error}): correct it."
        ) from None
    return rows


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """The objects of a file of JSON lines, which may be packed with gzip, each with where it stands.

    Raises:
        CorpusError: the file cannot be read, or a line is no JSON object.
    """
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path} line {number}", _object(line, f"{path} line {number}")
    except UnicodeDecodeError:
        raise CorpusError(f"{path} line {number + 1} is not UTF-8 text: save the file as UTF-8.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} cannot be read ({error}): write it again, or fetch it again.") from None


def _object(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where} is no JSON ({error.msg} at character {error.pos + 1}): correct it.") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is no JSON that can be read ({error}): correct it.") from None
    if not isinstance(value, dict):
        raise CorpusError(f"{where} is no JSON object ({{...}}), as every line must be: correct it.")
    return value


def _read_json_lines(path: Path, needed: tuple[str, ...]) -> list[Row]:
    found = [
        (where, {_column(name): value for name, value in line.items()}, len(line)) for where, line in json_lines(path)
    ]
    twice = next((where for where, line, names in found if len(line) < names), "")
    if twice:
        raise CorpusError(f"{twice} has a column twice, in other capitals: rename or remove one.")
    header = list(dict.fromkeys(name for _, line, _ in found for name in line))
    if found:  # a file without a line lists no utterance, which is said elsewhere
        _check_columns(path, header, needed)
    nested = {name for _, line, _ in found for name, value in line.items() if isinstance(value, dict | list)}
    for name in needed:
        if name in nested:
            raise CorpusError(f"{path}: {name!r} holds lists or objects: it must be one text in each line.")
    plain = [name for name in header if name not in nested]
    return [
        Row(where, _without_what_is_made({name: _plain(line.get(name)) for name in plain})) for where, line, _ in found
    ]


def with_all_columns(rows: list[Row]) -> list[Row]:
    """The rows, each with the columns that any of them has.

    Example:
        >>> [row.values for row in with_all_columns([Row("line 1", {"sex": "f"}), Row("line 2", {"age": "7"})])]
        [{'sex': 'f', 'age': None}, {'sex': None, 'age': '7'}]
    """
    columns = dict.fromkeys(column for row in rows for column in row.values)
    return [row._replace(values={column: row.values.get(column) for column in columns}) for row in rows]


def _plain(value: object) -> str | None:
    return (as_text(value) or "").strip() or None


def _without_what_is_made(values: dict[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in values.items() if name not in _MADE_HERE}


def _column(name: str) -> str:
    return _KNOWN.get(tidy(name).casefold(), name.strip())


def _check_columns(path: Path, header: list[str], needed: tuple[str, ...] = NEEDED) -> None:
    """Refuse a list that lacks a column, names one twice, or gives one the name of something else."""
    missing = [name for name in needed if name not in header]
    if missing:
        other = next((mark for mark in ";\t," if len(header) == 1 and mark in header[0]), None)
        right = "tabs" if ending_of(path) == ".tsv" else "commas"
        hint = f": its columns are separated by {other!r}, save it with {right}" if other else ""
        raise CorpusError(
            f"{path} has no column {missing[0]!r}; its columns are {', '.join(map(repr, header)) or 'none'}"
            f"{hint or ': add or rename one'}."
        )
    for name in header:
        if name and header.count(name) > 1:
            raise CorpusError(f"{path} has two columns {name!r}: rename or remove one.")
        if name in RESERVED_COLUMNS and name not in (*OF_UTTERANCES, *_MADE_HERE):
            raise CorpusError(f"{path} has a column {name!r}, a name that outcomes use themselves: rename it.")


# --- Parquet, and Arrow as save_to_disk writes it -----------------------------------------------------------------


def _read_parquet(path: Path, needed: tuple[str, ...], audio: bool) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            features = _features(file.schema_arrow)
            plain, sound = _columns(path, features, needed)
            names = plain + [sound] * bool(sound and audio)
            batches = file.iter_batches(_AT_ONCE, columns=names)
            return list(_rows(path, batches, features, plain, sound if audio else "", path.stem))
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read ({str(error).splitlines()[0]}): write it again.") from None


def parquet_shards(folder: Path) -> list[Path]:
    """The Parquet files of a dataset as the Hugging Face hub keeps it, in a folder or in its folder ``data``."""
    found = [[path for path in sorted(at.glob("*")) if _SHARD.fullmatch(path.name)] for at in (folder, folder / "data")]
    return found[0] or found[1]


def read_shards(shards: list[Path], audio: bool = True) -> list[Row]:
    """The rows of a dataset's Parquet files, each of the split that its file is named after.

    Raises:
        CorpusError: a file cannot be read, or a split is there twice.
    """
    _check_shards(shards, say=audio)
    rows = []
    for path in shards:
        named: dict[str, str | None] = {"split": _SHARD.sub(r"\1", path.name)}
        rows += [row._replace(values=named | row.values) for row in read_list(path, audio=audio)]
    return with_all_columns(rows)


def _check_shards(shards: list[Path], say: bool) -> None:
    """Refuse two uploads of one split, whose utterances would count twice; say that files of one are lacking."""
    splits: dict[str, list[tuple[str, str, Path]]] = {}
    for path in shards:
        number, of, split = _SHARD.sub(r"\2 \3 \1", path.name).split(" ", 2)
        splits.setdefault(split, []).append((of, number, path))
    for split, files in splits.items():
        of, _, first = files[0]
        if len({each for each, _, _ in files}) > 1 or len({number for _, number, _ in files}) < len(files):
            names = f"{first.name} and {files[-1][2].name}"
            raise CorpusError(f"{first.parent} holds {split} more than once ({names}): keep the files of one upload.")
        if say and len(files) < int(of):
            lacking = f"of the {int(of):,} Parquet files of {split}, {int(of) - len(files):,} are not there"
            told = f"{first.parent}: {lacking}, nor are their utterances: fetch them again, or go on without."
            warnings.warn(told, CorpusWarning, stacklevel=5)


def _features(schema) -> dict[str, dict]:
    """What a Parquet file's columns are, in the words of datasets: its own, where datasets wrote the file."""
    import pyarrow

    def kind(field) -> dict:
        if pyarrow.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}:
            return {"_type": "Audio" if "binary" in str(field.type.field("bytes").type) else "Other"}
        other = pyarrow.types.is_nested(field.type) or "binary" in str(field.type)
        return {"_type": "Other" if other else "Value"}

    try:
        told = dict(json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError):
        told = {}
    features = {field.name: kind(field) for field in schema}
    for name, feature in features.items():
        of_datasets = told.get(name)
        if isinstance(of_datasets, dict) and (feature["_type"], of_datasets.get("_type")) in _TOLD_BETTER:
            features[name] = of_datasets
    return features


def is_saved_dataset(folder: Path) -> bool:
    """Whether ``save_to_disk`` of datasets wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_dataset(folder: Path, audio: bool = True) -> list[Row]:
    """The rows of a folder that ``save_to_disk`` wrote; its parts are the splits.

    Raises:
        CorpusError: a file of it is missing or damaged, or it was saved as a selection of other rows.
    """
    if (folder / "dataset_dict.json").is_file():
        parts = {name: folder / name for name in _json(folder / "dataset_dict.json")["splits"]}
    else:
        parts = {None: folder}
    return with_all_columns([row for split, part in parts.items() for row in _read_part(part, split, audio)])


def _read_part(folder: Path, split: str | None, audio: bool) -> Iterator[Row]:
    import pyarrow

    state, features = _json(folder / "state.json"), _json(folder / "dataset_info.json")["features"]
    if state.get("_indices_files"):
        raise CorpusError(f"{folder} was saved as a selection of other rows: call flatten_indices() and save it again.")
    plain, sound = _columns(folder, features, NEEDED)
    number = 0
    for entry in state["_data_files"]:
        file = folder / entry["filename"]
        try:
            with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as batches:
                for row in _rows(folder, batches, features, plain, sound if audio else "", split or "row", number):
                    yield row._replace(values={"split": split} | row.values)
                    number += 1
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{file} cannot be read ({reason}): save the dataset again.") from None


def _columns(path: Path, features: dict[str, dict], needed: tuple[str, ...]) -> tuple[list[str], str]:
    """The columns that hold single values, and the one that holds audio, if there is one."""
    sound = next((name for name, kind in features.items() if kind.get("_type") == "Audio"), "")
    plain = [name for name, kind in features.items() if kind.get("_type") in ("Value", "ClassLabel") and name != sound]
    listed = [_column(name) for name in plain]
    _check_columns(path, [name for name in listed if name != "path" or not sound] + ["path"] * bool(sound), needed)
    return plain, sound


def _rows(
    path: Path, batches: Iterable, features: dict, plain: list[str], sound: str, called_after: str, number: int = 0
) -> Iterator[Row]:
    for batch in batches:
        sounds = batch.column(sound) if sound else None
        for place, values in enumerate(batch.select(plain).to_pylist()):
            where = f"{path} row {number}"
            values = {_column(name): _of_feature(value, features[name], where) for name, value in values.items()}
            called = ""
            if sounds is not None:
                sample = sounds[place].as_py() or {}
                called = sample.get("path") or f"{called_after}-{number:06d}.wav"
                values["path"] = _sound_file(sample, Path(called))
            yield Row(where, _without_what_is_made(values), called)
            number += 1


def _of_feature(value, feature: dict, where: str) -> str | None:
    """A value as the CSV would hold it; labels that are stored as numbers by their names."""
    if feature["_type"] != "ClassLabel":
        return _plain(value)
    if value is None or value == -1:
        return None
    names = feature.get("names") or []
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise CorpusError(f"{where}: the label {value!r} has no name among {', '.join(map(str, names)) or 'none'}.")
    return str(names[value])


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
