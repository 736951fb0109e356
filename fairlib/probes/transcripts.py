"""A corpus's transcripts: which can be used, what was altered, and who is left out where words are needed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fairlib.corpora import speaker_columns
from fairlib.probes.text import base_code, plain_text, read_text

# Of what a transcript becomes that holds more than English letters and punctuation: part of its outcomes' key.
VERSION = 2
FOREIGN = "another language than English"
_MOST_GROUPS = 20  # counted one by one


@dataclass(frozen=True)
class Transcripts:
    """The plain text of each utterance of a corpus, empty where it cannot be used."""

    texts: list[str]
    left_out: dict = field(default_factory=dict)  # what outcomes remember: how many, why, and of which speaker groups


def transcripts(table: pd.DataFrame, english: bool = False) -> Transcripts:
    """Read a corpus's transcripts, and warn of those that cannot be used and of what was altered.

    Each is read in its language, where the corpus has a column ``language``, else as English.

    Args:
        english: other languages cannot be used.

    Example:
        >>> table = pd.DataFrame({"corpus": "mine", "utterance_id": ["a", "b"], "text": ["Hello!", None]})
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     transcripts(table)
        Transcripts(texts=['HELLO', ''], left_out={'utterances': 1, 'of': 2, 'because': {'no transcript': 1}, 'by': {}})
    """
    languages = _languages(table)
    read = [read_text(text, language) for text, language in zip(table["text"], languages)]
    if english:
        foreign = [base_code(language) not in ("en", "") for language in languages]
        read = [("", FOREIGN) if plain and other else (plain, why) for (plain, why), other in zip(read, foreign)]
    name, texts = str(table["corpus"].iloc[0]), [plain for plain, _ in read]
    _warn_of_alterations(table, name, texts)
    reasons = Counter(why for _, why in read if why)
    if not reasons:
        return Transcripts(texts)
    unusable = np.array([not plain for plain in texts])
    return Transcripts(texts, _left_out(table, name, unusable, reasons))


def _languages(table: pd.DataFrame) -> list[str]:
    return table["language"].fillna("").tolist() if "language" in table else ["en"] * len(table)


def _left_out(table: pd.DataFrame, name: str, unusable: np.ndarray, reasons: Counter) -> dict:
    by = {}
    for column in speaker_columns(table):
        if column != "age" and 0 < table[column].nunique() < _MOST_GROUPS:
            counts = pd.Series(unusable).groupby(table[column].to_numpy()).agg(["sum", "size"])
            by[column] = {str(group): [int(row["sum"]), int(row["size"])] for group, row in counts.iterrows()}
    first = table.iloc[int(np.flatnonzero(unusable)[0])]
    groups = [
        f"by {column}: " + ", ".join(f"{some} of {size} {group}" for group, (some, size) in counts.items() if some)
        for column, counts in by.items()
        if any(some for some, _ in counts.values())
    ]
    why = ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common())
    warnings.warn(
        f"{unusable.sum()} of {len(table)} utterances of corpus {name!r} are left out where their words are needed: "
        f"{'; '.join([why, *groups])} (the first: {first['utterance_id']}, {_shown(first['text'])}).",
        stacklevel=4,
    )
    return {"utterances": int(unusable.sum()), "of": len(table), "because": dict(reasons.most_common()), "by": by}


def _warn_of_alterations(table: pd.DataFrame, name: str, texts: list[str]) -> None:
    def warn(found: list[str], what: str) -> None:
        if found:
            count = f"{len(found)} time{'s' * (len(found) > 1)}, first in {_shown(found[0])}"
            warnings.warn(f"Transcripts of corpus {name!r}: {what} ({count}).", stacklevel=5)

    usable = [(str(text), plain) for text, plain in zip(table["text"], texts) if plain]
    unknown = "language" not in table
    how = "spelled out in English" if unknown else "spelled out"
    numbers = [text for text, _ in usable if re.search(r"\d", text)]
    warn(numbers, f"numbers are {how}, and may have been said otherwise")
    if unknown:
        accented = [text for text, plain in usable if not text.isascii() and plain_text(text, "") not in ("", plain)]
        warn(accented, "accents are removed, as in English, for want of a column language (a code such as fr)")
    mixed = [word for _, plain in usable for word in plain.split() if len(_alphabets(word)) > 1]
    warn(mixed, "words mix Latin, Greek or Cyrillic letters, which look alike and count as different ones")


def _alphabets(word: str) -> set[str]:
    if word.isascii():
        return set()
    return {unicodedata.name(c, "").split(" ")[0] for c in word} & {"LATIN", "CYRILLIC", "GREEK"}


def _shown(text) -> str:
    return "without a text" if not isinstance(text, str) else repr(text if len(text) < 60 else text[:57] + "...")


def text_version(table: pd.DataFrame) -> str:
    """What outcomes from these transcripts depend on beyond them: the version of their reading, and their languages.

    Empty where all are of English letters and punctuation, of which every version makes the same words.

    Example:
        >>> text_version(pd.DataFrame({"text": ["It's fine."]})), text_version(pd.DataFrame({"text": ["48"]}))
        ('', '2')
    """
    if "language" in table:
        named = "\n".join(sorted(table["utterance_id"] + "\t" + table["language"].fillna("")))
        return f"{VERSION}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    plain = table["text"].fillna("").astype(str).str.fullmatch(r"[A-Za-z' .,;:?!\"-]*")
    return "" if plain.all() else str(VERSION)
