"""The rules by which claims are judged, from a file of their own (``fairlib/assets/rules.toml``), whose history shows
when each was written."""

from __future__ import annotations

import tomllib
from datetime import date
from math import exp
from pathlib import Path
from typing import Any

from fairlib.base.files import ASSETS

RULES = ASSETS / "rules.toml"
_WRITTEN = tomllib.loads(RULES.read_text(encoding="utf-8"))
NUMBERS: dict[str, float] = _WRITTEN["numbers"]

# In log odds: gaps, and differences of gaps, that are shown to be smaller count as none.
MARGIN = NUMBERS["margin"]
FEWEST_JUDGED = int(NUMBERS["fewest_judged"])  # people on either side; of fewer nothing is judged


def rule(name: str, file: Path = RULES) -> str:
    """A rule as the book states it: with its numbers, and when it was written.

    Args:
        name: of the rule in its file.
        file: the book's own rules, or a chapter's declaration (``notebooks/NN_name.toml``), which holds its rules as
            ``[rules.NAME]``. Their text may name the book's numbers, such as ``{margin}``, and those of its own
            ``[rules.numbers]``.

    Raises:
        ValueError: the file has no such rule.

    Example:
        >>> rule("depth").partition(" Rule of ")[2]
        '23 November 2026; written before its results were seen.'
    """
    written, own = _written(name, file)
    text = written["rule"].format(**NUMBERS | own, least_ratio=exp(-MARGIN), most_ratio=exp(MARGIN))
    if written.get("people_counted", True):
        text += f" With fewer than {FEWEST_JUDGED} speakers on either side nothing is judged (inconclusive)."
    since = "" if written["first"] == written["written"] else f", revised from one of {_day(written['first'])}"
    if written.get("seen") is True:
        seen = "outcomes of encoders on these speakers had been seen by then, so it is exploratory"
    elif written.get("seen"):
        seen = f"outcomes of {written['seen']} had been seen by then, so it is exploratory for these"
    elif pilot := written.get("pilot"):
        seen = f"written before its results were seen, except those of a pilot ({pilot})"
    else:
        seen = "written before its results were seen"
    return f"{text} Rule of {_day(written['written'])}{since}; {seen}."


def claim(name: str, file: Path = RULES) -> str:
    """The claim that a rule judges; ``file`` as for `rule`.

    Example:
        >>> claim("when")
        'The gap between the groups opens during pretraining.'
    """
    return _written(name, file)[0]["claim"]


def _written(name: str, file: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """A rule as its file holds it, and the numbers that only this file has."""
    rules = _WRITTEN if file == RULES else tomllib.loads(file.read_text(encoding="utf-8")).get("rules", {})
    names = [each for each in rules if each != "numbers"]
    if name not in names:
        raise ValueError(f"{file} has no rule {name!r}: it has {', '.join(names) or 'none'}.")
    return rules[name], rules.get("numbers", {})


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
