"""The rules by which claims are judged, from a file of their own (``fairlib/assets/rules.toml``), whose history shows
when each was written."""

from __future__ import annotations

import tomllib
from datetime import date
from math import exp

from fairlib.files import ASSETS

RULES = ASSETS / "rules.toml"
_WRITTEN = tomllib.loads(RULES.read_text(encoding="utf-8"))
NUMBERS: dict[str, float] = _WRITTEN["numbers"]

# In log odds: gaps, and differences of gaps, that are shown to be smaller count as none.
MARGIN = NUMBERS["margin"]
FEWEST_JUDGED = int(NUMBERS["fewest_judged"])  # people on either side; of fewer nothing is judged


def rule(name: str) -> str:
    """A rule as the book states it: with its numbers, and when it was written.

    Example:
        >>> rule("depth").partition(" Rule of ")[2]
        '23 November 2026; written before its results were seen.'
    """
    written = _WRITTEN[name]
    text = written["rule"].format(**NUMBERS, least_ratio=exp(-MARGIN), most_ratio=exp(MARGIN))
    if written.get("people_counted", True):
        text += f" With fewer than {FEWEST_JUDGED} speakers on either side nothing is judged (inconclusive)."
    since = "" if written["first"] == written["written"] else f", revised from one of {_day(written['first'])}"
    if written.get("seen"):
        seen = "outcomes that it judges had been seen by then, so it is exploratory for the first edition's encoders"
    elif pilot := written.get("pilot"):
        seen = f"written before its results were seen, except those of a pilot ({pilot})"
    else:
        seen = "written before its results were seen"
    return f"{text} Rule of {_day(written['written'])}{since}; {seen}."


def claim(name: str) -> str:
    """The claim that a rule judges.

    Example:
        >>> claim("when")
        'The gap between the groups opens during pretraining.'
    """
    return _WRITTEN[name]["claim"]


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
