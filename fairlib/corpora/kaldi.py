"""A Kaldi data folder as a list of utterances: wav.scp, utt2spk, and as far as they are there text, segments, spk2*."""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.published import SEX
from fairlib.corpora.table import CorpusError, KaldiFile

_KNOWN = {"gender": "sex"}


def is_kaldi(folder: Path) -> bool:
    """Whether a folder is a Kaldi data folder, or holds some, such as train and test."""
    return bool(_parts(folder))


def read_kaldi(folder: Path) -> list[tuple[str, dict[str, str | None]]]:
    """Where each utterance stands, and what the folder says of it, by column; its folders' names are the splits.

    Raises:
        CorpusError: a line is malformed, an utterance has no speaker or recording, or a recording is a command.
    """
    rows = []
    for split, part in _parts(folder).items():
        wavs, speakers = KaldiFile(part / "wav.scp"), KaldiFile(part / "utt2spk")
        texts, segments = (KaldiFile(part / name) if (part / name).is_file() else None for name in ("text", "segments"))
        maps = {path.name[4:]: KaldiFile(path) for path in sorted(part.glob("spk2*")) if path.name != "spk2utt"}
        for name in (segments or wavs).keys():
            recording, times = name, dict[str, str]()
            where = f"{(segments or wavs).path}, utterance {name}"
            if segments:
                fields = str(segments.get(name)).split()
                if len(fields) != 3:
                    raise CorpusError(f"{where}: {' '.join(fields)!r} is no recording, start and end: correct it.")
                recording, times = fields[0], {"start": fields[1], "end": fields[2]}
            path, speaker = wavs.get(recording), speakers.get(name)
            if path is None or speaker is None:
                lacking = speakers.path if path else wavs.path
                raise CorpusError(f"{lacking} has no line for {name if path else recording!r}: add one.")
            if path.endswith("|"):
                raise CorpusError(
                    f"{wavs.path} gives {recording!r} as a command ({path[:40]}...), which is not run here: write the "
                    "audio to files (in Kaldi: wav-copy) and give their paths."
                )
            row: dict[str, str | None] = {
                "utterance_id": name,
                "path": path,
                "speaker_id": speaker,
                "split": split or None,
                **times,
            }
            row["text"] = texts.get(name) if texts else None
            for column, values in maps.items():
                value = values.get(speaker)
                row[_KNOWN.get(column, column)] = SEX.get(str(value), value) if column == "gender" else value
            rows.append((where, row))
    return rows


def _parts(folder: Path) -> dict[str, Path]:
    if (folder / "wav.scp").is_file():
        return {"": folder}
    return {part.name: part for part in sorted(folder.iterdir()) if (part / "wav.scp").is_file()}
