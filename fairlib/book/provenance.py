"""What a result came from: the box at a chapter's end, and the version of the code."""

from __future__ import annotations

import contextlib
import html
import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.book.chapters import ROOT, ChapterError, allowed, chapters, check, command
from fairlib.book.parameters import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML, Markdown

    from fairlib.findings import Finding


def provenance_box(
    outcomes: pd.DataFrame | Sequence[pd.DataFrame],
    parameters: Mapping[str, Any] | Parameters,
    chapter: str | None = None,
    findings: Sequence[Finding] | Mapping[str, Finding] = (),
) -> HTML:
    """The box at a chapter's end: parameters, seeds, fingerprints, code version, duration, device, command.

    ``outcomes`` are the tables the chapter used, ``parameters`` the values of its parameters cell; the chapter
    follows from the outcomes' task if it is not named. ``findings`` that judge one claim for several things say, as
    a mapping, what each is about. `run` finds the same facts in the notebook and writes them to
    ``provenance.json``, and the findings to ``findings.json``.
    """
    from IPython.display import HTML

    from fairlib.outcomes import used_entries, used_speech

    tables = outcomes if isinstance(outcomes, Sequence) else [outcomes]
    if not tables and chapter is None:
        raise ChapterError("provenance_box needs at least one outcomes table: give it those of the chapter.")
    tasks = {str(task) for table in tables for task in table["task"].unique()}
    chapter = chapter or next((chapter.name for chapter in chapters().values() if chapter.task in tasks), None)
    if chapter is None:
        raise ChapterError(f"no chapter is about the tasks of these outcomes ({', '.join(sorted(tasks))}).")
    chosen = parameters if isinstance(parameters, Parameters) else check(chapter, parameters)
    facts = {
        "chapter": chapter,
        "parameters": chosen.model_dump(exclude={"force"}),
        "seeds": sorted({int(seed) for table in tables for seed in table["seed"].unique()}),
        "outcomes": [_outcomes_facts(table) for table in tables],
        "entries": used_entries(),
        "speech": used_speech(),
        "code": code_version(),
        "duration_s": round(_seconds_since_start(), 1),
        "command": command(chapter, chosen.model_copy(update={"force": False})),
        "findings": _records(findings),
    }
    return HTML(_box(facts), metadata={"fairlib": facts})


def rerun(chapter: str, parameters: Mapping[str, Any] | Parameters) -> Markdown:
    """How to run a chapter again: the command that made this page, and a table of its parameters.

    All of it follows from the chapter's declaration in `fairlib.book.chapters`.
    """
    from IPython.display import Markdown

    chosen = parameters if isinstance(parameters, Parameters) else check(chapter, parameters)
    usual = type(chosen)
    rows = []
    for name, field in sorted(usual.model_fields.items(), key=lambda each: each[0] == "force"):
        value, default = (html.escape(_shown(one)) for one in (getattr(chosen, name), field.default))
        otherwise = "" if value == default or name == "group" else f"; default: {default}"
        about = f"{html.escape(field.description or '')} ({html.escape(allowed(field).replace('|', ', '))}{otherwise})"
        rows.append(_row(f"<code>--{name.replace('_', '-')}</code>", f"{value}<br><small>{about}</small>"))
    table = (
        '<table class="provenance" aria-label="Parameters: the values used for this page, and those allowed">'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    folded = f'<details class="more"><summary>What each parameter may be</summary>{table}</details>'
    return Markdown(f"```shell\n{command(chapter, chosen)}\n```\n\n{folded}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "not given" if value == "" else str(value)


def _row(name: str, value: str) -> str:
    style = "text-align:left;vertical-align:top"
    return f'<tr><th scope="row" style="{style}">{name}</th><td>{value}</td></tr>'


def _records(findings: Sequence[Finding] | Mapping[str, Finding]) -> list[dict[str, Any]]:
    if isinstance(findings, Mapping):
        return [{"about": about, **finding.record()} for about, finding in findings.items()]
    return [finding.record() for finding in findings]


def code_version() -> str:
    """Version of the code: fairlib's own, the commit where there is one, and whether files differ from it."""
    version = f"fairlib {importlib.metadata.version('fairlib')}"
    commit, dirty = commit_and_changes()
    return version + (f", commit {commit}" if commit else "") + (", with changes not committed" if dirty else "")


def commit_and_changes() -> tuple[str, bool]:
    """The project's commit, empty where there is no git, and whether code or notebooks differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return commit, bool(commit and _git("status", "--porcelain", "--", "fairlib", "notebooks"))


def edition_day() -> str:
    """The day of this edition: of its release, where CITATION.cff names one (``date-released``), else of the last
    commit; empty where there is neither."""
    released = re.search(r"^date-released: *[\"']?([\d-]+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    day = released[1] if released else _git("log", "-1", "--format=%cs")
    return f"{date.fromisoformat(day).day} {date.fromisoformat(day):%B %Y}" if day else ""


def last_commit(file: Path) -> str:
    """The commit that changed a file of the project last; empty where there is no git."""
    return _git("log", "-1", "--format=%h", "--", str(file))


def file_history(file: Path) -> list[tuple[str, date, str]]:
    """Every commit that changed a file of the project, newest first: its name, its day, and the file's text then.

    Empty where there is no git, or where the history was cut off (a shallow clone) and would name a wrong commit.
    """
    if _git("rev-parse", "--is-shallow-repository") != "false":
        return []
    place = f"./{file.relative_to(ROOT).as_posix()}"
    commits = [line.split() for line in _git("log", "--format=%h %cs", "--", place).splitlines()]
    return [(name, date.fromisoformat(day), _git("show", f"{name}:{place}")) for name, day in commits]


def _outcomes_facts(table: pd.DataFrame) -> dict[str, Any]:
    from fairlib.outcomes import provenance

    facts = provenance(table)
    return {
        "encoder": ", ".join(sorted(str(name) for name in table["encoder"].unique())),
        "corpus": ", ".join(sorted(str(name) for name in table["corpus"].unique())),
        "task": ", ".join(sorted(str(name) for name in table["task"].unique())),
        **{
            name: facts.get(name)
            for name in ("origin", "encoder_fingerprint", "corpus_fingerprint", "device", "duration_s")
        },
        "utterances_left_out": facts.get("utterances_left_out") or {},
    }


def _box(facts: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        return html.escape(str(value))

    def row(name: str, value: str) -> str:
        return _row(text(name), value)

    def short(fingerprint: Any) -> str:
        return f"<code>{text(str(fingerprint)[:12])}</code>" if fingerprint else "not recorded"

    rows = [row(name, text(value)) for name, value in facts["parameters"].items()]
    rows.append(row("seeds used", text(", ".join(map(str, facts["seeds"])))))
    for each in facts["outcomes"]:
        seconds = each["duration_s"]
        took = f", in {seconds:,.0f} s" if isinstance(seconds, int | float) else ""
        device = f" on {text(each['device'])}" if each["device"] else ""
        gone = each.get("utterances_left_out")
        left_out = f"; {gone['utterances']:,} of {gone['of']:,} utterances left out" if gone else ""
        rows.append(
            row(
                f"outcomes of {each['encoder']}",
                f"{text(each['origin'] or 'computed')}; first computed{device}{took}; weights "
                f"{short(each['encoder_fingerprint'])}, corpus {short(each['corpus_fingerprint'])}{left_out}",
            )
        )
    files = len(facts["entries"])
    rows.append(row("all outcomes", f"{files} file{'' if files == 1 else 's'}; a run keeps them in its folder"))
    for each in facts["speech"]:
        of = f"outcomes in {each['entries']} of them"
        rows.append(row(f"speech of {each['corpus']}", f"{of}, corpus {short(each['corpus_fingerprint'])}"))
    rows.append(row("code", text(facts["code"])))
    rows.append(row("this page", f"made in {facts['duration_s']:,.0f} s, Python {platform.python_version()}"))
    rows.append(row("run it again", f'<code style="overflow-wrap:anywhere">{text(facts["command"])}</code>'))
    return (
        '<table class="provenance" aria-label="Provenance: what this chapter was made from">'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _seconds_since_start() -> float:
    """Seconds since this process, a chapter's kernel, was started."""
    import psutil

    return time.time() - psutil.Process().create_time()


def package_versions(extra: str | None = None) -> dict[str, str]:
    """Installed versions of the packages that fairlib asks for itself, and of those of one of its extras."""
    asked = importlib.metadata.requires("fairlib") or []
    wanted = [line for line in asked if "extra ==" not in line or (extra and f'"{extra}"' in line)]
    versions = {}
    for line in wanted:
        (name,) = re.findall(r"^[\w.-]+", line)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _git(*arguments: str) -> str:
    """Output of a git command in the project; empty where there is no git or no commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
