"""A corpus checked before anything is computed from it: who is in it, what is unusual, what can be asked of whom."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from fairlib.base.files import cache_folder, write_text
from fairlib.base.tasks import TASKS
from fairlib.corpora.audio import audio_faults
from fairlib.corpora.handed_over import as_corpus
from fairlib.corpora.splits import halves
from fairlib.corpora.table import CorpusError, CorpusWarning, speaker_columns

LEAST_UTTERANCES = 4  # of a speaker, for identification
LEAST_PEOPLE = 5  # in a group; fewer are described and not judged

_VERSION = 1  # of what `audio_faults` and `_copies` find
_NAMED = 3  # of many, so many are named


@dataclass(frozen=True)
class CorpusCheck:
    """What was found in a corpus.

    Attributes:
        table: what was looked over.
        people: one row a speaker: what is recorded of them, ``utterances, seconds, transcribed`` (utterances).
        remarks: what loading it had to say, one sentence each.
        unreadable: utterances that cannot be used at all, one sentence each.
        faults: ``utterance_id, speaker_id, fault``: audio that is short, silent, clipped, copied ...
        untranscribed, with_digits: utterances without a text, and with figures in it.
        left_out: by task, the speakers or utterances that it will leave out, in words.
        impossible: by task, why it cannot be asked at all.
    """

    table: pd.DataFrame
    people: pd.DataFrame
    remarks: list[str]
    unreadable: list[str]
    faults: pd.DataFrame
    untranscribed: int
    with_digits: int
    left_out: dict[str, str]
    impossible: dict[str, str]

    @property
    def corpus(self) -> str:
        """Its name."""
        return str(self.table["corpus"].iloc[0])

    @property
    def groups(self) -> pd.DataFrame:
        """``by, group, speakers, utterances, hours``; the group of those of whom nothing is recorded is missing."""
        tables = []
        for column in speaker_columns(self.people):
            if column != "age":
                sums = self.people.groupby(column, dropna=False)[["utterances", "seconds"]].sum()
                sizes = self.people.groupby(column, dropna=False).size()
                table = sums.assign(speakers=sizes, hours=sums["seconds"] / 3600).rename_axis("group").reset_index()
                tables.append(table.assign(by=column)[["by", "group", "speakers", "utterances", "hours"]])
        columns = ["by", "group", "speakers", "utterances", "hours"]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def check_corpus(corpus: str | Path | pd.DataFrame) -> CorpusCheck:
    """Look a corpus over: its table, and once, kept in the cache, all of its audio.

    Args:
        corpus: a name, a list or folder of one's own, or a corpus table.

    Raises:
        CorpusError: there is no such corpus, or no utterance of it can be read.

    Example:
        >>> check_corpus("voices.csv").impossible  # doctest: +SKIP
        {'speech recognition': 'no utterance has a transcript', 'phone classification': 'no utterance has a transcript'}
    """
    return _checked(*_load(corpus))


def _checked(table: pd.DataFrame, remarks: list[str], unreadable: list[str]) -> CorpusCheck:
    faults = _faults(table)
    refused = faults["refused"] if len(faults) else pd.Series(dtype=bool)
    unreadable = [*unreadable, *faults.loc[refused, "fault"]] if refused.any() else unreadable
    text = table["text"].fillna("").str.strip()
    by_speaker = table.groupby("speaker_id")
    known = [column for column in speaker_columns(table) if table[column].notna().any()]
    people = by_speaker[known].first()
    people["utterances"], people["seconds"] = by_speaker.size(), by_speaker["duration_s"].sum()
    people["transcribed"] = (text != "").groupby(table["speaker_id"]).sum()
    left_out, impossible = _askable(table, people)
    return CorpusCheck(
        table=table,
        people=people,
        remarks=remarks,
        unreadable=unreadable,
        faults=faults[~refused].drop(columns="refused") if len(faults) else faults,
        untranscribed=int((text == "").sum()),
        with_digits=int(text.str.contains(r"\d").sum()),
        left_out=left_out,
        impossible=impossible,
    )


def _load(corpus: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    from fairlib.corpora import load_corpus

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        if isinstance(corpus, pd.DataFrame):
            table, unreadable = as_corpus(corpus), []
        else:
            table = load_corpus(str(corpus), on_error="skip")
            unreadable = list(table.attrs["skipped"])
        if table["speaker_id"].nunique() > 1:
            halves(table)  # for what it has to say
    said = [str(one.message) for one in seen if issubclass(one.category, CorpusWarning)]
    prefix = f"Corpus {table['corpus'].iloc[0]!r}: "
    return table, [one.removeprefix(prefix) for one in said if "corpus.attrs" not in one], unreadable


def _askable(table: pd.DataFrame, people: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    from fairlib.findings.questions import reasons_against

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorpusWarning)
        impossible = {task: why for task, why in reasons_against(table).items() if why}
    few = people["utterances"] < LEAST_UTTERANCES
    silent = int((people["utterances"] - people["transcribed"]).sum())
    left_out = {}
    if (~few).sum() < 2:
        left_out["sid"] = f"all speakers, as none has {LEAST_UTTERANCES} utterances; verification is used instead"
    elif few.any():
        left_out["sid"] = f"{_count(few.sum(), 'speaker')} with fewer than {LEAST_UTTERANCES} utterances"
    if silent:
        left_out |= dict.fromkeys(["asr", "phone"], f"{_count(silent, 'utterance')} without a transcript")
    left_out = {TASKS[task].title: who for task, who in left_out.items() if task not in impossible}
    return left_out, {TASKS[task].title: why for task, why in impossible.items()}


# ---- audio ----


def _faults(table: pd.DataFrame) -> pd.DataFrame:
    """Faults of every file, measured once for files of these sizes and times of change."""
    paths = table["path"].tolist()
    states = [os.stat(path) if os.path.exists(path) else None for path in paths]
    sizes = [state.st_size if state else 0 for state in states]
    lines = [f"{path} {state and (state.st_size, state.st_mtime_ns)}" for path, state in zip(paths, states)]
    digest = hashlib.sha256("\n".join([str(_VERSION), *lines]).encode()).hexdigest()
    kept = cache_folder() / "checks" / f"{digest[:24]}.json"
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = _listened(paths) + _copies(zip(paths, sizes))
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(found))
    speakers, ids = table["speaker_id"].tolist(), table["utterance_id"].tolist()
    rows = []
    for row, fault, original in found:
        if original is not None:
            whose = "the same speaker" if speakers[original] == speakers[row] else f"speaker {speakers[original]}"
            fault = f"a copy of {ids[original]} of {whose}"
        refused = original is None and paths[row] in fault
        rows.append({"utterance_id": ids[row], "speaker_id": speakers[row], "fault": fault, "refused": refused})
    return pd.DataFrame(rows, columns=["utterance_id", "speaker_id", "fault", "refused"])


def _listened(paths: list[str]) -> list[tuple[int, str, None]]:
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        faults = pool.map(audio_faults, paths)
        # Two cores take a quarter of a minute for five hours of speech; nothing is drawn where nobody watches.
        quiet = not sys.stderr.isatty()
        bar = tqdm(faults, total=len(paths), desc="reading every file", delay=5, disable=quiet, leave=False)
        return [(row, fault, None) for row, found in enumerate(bar) for fault in found]


def _copies(files: Iterable[tuple[str, int]]) -> list[tuple[int, str, int]]:
    """Files with the bytes of an earlier one, and which; only those of equal sizes are read."""
    rows: dict[int, list[int]] = {}
    paths = []
    for row, (path, size) in enumerate(files):
        rows.setdefault(size, []).append(row)
        paths.append(path)
    found: list[tuple[int, str, int]] = []
    first: dict[bytes, int] = {}
    for size, same in rows.items():
        for row in same if len(same) > 1 and size else ():
            with open(paths[row], "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            if (original := first.setdefault(digest, row)) != row:
                found.append((row, "", original))
    return found


# ---- in words ----


def warnings_of(check: CorpusCheck) -> list[str]:
    """What somebody should know before a run, one sentence each; empty where nothing is odd.

    Example:
        >>> warnings_of(check_corpus("voices.csv"))  # doctest: +SKIP
        ['2 audio files are odd: silent throughout (a/1), a copy of a/0 of speaker a (b/0).']
    """
    told = list(check.remarks)
    if len(check.faults):
        kinds: dict[str, list[str]] = {}
        for fault in check.faults.itertuples(index=False):
            kinds.setdefault(fault.fault.split(" (")[0].split(" of ")[0], []).append(fault.utterance_id)
        parts = [f"{kind}: {_first(ids)}" for kind, ids in kinds.items()]
        copied = check.faults["fault"].str.contains(" of speaker ")
        also = ""
        if copied.any():
            one = check.faults[copied].iloc[0]
            also = f" Under two speakers: {one.utterance_id} of {one.speaker_id} is {one.fault}."
        files = check.faults["utterance_id"].nunique()
        told.append(f"{_count(files, 'audio file')} should be checked. {_capital('; '.join(parts))}.{also}")
    told += [f"{_capital(task)} leaves out {who}." for task, who in check.left_out.items()]
    told += [f"{_capital(task)} cannot be run: {why}" for task, why in check.impossible.items()]
    groups = check.groups.dropna(subset="group")
    if not (groups[groups["speakers"] > 1].groupby("by").size() > 1).any():
        told.append("Groups cannot be compared: no column has two groups of at least two speakers.")
    few = groups[groups["speakers"] < LEAST_PEOPLE]
    if len(few):
        names = [f"{row.by} {row.group} ({row.speakers})" for row in few.itertuples(index=False)]
        told.append(f"Groups of fewer than {LEAST_PEOPLE} speakers are described but not judged: {_first(names)}.")
    return told


def written(check: CorpusCheck, chapters: Mapping[str, str] | None = None) -> str:
    """A check as text, to be read on a terminal.

    Args:
        chapters: from `of_chapters`.
    """
    people, each = check.people, check.people["utterances"]
    lines = [
        f"{check.corpus}: {_count(len(people), 'speaker')}, {_count(each.sum(), 'utterance')}, "
        f"{people['seconds'].sum() / 3600:.1f} h; {each.min()} to {each.max()} utterances a speaker (median "
        f"{each.median():.0f})"
    ]
    groups = check.groups
    for column in dict.fromkeys(groups["by"]):
        mine = groups[groups["by"] == column]
        known = mine.dropna(subset="group").sort_values("speakers", ascending=False, kind="stable")
        names = [f"{row.group} {row.speakers}" for row in known.head(12).itertuples(index=False)]
        names += [f"and {len(known) - 12} more groups"] if len(known) > 12 else []
        unknown = int(mine.loc[mine["group"].isna(), "speakers"].sum())
        names += [f"not recorded {unknown}"] if unknown else []
        lines.append(f"  {column:16}{', '.join(names)}")
    if "age" in people:
        known = people["age"].dropna()
        ages = f"{known.min():.0f} to {known.max():.0f} years" if len(known) else "not recorded"
        lines.append(f"  {'age':16}{ages}, not recorded {people['age'].isna().sum()}")
    text = "complete" if not check.untranscribed else f"{check.untranscribed:,} of {each.sum():,} missing"
    lines.append(f"  {'transcripts':16}{text}" + (f", {check.with_digits:,} with digits" * bool(check.with_digits)))
    if check.unreadable:
        lines.append(f"Cannot be read: {_count(len(check.unreadable), 'utterance')}")
        lines += [f"  {sentence}" for sentence in check.unreadable[:_NAMED]]
    told = warnings_of(check)
    lines += ["To check:", *(f"  {sentence}" for sentence in told)] if told else ["Nothing unusual."]
    if chapters:
        lines.append("Chapters:")
        lines += [f"  {name:26}{sentence}" for name, sentence in chapters.items()]
    return "\n".join(lines)


def of_chapters(check: CorpusCheck) -> dict[str, str]:
    """Which chapters can be run on a corpus, by which columns, and what each leaves out; a sentence each, by name."""
    from fairlib.book.chapters import chapters
    from fairlib.findings.questions import DESCRIBES, refusal

    divided = [by for by, mine in check.groups.dropna(subset="group").groupby("by", sort=False) if len(mine) > 1]
    told = {}
    for name, chapter in chapters().items():
        tasks = [chapter.task] if chapter.task else list(chapter.tasks)
        compares = "group" in chapter.parameters.model_fields
        columns = divided if compares else [""]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorpusWarning)
            against = {by: refusal(name, tasks, check.corpus, by, check.table) for by in columns}
        possible = [by for by, why in against.items() if not why]
        if not tasks:
            told[name] = "runs; it reads no corpus"
        elif not possible:
            why = next(iter(against.values()), "no column divides the speakers into groups")
            told[name] = f"cannot be run: {why}"
        else:
            told[name] = "describes it" if name in DESCRIBES else "runs"
            told[name] += f" by {', '.join(possible)}" if compares else ""
            asked = [TASKS[task].title for task in chapter.tasks]
            lacking = [task for task in asked if task in check.impossible]
            told[name] += f"; without {' and '.join(lacking)}" if lacking else ""
            told[name] += "".join(
                f"; {task} leaves out {check.left_out[task]}" for task in asked if task in check.left_out
            )
    return told


def look_over(corpus: str) -> pd.DataFrame:
    """A corpus's table, after what a run does first: say on standard error what is odd about it, once a process.

    Raises:
        CorpusError: there is no such corpus, or files of it cannot be read; one sentence.
    """
    table, remarks, unreadable = _load(corpus)
    check = _checked(table, remarks, unreadable)
    if check.unreadable:
        raise CorpusError(
            f"{_count(len(check.unreadable), 'utterance')} of {corpus} cannot be read; the first: {check.unreadable[0]}"
        )
    for sentence in warnings_of(check):
        if (check.corpus, sentence) not in _said:
            _said.add((check.corpus, sentence))
            print(f"{check.corpus}: {sentence}", file=sys.stderr)
    return table


_said: set[tuple[str, str]] = set()


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _first(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    shown = ", ".join(str(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
