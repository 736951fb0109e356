"""What a comparison of groups is called, and which groups a name stands for: the one place that knows how to read it.

A contrast is a name, such as "child vs adult", because tables are filtered by it and people read it. A group may be
called anything, "vs" and "all others" too; so what a recorded name has in common with the words between and beside the
groups is marked, in the name of the contrast alone, by a word joiner, which nobody sees.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fairlib.corpora import groups_by

ALL_OTHERS = "all others"  # the other side, where there are more than two groups

# Contrasts over all groups at once, given where there are more than two.
WORST, BETWEEN = "worst vs best", "between groups"

SCALE_WORDS = {"difference": "difference", "ratio": "ratio", "log_odds": "log odds ratio"}  # what each is called

_MARK = "\N{WORD JOINER}"


def contrast_name(group: str, other: str | None = None) -> str:
    """Name of the contrast of a group with another one, or with all others.

    Example:
        >>> contrast_name("child", "adult"), contrast_name("child")
        ('child vs adult', 'child vs all others')
    """
    name = f"{_marked(group)} vs {ALL_OTHERS if other is None else _marked(other)}"
    return name + _MARK if name == WORST else name


def contrast_groups(contrast: str) -> tuple[str, str | None]:
    """The group, and the other one, of a contrast's name; None stands for all others.

    Example:
        >>> contrast_groups("child vs adult"), contrast_groups("child vs all others")
        (('child', 'adult'), ('child', None))
        >>> contrast_groups(contrast_name("a vs b", "all others"))
        ('a vs b', 'all others')
    """
    first, _, second = contrast.partition(" vs ")
    return first.replace(_MARK, ""), None if second in ("", ALL_OTHERS) else second.replace(_MARK, "")


def _marked(group: str) -> str:
    group = re.sub(r"(?<!\S)vs(?!\S)", f"vs{_MARK}", group)
    return group + _MARK if group == ALL_OTHERS else group


def people(by: str, group: str) -> str:
    """What to call the speakers of a group: people, named by what the corpus records.

    Example:
        >>> people("age_group", "child"), people("accent", "scottish"), people("sex", "other")
        ('children', 'speakers with accent “scottish”', 'speakers with sex “other”')
    """
    known = groups_by(by)
    named = (groups.people[group] for groups in known if group in groups.people)
    others = (groups.otherwise.format(group) for groups in known if groups.otherwise)
    return next(named, None) or next(others, f"speakers with {by.replace('_', ' ')} “{group}”")


def sides(by: str, contrast: str) -> tuple[str, str]:
    """What to call the people on either side of a contrast.

    Example:
        >>> sides("age_group", "child vs adult"), sides("sex", "other vs all others")
        (('children', 'adults'), ('speakers with sex “other”', 'all other speakers'))
    """
    first, second = contrast_groups(contrast)
    return people(by, first), "all other speakers" if second is None else people(by, second)


def counted(by: str, contrast: str, sizes: Sequence[int]) -> list[str]:
    """The people on either side of a contrast, with their number.

    Example:
        >>> counted("age_group", "child vs adult", [122, 128]), counted("accent", "scottish vs all others", [30, 1])
        (['122 children', '128 adults'], ['30 speakers with accent “scottish”', '1 other speaker'])
        >>> counted("accent", "scottish vs irish", [30, 20])
        ['30 speakers with accent “scottish”', '20 with accent “irish”']
    """
    named = [name.removeprefix("all ") for name in sides(by, contrast)]
    if all(name.startswith("speakers ") for name in named) and sizes[1] != 1:  # said once
        named[1] = named[1].removeprefix("speakers ")
    return [f"{size} {name}" if size != 1 else _one(name) for size, name in zip(sizes, named, strict=True)]


def _one(several: str) -> str:
    """One of some people.

    Example:
        >>> _one("speakers with accent “scottish”"), _one("children")
        ('1 speaker with accent “scottish”', '1 speaker (children)')
    """
    noun = re.match(r"(other )?speakers\b", several)
    return f"1 {several[: noun.end() - 1]}{several[noun.end() :]}" if noun else f"1 speaker ({several})"
