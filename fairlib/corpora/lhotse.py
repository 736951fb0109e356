"""lhotse's manifests as a list of utterances: recordings beside supervisions, or cuts, as its recipes write them.

A supervision is an utterance: its speaker, gender and custom fields describe the speaker. The JSON lines are read here,
so that the package `lhotse` is not needed; nothing that a manifest names is run or fetched.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fairlib.corpora.labels import as_text
from fairlib.corpora.lists import Row, json_lines, with_all_columns
from fairlib.corpora.published import SEX
from fairlib.corpora.table import RESERVED_COLUMNS, CorpusError, CorpusWarning

_NAME = re.compile(r"(?:(.*)[_.-])?(recordings|supervisions|cuts)((?:[_.-].*)?\.jsonl(?:\.gz)?)", re.IGNORECASE)
_PARTNER = {"recordings": "supervisions", "supervisions": "recordings"}
_SINGLE = ("MonoCut", "MultiCut", "Cut")  # those that are a part of one recording, as it is
_SLACK_S = 0.1  # by which a supervision may end after its recording: ends are rounded
_WHOLE_S = 0.001  # by which it may miss the recording's ends, and is all of it
_ABOVE = 4  # folders in which a relative path is looked for, from the manifest's upwards

# lhotse's recipes write languages in words, where a code is needed here.
_CODES = {
    "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "cantonese": "yue", "catalan": "ca", "chinese": "zh",
    "croatian": "hr", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "estonian": "et", "finnish": "fi",
    "french": "fr", "german": "de", "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu",
    "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "latvian": "lv", "lithuanian": "lt",
    "mandarin": "zh", "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "slovak": "sk", "slovenian": "sl", "spanish": "es", "swahili": "sw", "swedish": "sv",
    "tamil": "ta", "thai": "th", "turkish": "tr", "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi", "welsh": "cy",
}  # fmt: skip


class _Spoken(NamedTuple):
    """A supervision, where it stands, and its recording; what is wrong with it, if something is."""

    where: str
    supervision: dict
    recording: dict
    cut_start: float = 0.0
    wrong: str = ""


def lhotse_files(path: Path) -> list[Path]:
    """The manifests of a corpus: recordings and supervisions, or one of cuts; empty if a path is none of lhotse's.

    Args:
        path: the folder that holds them, a file of cuts, or one of the two others.

    Raises:
        CorpusError: a folder holds several, or recordings without supervisions, or the other way round.
    """
    if path.is_dir():
        return _in_folder(path)
    kind = _kind(path) if ".jsonl" in path.name.lower() else ""
    if kind not in _PARTNER:
        return [path] if kind else []
    named = _NAME.fullmatch(path.name)
    partner = _partner(path, named) if named and named[2].lower() == kind else None
    if partner is None or not partner.is_file():
        lacking = partner.name if partner else f"a file of {_PARTNER[kind]} that is named alike"
        raise CorpusError(
            f"{path} holds lhotse's {kind}, but beside it {lacking} is missing: put it there, or give a file of cuts."
        )
    return [path, partner] if kind == "recordings" else [partner, path]


def _in_folder(folder: Path) -> list[Path]:
    named = {path: match for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))}
    pairs = [
        [path, _partner(path, match)]
        for path, match in named.items()
        if match[2].lower() == "recordings" and _partner(path, match).is_file()
    ]
    cuts = [[path] for path, match in named.items() if match[2].lower() == "cuts" and _kind(path) not in _PARTNER]
    found = pairs or cuts
    if len(found) > 1:
        names = ", ".join(files[-1].name for files in found)
        raise CorpusError(
            f"{folder} holds {len(found)} of lhotse's {'pairs of manifests' if pairs else 'files of cuts'} ({names}): "
            "give one of these files in the folder's place."
        )
    alone = [path for path in named if not found and _kind(path) in _PARTNER]
    return lhotse_files(alone[0]) if alone else found[0] if found else []


def _partner(path: Path, named: re.Match[str]) -> Path:
    """The file of the recordings' supervisions, or the other way round."""
    return path.with_name(path.name[: named.start(2)] + _PARTNER[named[2].lower()] + named[3])


def _kind(path: Path) -> str:
    """What a file of JSON lines holds of lhotse's, by its first one: recordings, supervisions, cuts, or nothing."""
    try:
        first = next((line for _, line in json_lines(path)), {})
    except CorpusError:  # whoever reads the file says it
        return ""
    if str(first.get("type", "")).endswith("Cut"):
        return "cuts"
    if {"id", "sources", "sampling_rate"} <= set(first):
        return "recordings"
    return "supervisions" if {"id", "recording_id", "start", "duration"} <= set(first) else ""


def read_lhotse(path: Path, say: bool = True) -> list[Row]:
    """An utterance for each supervision; all have the columns that any has.

    Args:
        path: as for `lhotse_files`.
        say: warn of what is left out, with a count.

    Raises:
        CorpusError: a line is no JSON object, or a recording's id comes twice.
    """
    files, left_out = lhotse_files(path), Counter[str]()
    spoken = list(_of_cuts(files[0], left_out) if len(files) == 1 else _of_manifests(files[0], files[1], left_out))
    rows = [Row(one.where, _description(one.supervision, left_out), wrong=one.wrong) for one in spoken]
    rows = [
        row if row.wrong else _with_sound(row, one, files[-1].parent)
        for row, one in zip(with_all_columns(rows), spoken, strict=True)
    ]
    if left_out and say:
        told = "; ".join(f"{what} ({count:,})" for what, count in left_out.most_common())
        warnings.warn(f"{path}: left out are {told}.", CorpusWarning, stacklevel=4)
    if not rows and left_out:
        raise CorpusError(f"{path} lists no utterance that can be used: left out are {', '.join(left_out)}.")
    return rows


def _of_manifests(recordings: Path, supervisions: Path, left_out: Counter[str]) -> Iterator[_Spoken]:
    known: dict[str, dict] = {}
    first: dict[str, str] = {}
    for where, recording in json_lines(recordings):
        name = str(recording.get("id"))
        if name in known:
            raise CorpusError(f"{where} lists recording {name!r} a second time, after {first[name]}: keep one of them.")
        known[name], first[name] = recording, where
    for where, supervision in json_lines(supervisions):
        name = str(supervision.get("recording_id"))
        if name not in known:
            wrong = f"{where}: recording {name!r} is not in {recordings}: add it there, or remove that line."
            yield _Spoken(where, supervision, {}, wrong=wrong)
        elif known[name].get("transforms"):
            left_out["supervisions of recordings that lhotse alters (transforms)"] += 1
        else:
            yield _Spoken(where, supervision, known[name])


def _of_cuts(path: Path, left_out: Counter[str]) -> Iterator[_Spoken]:
    for where, cut in json_lines(path):
        recording, supervisions = cut.get("recording") or {}, cut.get("supervisions") or []
        kind = cut.get("type", "Cut")
        if not (isinstance(supervisions, list) and all(isinstance(one, dict) for one in [recording, *supervisions])):
            raise CorpusError(f"{where} is no cut as lhotse writes it: write it again.")
        if kind not in _SINGLE:
            left_out[f"cuts of type {kind}"] += 1
        elif not supervisions:
            left_out["cuts without a supervision"] += 1
        elif recording.get("transforms"):
            left_out["cuts of recordings that lhotse alters (transforms)"] += 1
        else:
            for number, supervision in enumerate(supervisions):
                stands = f"{where}, supervision {number}" if len(supervisions) > 1 else where
                wrong = "" if recording else f"{stands}: its cut has no recording, so no audio: give cuts that have."
                try:
                    start, length = _seconds(cut, "start"), _seconds(cut, "duration")
                    begins, lasts = _seconds(supervision, "start"), _seconds(supervision, "duration")
                except ValueError as error:
                    start, wrong = 0.0, f"{stands}: {error}"
                else:
                    if begins < -_SLACK_S or begins + lasts > length + _SLACK_S:
                        wrong = wrong or (
                            f"{stands}: supervision {supervision.get('id')!r} goes beyond its cut {cut.get('id')!r}: "
                            "give cuts that hold their supervisions whole."
                        )
                yield _Spoken(stands, {"channel": cut.get("channel", 0)} | supervision, recording, start, wrong)


def _description(supervision: dict, left_out: Counter[str]) -> dict[str, str | None]:
    """What a supervision says of its utterance and speaker, by column."""
    row = {
        "utterance_id": as_text(supervision.get("id")),
        "path": None,
        "speaker_id": as_text(supervision.get("speaker")),
        "text": as_text(supervision.get("text")),
    }
    if named := as_text(supervision.get("language")):
        code = _CODES.get(named.strip().casefold(), named)
        row["language"] = code if re.fullmatch("[A-Za-z]{2,3}([-_].*)?", code) else None
        if row["language"] is None:
            left_out[f"names of a language, {named!r}, for which no code is known here"] += 1
    custom = supervision.get("custom")
    fields = {"gender": supervision.get("gender")} | (custom if isinstance(custom, dict) else {})
    for name, value in fields.items():
        if isinstance(value, dict | list) or name == "gender" and value is None:
            continue
        column = "sex" if name == "gender" else name
        if column in RESERVED_COLUMNS or column in ("start", "end"):
            left_out[f"custom fields {name!r}, a name that means something else here"] += 1
            continue
        text = as_text(value)
        row[column] = SEX.get(str(text).strip().casefold(), text) if name == "gender" else text
    return row


def _with_sound(row: Row, spoken: _Spoken, folder: Path) -> Row:
    """The row with its audio file, and which part of it; or what is wrong with that."""
    if row.values["speaker_id"] is None:
        name = row.values["utterance_id"]
        return row._replace(wrong=f"{row.where}: supervision {name!r} has no speaker: add one, or remove that line.")
    try:
        path, channel = _source(spoken)
        start, end, lasts = _times(spoken)
    except ValueError as error:
        return row._replace(wrong=f"{row.where}: {error}")
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        return row._replace(
            wrong=f"{row.where} or its recording is not as lhotse writes it ({error!r}): write it again."
        )
    values = row.values | {"path": _placed(path, folder)}
    if channel is not None or start > _WHOLE_S or abs(end - lasts) > _WHOLE_S:
        values |= {"start": str(round(start, 6)), "end": str(round(end, 6))}
        return row._replace(values=values, channel=channel)
    return row._replace(values=values, lasts=lasts)


def _source(spoken: _Spoken) -> tuple[str, int | None]:
    """The file that holds a supervision's channels, and which of its channels is meant, if not all."""
    name, channels = spoken.recording["id"], spoken.supervision.get("channel", 0)
    wanted = set(channels if isinstance(channels, list) else [channels])
    sources = [source for source in spoken.recording["sources"] if wanted & set(source["channels"])]
    if len(sources) != 1:
        where = f"over {len(sources)} files" if sources else "nowhere"
        raise ValueError(f"channel {channels} of recording {name!r} lies {where}: a supervision needs one file.")
    kind, source, there = sources[0]["type"], str(sources[0]["source"]), sources[0]["channels"]
    if kind != "file":
        raise ValueError(
            f"the audio of recording {name!r} is of type {kind} ({source[:40]}...), which is neither run nor fetched "
            "here: write it to files (in lhotse: save_audios) and give their manifests."
        )
    if wanted >= set(there):
        return source, None
    if len(wanted) > 1:
        raise ValueError(f"channels {channels} of {there} in recording {name!r} are neither one nor all: give one.")
    return source, there.index(wanted.pop())


def _times(spoken: _Spoken) -> tuple[float, float, float]:
    """Where a supervision starts and ends in its recording, and how long that lasts, in seconds."""
    recording, start = spoken.recording, spoken.cut_start + _seconds(spoken.supervision, "start")
    end = start + _seconds(spoken.supervision, "duration")
    lasts = _seconds(recording, "duration")
    name = spoken.supervision.get("id")
    if end > lasts + _SLACK_S:
        raise ValueError(
            f"supervision {name!r} ends at {end:.2f} s, but recording {recording['id']!r} lasts {lasts:.2f} s: correct "
            "one of them."
        )
    if not -_SLACK_S < start < end:
        raise ValueError(
            f"supervision {name!r} goes from {start:g} s to {end:g} s: it must begin at 0 or later, and end after that."
        )
    return max(start, 0.0), end, lasts


def _seconds(one: dict, name: str) -> float:
    value = one.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the {name} {value!r} of {one.get('id')!r} must be a number of seconds.")
    return float(value)


def _placed(path: str, folder: Path) -> str:
    """A file as seen from the manifest's folder or one above it: recipes write paths as seen from where they ran."""
    for base in [folder, *folder.parents][:_ABOVE]:
        if os.path.isfile(base / path):
            return str(base / path)
    return path
