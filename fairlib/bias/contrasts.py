"""What a comparison of groups is called, and which groups a name stands for: the one place that knows how to read it.

A contrast is a name, such as "child vs adult", because tables are filtered by it and people read it. A group may be
called anything, "vs" and "all others" too; so what a recorded name has in common with the words between and beside the
groups is marked, in the name of the contrast alone, by a word joiner, which nobody sees.
"""

from __future__ import annotations

import re

ALL_OTHERS = "all others"  # the other side, where there are more than two groups

# Contrasts over all groups at once, given where there are more than two.
WORST, BETWEEN = "worst vs best", "between groups"

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
