"""A folder of audio files as a list of utterances: ``SPEAKER/**/*.wav``, or with metadata as Hugging Face has it.

The first folder level names the speaker, below folders such as train and test the next one. ``metadata.csv``,
``metadata.jsonl`` or ``metadata.parquet``, in the folder or in each of its first level, lists files by their
``file_name`` with columns as in a list of one's own, and may name the speaker (``speaker_id``). ``speakers.csv`` says
what is recorded of each speaker.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path, PurePath

from fairlib.corpora.audio import EXTENSIONS, unreadable_name
from fairlib.corpora.labels import tidy
from fairlib.corpora.lists import Row, ending_of, read_list, with_all_columns
from fairlib.corpora.splits import side_of
from fairlib.corpora.table import CorpusError, CorpusWarning

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPEAKERS = "speakers.csv"
_OTHER_AUDIO = (".aac", ".aif", ".aiff", ".amr", ".m4a", ".mp4", ".webm", ".wma")  # which are not read here
_RULE = (
    "the first folder level names the speaker (below folders such as train and test, the next one), unless "
    "metadata.csv, .jsonl or .parquet has the columns file_name and speaker_id"
)


def read_audio_folder(folder: Path, say: bool = True) -> list[Row]:
    """An utterance for each audio file, or for each that the metadata list.

    Args:
        folder: the folder.
        say: warn of what is left out, with a count.

    Raises:
        CorpusError: there is no audio, nothing says who speaks, or the metadata do not fit the folder.
    """
    files, others = _files(folder)
    lists = _metadata_files(folder)
    listed = [(path.parent, row) for path in lists for row in read_list(path, needed=("file_name",))]
    if not files and not listed:
        raise CorpusError(_nothing(folder))
    names = [PurePath(file.relative_to(folder)) for file in files]
    by_folder = [_below(folder, base, row) for base, row in listed] if lists else names
    in_splits = _in_splits(folder, by_folder, bool(lists) and all("speaker_id" in row.values for _, row in listed))
    if lists:
        rows = with_all_columns([_of_metadata(folder, base, row, in_splits) for base, row in listed])
    else:
        rows = [_row(f"{folder / name}", name, in_splits) for name in names]
    speakers = {row.values["speaker_id"] for row in rows if row.values["speaker_id"]}
    if not lists and len(speakers) < 2:
        found = f"one folder alone, {speakers.pop()!r}" if speakers else "no speaker's folder"
        raise CorpusError(f"{folder} has its audio in {found}: {_RULE}{_or_a_list(folder)}.")
    remarks = []
    if not all("speaker_id" in row.values for _, row in listed) or not lists:
        shown = ", ".join([*sorted(speakers)[:3], *["..."] * (len(speakers) > 3)])
        remarks.append(f"{len(speakers):,} folders are taken as speakers, by their names ({shown})")
    remarks += _add_speakers(folder / _SPEAKERS, rows) if (folder / _SPEAKERS).is_file() else []
    if lists:
        said = {row.values["path"] for row in rows}
        unlisted = sum(str(name) not in said for name in names)
        remarks += [f"{unlisted:,} audio files that its metadata do not list are left out"] * bool(unlisted)
    if others:
        kinds = ", ".join(sorted(others))
        remarks.append(
            f"{others.total():,} files are left out whose format is not read here ({kinds}): make FLAC of them"
        )
    unread = [path.name for path in _tables(folder)]
    remarks += [f"not read: {', '.join(unread)}"] * bool(unread)
    if remarks and say:
        warnings.warn(f"{folder}: {'; '.join(remarks)}.", CorpusWarning, stacklevel=4)
    return rows


def _files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The audio files in a folder, in order, and how many there are of formats that are not read; not hidden ones."""
    found, others, seen = list[Path](), Counter[str](), set[str]()
    for base, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith((".", "__MACOSX"))]
        names = [] if real in seen else [name for name in names if not name.startswith(".")]
        seen.add(real)
        found += [Path(base) / name for name in names if name.lower().endswith(EXTENSIONS)]
        others.update(PurePath(name).suffix.lower() for name in names if name.lower().endswith(_OTHER_AUDIO))
    return sorted(found), others


def _metadata_files(folder: Path) -> list[Path]:
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [[base / name for name in _METADATA if (base / name).is_file()] for base in folders]
    twice = next((paths for paths in found if len(paths) > 1), None)
    if twice is None and found[0] and any(found[1:]):
        twice = [found[0][0], *next(paths for paths in found[1:] if paths)]
    if twice:
        raise CorpusError(f"{folder} has two files of metadata, {twice[0]} and {twice[1]}: keep one of them.")
    return [path for paths in found for path in paths]


def _in_splits(folder: Path, names: list[PurePath], speakers_are_listed: bool) -> bool:
    """Whether the first level holds splits; a file that lies in no folder does not make speakers of them.

    Raises:
        CorpusError: train and test stand beside folders of another kind, so that either could be the speakers.
    """
    tops = sorted({name.parts[0] for name in names if len(name.parts) > 1})
    sides = [top for top in tops if side_of(top)]
    others = [top for top in tops if not side_of(top)]
    if others and len({side_of(top) for top in sides}) > 1 and not speakers_are_listed:
        raise CorpusError(
            f"{folder} has {', '.join(sides)} beside {', '.join(others[:3])}: the first are splits and no speakers, so "
            "put the others' audio into one of them, or elsewhere."
        )
    return bool(sides) and not others


def _below(folder: Path, base: Path, row: Row) -> PurePath:
    """Where a listed file lies below the folder; lists made on Windows have backslashes in their paths."""
    name = row.values["file_name"] or ""
    name = name if os.path.exists(base / name) else name.replace("\\", "/")
    return PurePath(os.path.relpath(base / name, folder))


def _of_metadata(folder: Path, base: Path, row: Row, in_splits: bool) -> Row:
    values = dict(row.values)
    name = values.pop("file_name") or ""
    below = _below(folder, base, row)
    values["path"] = str(below) if name else None
    if "text" not in values and "transcription" in values:  # as datasets' own examples call it
        values["text"] = values.pop("transcription")
    by_folder = _row(row.where, below, in_splits)
    if not name:
        return row._replace(values=by_folder.values | values, wrong=f"{row.where} has no file_name: fill it in.")
    if "speaker_id" in values:
        return row._replace(values={"split": by_folder.values["split"]} | values)
    return row._replace(values=by_folder.values | values, wrong=by_folder.wrong)


def _row(where: str, name: PurePath, in_splits: bool) -> Row:
    """An utterance of which its path below the folder says who speaks, and in which split."""
    split, below = (name.parts[0], name.parts[1:]) if in_splits and len(name.parts) > 1 else (None, name.parts)
    if wrong := unreadable_name(str(name)):
        return Row(where, {"path": str(name), "speaker_id": None, "split": split}, wrong=wrong)
    if len(below) < 2 or below[0] == "..":
        values = {"path": str(name), "speaker_id": None, "split": split}
        return Row(where, values, wrong=f"{where} lies in no speaker's folder: {_RULE}.")
    return Row(where, {"path": str(name), "speaker_id": below[0], "split": split})


def _add_speakers(path: Path, rows: list[Row]) -> list[str]:
    """What is recorded of the speakers, into the rows; and what does not fit."""
    known: dict[str, Row] = {}
    for row in read_list(path, needed=("speaker_id",)):
        speaker = tidy(row.values.pop("speaker_id") or "")
        if not speaker:
            raise CorpusError(f"{row.where} has no speaker_id: fill it in or remove that line.")
        if speaker in known:
            first = known[speaker].where
            raise CorpusError(f"{row.where} lists speaker {speaker!r} a second time, after {first}: keep one of them.")
        known[speaker] = row
    if not known:
        return []
    columns = list(next(iter(known.values())).values)
    both = [column for column in columns if any(row.values.get(column) for row in rows)]
    if both:
        raise CorpusError(f"{path} has a column {both[0]!r} that the utterances have too: keep one of them.")
    unknown = {row.values["speaker_id"] for row in rows if row.values["speaker_id"]}
    unknown = {speaker for speaker in unknown if tidy(speaker) not in known}
    if not any(tidy(row.values["speaker_id"] or "") in known for row in rows):
        there = ", ".join(sorted(unknown)[:3])
        raise CorpusError(f"{path} names none of the folder's speakers ({there}, ...): name them alike.")
    for row in rows:
        described = known.get(tidy(row.values["speaker_id"] or ""))
        row.values.update(described.values if described else dict.fromkeys(columns))
    return [f"{len(unknown):,} speakers are not in {path.name} ({min(unknown)} first)"] if unknown else []


def _tables(folder: Path) -> list[Path]:
    """Lists beside the audio that are neither metadata nor speakers."""
    meant = (*_METADATA, _SPEAKERS)
    return sorted(path for path in folder.iterdir() if ending_of(path) and path.name not in meant and path.is_file())


def _or_a_list(folder: Path) -> str:
    tables = _tables(folder)
    return f"; or give {tables[0]} itself" if tables else ""


def _nothing(folder: Path) -> str:
    return (
        f"{folder} holds no audio ({', '.join(EXTENSIONS)}), no Kaldi data (wav.scp), no lhotse manifests "
        "(recordings.jsonl and supervisions.jsonl, or cuts.jsonl) and no dataset that save_to_disk of datasets wrote "
        "(state.json or dataset_dict.json) or the hub keeps (train-00000-of-00001.parquet): give a folder that holds "
        f"one of them{_or_a_list(folder)}."
    )
