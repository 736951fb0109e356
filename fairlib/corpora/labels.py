"""What is recorded of speakers, checked in one place: types, spellings, missing values, and speakers with two answers.

Every corpus table passes through `settle`, whoever made it. What cannot matter is made alike (Unicode forms, invisible
characters, spaces); what may matter is left as it is and said; a value that is altered or left out is counted and said.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from fairlib.corpora.corpus import SPEAKER_COLUMNS

MOST_NUMBERS = 20  # more numbers than these, or decimals, are a measure (a height, a score) and not names of groups

# Soft hyphen, zero-width space, word joiner, byte order mark, marks of direction. Not the joiners, which spell words in
# Persian and in Indic scripts.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e"))
_INVISIBLE |= dict.fromkeys(range(0x2066, 0x206A))
_NOT_RECORDED = set(
    "n/a|n.a|na|nan|nat|null|nil|unk|unknown|unkown|not known|missing|undefined|undetermined|undisclosed|unspecified|"
    "unanswered|not specified|not recorded|not available|not applicable|not given|not stated|not provided|not reported|"
    "not disclosed|not answered|no answer|no response|no data|no information|prefer not to say|prefer not to answer|"
    "prefer not to disclose|prefer not to state|rather not say|do not wish to say|don't know|do not know|declined|"
    "decline to answer|decline to state|refused|withheld|keine angabe|k.a|unbekannt|inconnu|desconocido|desconhecido|"
    "sconosciuto|onbekend|неизвестно|不明|未知".split("|")
)
_LONGEST = 40  # letters of a label in which one letter more or less is looked for: sentences are nobody's group
# One word and its usual short forms; written in two ways they are most likely one group of people.
_SAME = ({"f", "female", "woman", "women", "female_feminine"}, {"m", "male", "man", "men", "male_masculine"})

_SAYS: Mapping[str, str] = {
    "utterances": "{} differs within a speaker for half of the speakers or more, so it describes utterances and is left"
    " out.",
    "bands": "{}.",
    "numbers": "{}: numbers, and no groups of people; to compare by them, add a column of bands.",
    "missing": "Taken as not recorded: {}; give another name to what is a group of people.",
    "none": "{}: it stays a group; leave the cell empty where nothing was recorded.",
    "merged": "Spellings that look the same are one group: {}.",
    "alike": "Groups that may be the same people's: {}; write them alike if they are.",
    "answers": "Speakers with more than one answer are left out of that column: {}.",
}


def tidy(label: str) -> str:
    """A label without what cannot be seen: composed letters (NFC), single plain spaces, no invisible characters.

    Example:
        >>> tidy(" new\\u00a0 yo\\u00adrk\\u200b"), tidy("Zu\\u0308rich")
        ('new york', 'Zürich')
    """
    return " ".join(unicodedata.normalize("NFC", label.translate(_INVISIBLE)).split())


def not_recorded(label: str) -> bool:
    """Whether a label spells out that nothing was recorded.

    Example:
        >>> [label for label in ("N/A", "-", "?", "prefer_not_to_say", "none", "other", "+") if not_recorded(label)]
        ['N/A', '-', '?', 'prefer_not_to_say']
    """
    word = " ".join(label.casefold().replace("_", " ").replace("’", "'").strip("<>()[]#.'\" ").split())
    return word.removeprefix("i ").rstrip(".!") in _NOT_RECORDED or not label.strip("-–—?./_*…#'\" ")


def alike(groups: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of one column that may be one: in upper and lower case, with a letter more or less, written in short.

    Example:
        >>> alike(["female", "Female", "M", "male", "forties", "fourties", "north", "south", "region 1", "region 2"])
        [('Female', 'female'), ('M', 'male'), ('forties', 'fourties')]
    """
    names = sorted(set(groups))
    # Only labels that share a trace are compared: of thousands (people's own words), all pairs would take minutes.
    sharing: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        for trace in _traces(name):
            sharing[trace].append(place)
    letters = [place for place, name in enumerate(names) if len(name) == 1]
    near = {pair for places in sharing.values() for pair in combinations(places, 2)}
    near |= {(min(letter, place), max(letter, place)) for letter in letters for place in range(len(names))}
    found: dict = {}
    for one, other in ((names[one], names[other]) for one, other in sorted(near) if one != other):
        if _may_be_one(one, other):
            found.setdefault(one, [one]).append(other)
    return [tuple(names) for names in found.values()]


def _traces(label: str) -> set[str]:
    """Of two labels that may be one (a single letter and a word aside), at least one trace is the same."""
    word = label.casefold()
    in_short = {f"={place}" for place, words in enumerate(_SAME) if word in words}
    slips = 5 <= len(word) <= _LONGEST and not any(c.isdigit() for c in word)
    return {_plain(word), word, *in_short, *(word[:at] + word[at + 1 :] for at in range(slips * len(word)))}


def _may_be_one(one: str, other: str) -> bool:
    short, long = sorted((one.casefold(), other.casefold()), key=len)
    if _plain(short) == _plain(long) or any({short, long} <= words for words in _SAME):
        return True
    if len(short) == 1:
        return short.isalpha() and len(long) > 2 and long[0] == short
    if len(short) < 5 or len(long) - len(short) > 1 or any(c.isdigit() for c in short + long):
        return False
    ahead = next((i for i, (a, b) in enumerate(zip(short, long)) if a != b), len(short))
    rest_short, rest_long = short[ahead:], long[ahead:]
    if len(short) < len(long):
        return rest_short == rest_long[1:]
    return rest_short[1:] == rest_long[1:] or (rest_short[1::-1], rest_short[2:]) == (rest_long[:2], rest_long[2:])


def _plain(label: str) -> str:
    if any(c.isdigit() for c in label):  # "6-9" is not "69"
        return label
    letters = unicodedata.normalize("NFKD", label)
    return "".join(c for c in letters if c.isalnum() or unicodedata.category(c) in ("Mc", "Mn") and ord(c) > 0x36F)


def settle(table: pd.DataFrame, columns: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """Check what a corpus table records of its speakers, once for all who use it.

    A column becomes text, or numbers where it holds more numbers than could be groups. Where speakers have an answer in
    some utterances, it holds for all of theirs; those with two answers have none. A column that differs within half of
    the speakers describes utterances and is left out, unless it is one of `SPEAKER_COLUMNS`.

    Args:
        table: with a column speaker_id.
        columns: those that describe speakers.

    Returns:
        The table, and what was altered or should be looked at, one sentence for each kind.

    Example:
        >>> people = pd.DataFrame({"speaker_id": list("aabb"), "region": ["north", None, "N/A", "n/a"]})
        >>> settled, remarks = settle(people, ["region"])
        >>> settled["region"].fillna("").tolist()
        ['north', 'north', '', '']
        >>> print(*remarks)
        Taken as not recorded: region “N/A” and “n/a” (1 speaker); give another name to what is a group of people.
    """
    told: dict[str, list[str]] = defaultdict(list)
    settled = {}
    for column in columns:
        values = _settled(column, table["speaker_id"], table[column], told)
        settled[column] = values
    table = table.assign(**{name: values for name, values in settled.items() if values is not None})
    table = table.drop(columns=[name for name, values in settled.items() if values is None])
    return table, [_SAYS[kind].format("; ".join(parts)) for kind, parts in told.items()]


def _settled(column: str, speakers: pd.Series, recorded: pd.Series, told: dict) -> pd.Series | None:
    """One column, checked; None where it describes utterances."""
    if column == "age" and pd.api.types.is_numeric_dtype(recorded):
        values, labels = recorded.astype("float64"), None
    else:
        values = labels = _labels(column, speakers, recorded, told)
        if is_measure(labels):
            values, labels = pd.to_numeric(labels), None
            told["numbers"].append(f"{column} ({values.nunique()} different)")
    answers = pd.DataFrame({"speaker_id": speakers.to_numpy(), "answer": values.to_numpy()}).dropna()
    several = answers.groupby("speaker_id").size()
    answers = answers.drop_duplicates()
    counts = answers.groupby("speaker_id").size()
    twice = counts.index[counts > 1]
    if len(twice) and column not in SPEAKER_COLUMNS and 2 * len(twice) >= (several > 1).sum():
        told["utterances"].append(column)
        return None
    if len(twice):
        told["answers"].append(f"{column} of {two_answers(answers, list(twice))}")
        answers = answers[~answers["speaker_id"].isin(twice)]
    of_speaker = answers.set_index("speaker_id")["answer"]
    if labels is not None:
        _look_at(column, of_speaker, told)
    settled = speakers.map(of_speaker)
    return settled.astype("str" if labels is not None else "float64")


def two_answers(answers: pd.DataFrame, speakers: list[str]) -> str:
    """Speakers and what they answered, in words, the first three by name.

    Args:
        answers: ``speaker_id, answer``, each pair once.

    Example:
        >>> two_answers(pd.DataFrame({"speaker_id": ["anna", "anna"], "answer": ["teens", "twenties"]}), ["anna"])
        'anna (teens, twenties)'
    """
    given = answers.groupby("speaker_id")["answer"].agg(lambda its: ", ".join(str(answer) for answer in its[:3]))
    named = [f"{name if len(name) < 24 else name[:20] + '…'} ({given[name]})" for name in speakers[:3]]
    return ", ".join(named) + (f" and {len(speakers) - 3} more" if len(speakers) > 3 else "")


def odd_speakers(speakers: pd.Series) -> list[str]:
    """What should be looked at in the speakers' names, one sentence for each kind.

    Args:
        speakers: of each utterance, tidied.

    Example:
        >>> print(*odd_speakers(pd.Series(["anna", "Anna", "NA", "NA"])), sep="\\n")
        Speakers that may be one person: anna and Anna; write their speaker_id alike if so.
        Speakers named as if it was not recorded who spoke, each taken for one person: NA (2 utterances); leave the \
        speaker_id empty if so.
    """
    told, spellings = [], dict[str, list[str]]()
    for speaker in speakers.unique():
        spellings.setdefault(speaker.casefold(), []).append(speaker)
    near = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    if near:
        told.append(f"Speakers that may be one person: {'; '.join(near[:5])}; write their speaker_id alike if so.")
    unknown = [speaker for speaker in speakers.unique() if not_recorded(speaker)]
    if unknown:
        count = int(speakers.isin(unknown).sum())
        told.append(
            "Speakers named as if it was not recorded who spoke, each taken for one person: "
            f"{' and '.join(unknown[:5])} ({count:,} utterance{'s' * (count > 1)}); leave the speaker_id empty if so."
        )
    return told


def _labels(column: str, speakers: pd.Series, recorded: pd.Series, told: dict) -> pd.Series:
    """A column as text, tidied and with missing values missing."""
    text = recorded.astype(object).map(as_text)
    clean = {label: tidy(label) for label in text.dropna().unique()}
    words = [label for label in clean.values() if not_recorded(label)]
    if words := sorted(set(words)):
        who = speakers[text.map(clean).isin(words)].nunique()
        told["missing"].append(f"{column} {_quoted(words)} ({_people(who)})")
    ways: dict[str, list[str]] = defaultdict(list)
    for label, name in clean.items():
        ways[name].append(label)
    merged = [name for name, labels in ways.items() if len(labels) > 1 and name not in words]
    if merged := [name for name in merged if len({label.strip() for label in ways[name]}) > 1]:
        told["merged"].append(f"{column} {_quoted(merged)}")
    # An empty label is as good as a missing one.
    return text.map({label: name for label, name in clean.items() if name and name not in words})


def _look_at(column: str, of_speaker: pd.Series, told: dict) -> None:
    groups = of_speaker.unique()
    for name in groups:
        if name.casefold() == "none":
            told["none"].append(f"{column} has {_quoted([name])} ({_people((of_speaker == name).sum())})")
    if pairs := alike(groups):
        told["alike"].append(f"{column} {', '.join(_quoted(names) for names in pairs[:5])}")


def as_text(value: object) -> str | None:
    """A single value as a CSV would hold it; missing and empty ones are None.

    Example:
        >>> as_text(3.0), as_text(True), as_text(float("nan")), as_text(" ")
        ('3', 'True', None, None)
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value) if str(value).strip() else None


def is_measure(values: pd.Series) -> bool:
    """Whether a column holds numbers that are no names of groups: decimals, or more than `MOST_NUMBERS` of them.

    Example:
        >>> is_measure(pd.Series(["1", "2", "2"])), is_measure(pd.Series([0.5, 1.0])), is_measure(pd.Series(["007"]))
        (False, True, False)
    """
    known = values.dropna()
    if known.dtype != object:  # in which 1 and True are the same
        known = known.drop_duplicates()
    known = known.map(as_text).dropna().unique()
    numbers = pd.to_numeric(pd.Series(known, dtype="object"), errors="coerce").to_numpy(float)
    if not len(known) or not np.isfinite(numbers).all() or any(re.match("[+-]?0[0-9]", label) for label in known):
        return False  # 007 is a name
    return len(known) > MOST_NUMBERS or not (numbers == numbers.round()).all()


def is_number(values: pd.Series) -> bool:
    """Whether a speaker column holds numbers that are compared by bands of them: ages, or a measure (`is_measure`).

    Example:
        >>> is_number(pd.Series([7, 8], name="age")), is_number(pd.Series(["6 to 9"], name="age"))
        (True, False)
    """
    return values.name == "age" and pd.api.types.is_numeric_dtype(values) or is_measure(values)


def read_ages(values: Iterable[str | None]) -> Callable[[str | None, str], float | None] | None:
    """How to read a column of ages: a function of a value and where it stands; None where it holds words or bands.

    Raises (the function):
        ValueError: a value is no number of years.

    Example:
        >>> read_ages(["7", None, "35.5", "n/a"])("35.5", "line 4")
        35.5
        >>> read_ages(["twenties", "60+"]) is None
        True
    """
    known = [value for value in values if value is not None and not not_recorded(value)]
    if known and not any(_number(value) is not None for value in known):
        return None
    return _age


def _age(value: str | None, where: str) -> float | None:
    if value is None or not_recorded(value):
        return None
    age = _number(value)
    if age is None or not 0 < age < 120:
        raise ValueError(
            f"{where}: the age {value!r} is no number of years between 0 and 120: correct it, leave it empty, or write "
            "bands such as 6-9 throughout."
        )
    return age


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _quoted(names: Iterable[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    shown = quoted[:6] + ([f"{len(quoted) - 6} more"] if len(quoted) > 6 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _people(count: int) -> str:
    return f"{count} speaker" + ("" if count == 1 else "s")
