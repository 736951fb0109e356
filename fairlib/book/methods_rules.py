"""The rules on the page of methods (see `fairlib.book.methods`): their claims, wording, days and commits."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

from fairlib.base.tasks import TASKS
from fairlib.book.methods_tables import table
from fairlib.book.provenance import file_history
from fairlib.display.words import plain
from fairlib.findings.rules import NUMBERS, RULES, rule


def day_named(day: date) -> str:
    """A day as the book writes it.

    Example:
        >>> day_named(date(2026, 11, 5))
        '5 November 2026'
    """
    return f"{day.day} {day:%B %Y}"


def rules_written() -> dict[str, dict[str, Any]]:
    """Every rule of the file, as it stands there."""
    return {name: one for name, one in _read_rules(RULES.read_text(encoding="utf-8")).items() if "rule" in one}


def _read_rules(text: str) -> dict[str, dict[str, Any]]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a commit that was not valid
        return {}


def _wording(one: Mapping[str, Any]) -> str:
    return " ".join(f"{one.get('claim', '')} {one['rule']}".split())


class History:
    """The commits of the rules' file, newest first, as `file_history` finds them."""

    def __init__(self) -> None:
        self.commits = [(name, day, _read_rules(text)) for name, day, text in file_history(RULES)]

    def since(self, now: Any, then: Callable[[dict], Any]) -> str:
        """The commit since which something in the file is as it is now; empty where none holds it."""
        found = ""
        for commit, day, rules in self.commits:
            if then(rules) != now:
                break
            found = f"`{commit}`, {day_named(day)}"
        return found


def rules_table() -> str:
    """Every rule: its claim, the days on which it was written, and the commit that wrote its present wording."""
    rows, history = [], History()
    for name, one in rules_written().items():
        days = day_named(one["written"])
        if one["first"] != one["written"]:
            days = f"{days} (first {day_named(one['first'])})"
        seen = "results seen" if one.get("seen") else "pilot seen" if one.get("pilot") else "results not seen"
        cells = [f"`{name}`", plain(claim_of(name, one)), f"{days}; {seen}"]
        if history.commits:
            since = history.since(_wording(one), partial(_wording_of, name))
            cells.append(since or "not committed yet")
        rows.append(cells)
    columns = ("Rule", "Claim", "Present wording", "Commit")
    return table(columns if history.commits else columns[:3], rows)


def claim_of(name: str, one: Mapping[str, Any]) -> str:
    """What a rule judges; that of `pattern` is claim C2, task by task."""
    return one.get("claim") or " ".join(task.c2_claim for task in TASKS.values() if task.c2)


def rules_in_full() -> str:
    """Every rule's wording, with its numbers, to unfold."""
    return "\n\n".join(f":::{{dropdown}} Rule: {name}\n{plain(rule(name))}\n:::" for name in rules_written())


def history_told() -> str:
    """Where the commits beside the rules are from, or why there are none."""
    commits = History().commits
    if not commits:
        return "This copy of the book was built without the history of its files: the dates alone are shown."
    name, day, _ = commits[-1]
    return (
        f"The commits are those of `fairlib/assets/{RULES.name}`, which began with `{name}` on {day_named(day)}."
        " Rules that are older stood in the code until then."
    )


def _wording_of(name: str, rules: dict) -> Any:
    return _wording(rules[name]) if name in rules else None


def _number_of(name: str, rules: dict) -> float | None:
    return rules.get("numbers", {}).get(name)


def numbers_since() -> dict[str, str]:
    """Of each number in the rules, the commit since which it has its value."""
    history = History()
    return {
        name: history.since(value, partial(_number_of, name)) or "no commit is known" for name, value in NUMBERS.items()
    }
