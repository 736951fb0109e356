"""What the files of published corpora share: each says which rows its layout holds, the rest is done here.

A corpus's ``rows(folder)`` yields a dictionary for each utterance: ``utterance_id, audio`` (where the list says that it
lies; any extension will do), ``where`` (the list, for complaints), ``speaker_id``, and as far as the corpus has them
``text, split``, columns of its speakers, and ``start`` and ``end`` in a long recording. A text in the place of a
dictionary is what is wrong with an utterance.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora.corpus import SPEAKER_COLUMNS, Corpus
from fairlib.corpora.table import AudioFinder, CorpusError, CorpusWarning, Problems, find_root, finish_table, read_lines

if TYPE_CHECKING:
    import pandas as pd

SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}
NO_SPEAKERS = (
    "it has no speaker ids, so each utterance counts as a person: speakers cannot be identified, and intervals are too"
    " narrow, for one person's utterances are taken for several people's."
)
Rows = Callable[[Path], Iterator["dict | str"]]


def published(rows: Rows, says: str = "", **about) -> Corpus:
    """The `Corpus` whose rows these are, loaded as every other one.

    Args:
        rows: reads its lists; opens no audio.
        says: a warning to whoever loads it.
        about: the fields of `Corpus`.
    """

    def load(root: str | Path | None = None, on_error: str = "raise") -> pd.DataFrame:
        from fairlib.corpora.segments import cut_segments

        problems, audio, found = Problems(on_error), AudioFinder(), []
        folder, odd = find_root(corpus, root), list[str]()
        for row in _in_words(rows(folder), folder):
            with problems.per_utterance():
                if isinstance(row, str):
                    raise CorpusError(row)
                path = audio.find(row.pop("audio"), row.pop("where"))
                if "sex" in row:
                    row["sex"] = SEX.get(str(row["sex"]).strip().casefold(), row["sex"])
                if "age" in row:
                    row["age"] = _years(row["age"], odd)
                found.append({"text": None, "split": None} | row | {"path": path})
        table = finish_table(cut_segments(found, problems), corpus.name, _recorded(found), problems)
        if odd:
            shown = ", ".join(map(repr, sorted(set(odd))[:5]))
            warnings.warn(
                f"Corpus {corpus.name!r}: Ages that cannot be are taken as not recorded: {shown} ({len(odd):,} "
                "utterances).",
                CorpusWarning,
                stacklevel=3,
            )
        if says:
            warnings.warn(f"Corpus {corpus.name!r}: {says}", CorpusWarning, stacklevel=3)
        return table

    corpus = Corpus(load=load, **about)
    return corpus


def _in_words(rows: Iterator[dict | str], folder: Path) -> Iterator[dict | str]:
    """The rows; a line that is not as the layout has it ends them with a sentence, not with Python's own complaint."""
    try:
        yield from rows
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # text where an object should be, and so on
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(
            f"{folder}: a list is not as its publisher has it ({error}): fetch it again, or correct that line."
        ) from None


def _recorded(rows: list[dict]) -> tuple[str, ...]:
    return tuple(column for column in SPEAKER_COLUMNS if any(column in row for row in rows))


def _years(age: object, odd: list[str]) -> float | None:
    """An age in years; what is no number is not recorded, what cannot be one is so too and is noted."""
    try:
        years = float(str(age))
    except ValueError:
        return None
    if not 0 < years < 120:
        odd.append(str(age))
        return None
    return years


def read_table(path: Path, needed: tuple[str, ...], separator: str = "\t") -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a list with a first line of names: where each stands, and its values by name; "" where it ends early.

    Quotation marks quote in a list with commas, and are letters in one with tabs.

    Raises:
        CorpusError: the list is missing or lacks a column.
    """
    lines = read_lines(path)
    reader = csv.reader(
        (f"{line}\n" for _, line in lines),  # within quotation marks, a line's end parts two words
        delimiter=separator,
        quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
    )
    names = [name.strip() for name in next(reader, [])]
    for name in needed:
        if name not in names:
            raise CorpusError(
                f"{path} has no column {name!r} in its first line, only {', '.join(map(repr, names))}: fetch it again."
            )
    for fields in reader:
        where = f"{path} line {lines[min(reader.line_num, len(lines)) - 1][0]}"
        yield where, {name: field.strip() for name, field in zip(names, [*fields, *[""] * len(names)])}


def read_json(path: Path) -> dict[str, dict]:
    """A list in JSON: by name (of an utterance, or of a speaker), what it says of it.

    Raises:
        CorpusError: it is missing, or something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise CorpusError(f"{path} is not there: unpack the corpus as its publisher packed it.") from None
    except ValueError as error:
        raise CorpusError(f"{path} is no JSON ({error}): fetch it again.") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise CorpusError(f"{path} is not a JSON object of objects, by name: fetch it again.")
    return found


def require(folder: Path, *names: str) -> Path:
    """The first of these paths in a folder that is there.

    Raises:
        CorpusError: none is.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise CorpusError(f"{folder} has no {' or '.join(names)}: unpack the corpus there as its publisher packed it.")


def below(folder: Path, ending: str | tuple[str, ...]) -> list[Path]:
    """All files in a folder and the folders in it whose names end so, in any capitals, in order."""
    return sorted(path for path in folder.rglob("*") if path.name.casefold().endswith(ending) and path.is_file())
