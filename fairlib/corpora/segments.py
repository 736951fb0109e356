"""Utterances that are parts of long recordings: cut once, at 16 kHz, into the cache, so that each is a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from fairlib.base.files import cache_folder, replace
from fairlib.base.progress import steps
from fairlib.corpora.audio import SAMPLE_RATE, read_audio, to_int16
from fairlib.corpora.table import CorpusError, Problems

_SLACK_S = 0.1  # by which a segment may end after its recording: ends are rounded


def cut_segments(rows: Iterable[dict], problems: Problems, channels: Mapping[str, int] | None = None) -> list[dict]:
    """Rows with ``start`` and ``end`` (seconds) get the path of a FLAC file of that part; others stay as they are.

    A recording is read once, whole, and only if one of its segments is not in the cache. A recording that has changed
    is cut anew. `channels` names, by utterance_id, the one channel that a segment is cut from where it is not from all.
    """
    whole: list[dict] = []
    by_recording: dict[tuple[str, int | None], list[dict]] = {}
    for row in rows:
        if row.get("start") is None:
            whole.append({name: value for name, value in row.items() if name not in ("start", "end")})
        else:
            by_recording.setdefault((row["path"], (channels or {}).get(row["utterance_id"])), []).append(row)
    parts = list[dict]()
    for (path, channel), segments in steps("cutting segments", by_recording.items(), len(by_recording), "recordings"):
        with problems.per_utterance():
            audio, state = None, Path(path).stat()
            for row in segments:
                with problems.per_utterance():
                    start, end = row["start"], row["end"]
                    if not 0 <= start < end:
                        raise CorpusError(
                            f"Utterance {row['utterance_id']!r} goes from {start:g} s to {end:g} s of {path}: it must "
                            "begin at 0 or later and end after that; correct the list."
                        )
                    name = f"{path}|{state.st_size}|{state.st_mtime_ns}|{start:.3f}|{end:.3f}"
                    name += "" if channel is None else f"|{channel}"
                    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
                    file = cache_folder() / "segments" / digest[:2] / f"{digest}.flac"
                    if not file.exists():
                        audio = read_audio(path, channel) if audio is None else audio
                        _cut(file, audio, row)
                    row = {name: value for name, value in row.items() if name not in ("start", "end")}
                    parts.append(row | {"path": str(file)})
    return whole + parts


def _cut(file: Path, audio, row: dict) -> None:
    if row["end"] > len(audio) / SAMPLE_RATE + _SLACK_S:
        raise CorpusError(
            f"Utterance {row['utterance_id']!r} ends at {row['end']:.2f} s, but {row['path']} lasts "
            f"{len(audio) / SAMPLE_RATE:.2f} s: correct the list, or fetch the recording again."
        )
    part = to_int16(audio[round(row["start"] * SAMPLE_RATE) : round(row["end"] * SAMPLE_RATE)])
    if not len(part):  # it begins where the recording ends, or lasts less than a sample
        raise CorpusError(
            f"Utterance {row['utterance_id']!r} holds no sound, from {row['start']:g} s to {row['end']:g} s of "
            f"{row['path']}, which lasts {len(audio) / SAMPLE_RATE:.2f} s: correct the list."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    replace(file, lambda temporary: soundfile.write(temporary, part, SAMPLE_RATE, format="FLAC", subtype="PCM_16"))
