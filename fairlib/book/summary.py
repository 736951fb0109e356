"""Two pages of the book that nobody writes: every finding, and where every number comes from.

Both are made from the provenance boxes of the executed chapters, as Markdown for Sphinx.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fairlib.book.chapters import Chapter
from fairlib.book.provenance import code_version, last_commit, package_versions
from fairlib.corpora import is_synthetic
from fairlib.display.words import plain
from fairlib.files import write_text
from fairlib.findings.finding import VERDICTS
from fairlib.findings.rules import RULES
from fairlib.tasks import task_named
from fairlib.writing import capital, listing


def write_summary(folder: str | Path, facts: Mapping[Chapter, Mapping[str, Any]]) -> None:
    """Write ``summary.md`` and, for each finding, its evidence as CSV beside it.

    Args:
        folder: where the book's other pages lie; its neighbour ``notebooks`` holds the chapters.
        facts: what each chapter's provenance box was made from. What was found in synthetic speech, whose truth was
            planted, is no finding about encoders and people, and is left out.
    """
    facts = {
        chapter: each for chapter, each in facts.items()
        if not is_synthetic(each.get("parameters", {}).get("corpus"))
    }  # fmt: skip
    folder = Path(folder)
    (folder / "evidence").mkdir(exist_ok=True)
    found = [finding["verdict"] for each in facts.values() for finding in each.get("findings", [])]
    counts = [f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found]
    commit = last_commit(RULES)
    of = f", last changed in commit {commit}, whose history is the proof" if commit else ""
    lines = [
        "# Every finding",
        "",
        f"The chapters of this edition judge {len(found)} claims: {listing(counts)}.",
        f"Each verdict follows a rule that tells its day. All rules stand in `fairlib/assets/{RULES.name}`{of}.",
        "No sentence below was typed by hand: they come from the chapters as they were run.",
        "*Inconclusive* means that these speakers cannot decide it, not that there is no difference.",
    ]
    for chapter, each in facts.items():
        findings = each.get("findings", [])
        if not findings:
            continue
        page = f"../notebooks/{chapter.notebook}.ipynb"
        lines += ["", f"## {chapter.title}", "", f"{_told(each['parameters'])} [Read the chapter]({page})."]
        for number, finding in enumerate(findings, start=1):
            evidence = f"evidence/{chapter.name}-{number}.csv"
            write_text(folder / evidence, pd.DataFrame(finding["evidence"]).to_csv(index=False))
            about = f"{capital(finding['about'])}: " if finding.get("about") else ""
            lines += [
                "",
                f"{verdict_mark(finding['verdict'])} **{plain(about + finding['claim'])}**",
                f"{plain(finding['sentence'])} {{download}}`Evidence (CSV) <{evidence}>`",
                "",
                f"<details><summary>How it was judged</summary><p>{escape(finding['criterion'])}</p></details>",
            ]
    write_text(folder / "summary.md", "\n".join(lines) + "\n")


def write_status(folder: str | Path, facts: Mapping[Chapter, Mapping[str, Any]]) -> None:
    """Write ``status.md``: versions, how long each chapter took, and the outcomes behind them."""
    chapters = pd.DataFrame(
        {
            "chapter": f"[{chapter.title}](../notebooks/{chapter.notebook}.ipynb#provenance)",
            "findings": len(each.get("findings", [])),
            "made in": _took(each["duration_s"]),
            "run it again": f"`{each['command']}`",
        }
        for chapter, each in facts.items()
        if each
    )
    versions = {"Python": platform.python_version()} | package_versions(extra="book")
    lines = [
        "# Status of this edition",
        "",
        f"Built on {time.strftime('%d %B %Y', time.gmtime())} with {code_version()}.",
        "This page is made by the build itself.",
        "",
        "## Chapters",
        "",
        "Each was run from its first cell to its last, by the command that stands beside it,",
        f"by {listing(sorted({each['code'] for each in facts.values() if each}))}.",
        "",
        *_markdown_table(chapters),
        "",
        "## Outcomes",
        "",
        "Every number of the book comes from these tables, one row for each utterance, layer and probe.",
        "*Published* ones come with the code; `fairlib reproduce` computes them again from the speech.",
        "The times are those of the first computation, on one machine, from speech to outcomes.",
        "",
        *_markdown_table(_outcomes(facts)),
        "",
        "## Packages",
        "",
        *_markdown_table(pd.DataFrame(versions.items(), columns=["package", "version"])),
    ]
    write_text(Path(folder) / "status.md", "\n".join(lines) + "\n")


def verdict_mark(verdict: str) -> str:
    """A verdict as a word with a sign before it, in a colour of its own.

    Example:
        >>> verdict_mark("supported")
        '<span class="verdict supported">supported</span>'
    """
    return f'<span class="verdict {verdict.split()[0]}">{verdict}</span>'


def _told(parameters: Mapping[str, Any]) -> str:
    """What a chapter was run with, as a line."""
    given = [f"{name.replace('_', ' ')} {plain(str(value))}" for name, value in parameters.items() if value != ""]
    return f"Run with {listing(given)}."


def _outcomes(facts: Mapping[Chapter, Mapping[str, Any]]) -> pd.DataFrame:
    rows: dict[tuple, dict[str, Any]] = {}
    for chapter, each in facts.items():
        for table in each.get("outcomes", []):
            weights, speech = (str(table[name] or "")[:12] for name in ("encoder_fingerprint", "corpus_fingerprint"))
            row = {
                "encoder": plain(table["encoder"]),
                "corpus": plain(table["corpus"]),
                "probed for": task_named(table["task"]).command,
                "origin": table["origin"] or "computed",
                "first made": ", ".join(filter(None, [table["device"], _took(table["duration_s"])])),
                "weights": f"`{weights}`",
                "speech": f"`{speech}`",
            }
            known = rows.setdefault(tuple(row.values()), row | {"chapters": []})
            if chapter.notebook[:2] not in known["chapters"]:
                known["chapters"].append(chapter.notebook[:2])
    table = pd.DataFrame(rows.values())
    return table.assign(chapters=[", ".join(name.lstrip("0") for name in names) for names in table["chapters"]])


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f}\N{NO-BREAK SPACE}s" if seconds < 90 else f"{seconds / 60:.0f}\N{NO-BREAK SPACE}min"


def _markdown_table(table: pd.DataFrame) -> list[str]:
    rows = [table.columns, ["---"] * len(table.columns), *table.astype(str).itertuples(index=False)]
    return ["| " + " | ".join(row) + " |" for row in rows]
