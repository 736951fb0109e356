"""A run in the terminal: its verdicts, the sentences behind them, and what it was made from."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlib.base.tasks import task_named
from fairlib.base.writing import capital, listing
from fairlib.book.chapters import chapters
from fairlib.book.runs import find_run, read_run

_WIDTH = 100
_PACKAGES = ("torch", "transformers", "scikit-learn", "numpy", "pandas")  # that could change a number


def shown(run: str | Path) -> str:
    """Verdicts of a run, the sentences behind them, and what it was made from, for a terminal.

    Args:
        run: a run's folder, or the beginning of its name under ``_runs``.

    Raises:
        RunError: the run is not there or damaged.
    """
    folder = find_run(run)
    record = read_run(folder)
    findings = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    chapter = chapters().get(record["chapter"])
    lines = [f"{chapter.title if chapter else record['chapter']}", f"{folder}", "", "Findings"]
    for finding in findings:
        about = f"{capital(finding['about'])}: " if finding.get("about") else ""
        lines += [*_wrapped(f"{finding['verdict'].upper()}: {about}{finding['claim']}", 2)]
        lines += [*_wrapped(finding["sentence"], 4), ""]
    lines += [] if findings else ["  This chapter judges no claim.", ""]
    lines.append("Made from")
    for name, value in _made_from(record):
        first, *rest = _wrapped(value, 14) or [""]
        lines += [f"  {name:12}{first.strip()}", *rest]
    return "\n".join(lines)


def _made_from(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the lines that say what a run was made from."""
    chosen = [f"{name} {value}" for name, value in record["parameters"].items() if value != ""]
    packages = record.get("packages", {})
    rows = [("parameters", ", ".join(chosen)), ("seeds", ", ".join(map(str, record.get("seeds", []))))]
    for each in record["outcomes"]:
        prints = [f"{what} {str(each[f'{what}_fingerprint'] or 'not recorded')[:12]}" for what in ("encoder", "corpus")]
        gone = each.get("utterances_left_out")
        left_out = f"; {gone['utterances']:,} of {gone['of']:,} utterances left out" if gone else ""
        what = f"{each['encoder']} on {each['corpus']}" if each.get("corpus") else each["encoder"]
        task = task_named(each["task"]).title
        rows.append(("outcomes", f"{what}, {task}: {each.get('origin') or 'computed'} ({listing(prints)}){left_out}"))
    rows += [
        ("code", record["code"]),
        ("packages", ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages)),
        ("machine", f"{record['platform']}, {record['processors']} processors, {record['device']}"),
        ("run", f"{record['started']}, in {record['duration_s']:.0f} s"),
        ("files", f"{len(record['files'])}, all as the run left them"),
        ("again", record["command"]),
    ]
    return [(name, value) for name, value in rows if value]


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
