"""A Kaldi data folder as a list of utterances: wav.scp, utt2spk, and as far as they are there text, segments, spk2*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora.published import SEX
from fairlib.corpora.table import RESERVED_COLUMNS, CorpusError, KaldiFile

if TYPE_CHECKING:
    from fairlib.corpora.lists import Row

_KNOWN = {"gender": "sex"}


def is_kaldi(folder: Path) -> bool:
    """Whether a folder is a Kaldi data folder, or holds some, such as train and test."""
    return bool(_parts(folder))


def read_kaldi(folder: Path) -> list[Row]:
    """What the folder says of each utterance, by column; its folders' names are the splits.

    A row says what is wrong with its utterance: a malformed line, no speaker or recording, or one that is a command.

    Raises:
        CorpusError: a file cannot be read, or a map has the name of something else.
    """
    from fairlib.corpora.lists import Row  # not above: it needs pandas, and help and typos are answered without it

    rows, parts = [], _parts(folder)
    # All rows have the maps of all parts: one that stands in some alone is not recorded of the others' speakers.
    named = sorted({path.name[4:] for part in parts.values() for path in part.glob("spk2*")} - {"utt"})
    if taken := sorted({*named} & {*RESERVED_COLUMNS, "path", "start", "end"} - {"language"}):
        raise CorpusError(f"{folder} has a file spk2{taken[0]}, a name that means something else here: rename it.")
    for split, part in parts.items():
        wavs, speakers = KaldiFile(part / "wav.scp"), KaldiFile(part / "utt2spk")
        texts, segments = (KaldiFile(part / name) if (part / name).is_file() else None for name in ("text", "segments"))
        maps = {name: KaldiFile(part / f"spk2{name}") for name in named if (part / f"spk2{name}").is_file()}
        times = ["start", "end"] if segments else []
        columns = ["utterance_id", "path", "speaker_id", "split", *times, "text", *(_KNOWN.get(m, m) for m in named)]
        for name in (segments or wavs).keys():
            where, wrong = f"{(segments or wavs).path}, utterance {name}", ""
            row: dict[str, str | None] = dict.fromkeys(columns) | {"utterance_id": name, "split": split or None}
            try:
                row |= _sound(name, where, wavs, segments)
                row["speaker_id"] = speaker = speakers.get(name)
                if speaker is None:
                    raise CorpusError(f"{speakers.path} has no line for {name}: add one.")
                row["text"] = texts.get(name) if texts else None
                for column, values in maps.items():
                    value = values.get(speaker)
                    value = SEX.get(str(value).casefold(), value) if column == "gender" else value
                    row[_KNOWN.get(column, column)] = value
            except CorpusError as error:
                wrong = str(error)
            rows.append(Row(where, row, wrong=wrong))
    return rows


def _sound(name: str, where: str, wavs: KaldiFile, segments: KaldiFile | None) -> dict[str, str]:
    """The audio file of an utterance, and which part of it where it is one of several.

    Raises:
        CorpusError: the utterance's lines do not say it.
    """
    recording, times = name, dict[str, str]()
    if segments:
        fields = str(segments.get(name)).split()
        if len(fields) != 3:
            raise CorpusError(f"{where}: {' '.join(fields)!r} is no recording, start and end: correct it.")
        recording, times = fields[0], {"start": fields[1], "end": fields[2]}
    path = wavs.get(recording)
    if path is None:
        raise CorpusError(f"{wavs.path} has no line for {recording!r}: add one.")
    if path.endswith("|"):
        raise CorpusError(
            f"{wavs.path} gives {recording!r} as a command ({path[:40]}...), which is not run here: write the audio to "
            "files (in Kaldi: wav-copy) and give their paths."
        )
    return {"path": path, **times}


def _parts(folder: Path) -> dict[str, Path]:
    if (folder / "wav.scp").is_file():
        return {"": folder}
    return {part.name: part for part in sorted(folder.iterdir()) if (part / "wav.scp").is_file()}
