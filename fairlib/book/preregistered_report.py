"""The report of a preregistered test: one Markdown page that can be published as it is, and the same for programs."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairlib.base.files import require_room, write_text, writing
from fairlib.base.tasks import TASKS
from fairlib.base.writing import listing, p_value, percent
from fairlib.book.export import SCHEMA
from fairlib.book.preregistered import Result, Tested
from fairlib.book.provenance import code_version, commit_and_changes, last_commit, package_versions
from fairlib.book.run_keys import sha256_of
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding
from fairlib.findings.jointly import JOINT_RULE, whole_claim
from fairlib.findings.rules import rule

REPORT, FINDINGS, VERDICTS, COPY = "report.md", "findings.json", "verdicts.csv", "preregistration.toml"


def write_report(result: Result, folder: Path, command: str, started: float) -> Path:
    """Write a report: ``report.md``, ``findings.json`` (described by the schema beside it), ``verdicts.csv``, and a
    copy of the preregistration.

    Args:
        command: what makes it again.
        started: when it was begun, in seconds since the epoch.

    Returns:
        The page.

    Raises:
        fairlib.base.files.FolderError: the folder cannot be written.
    """
    folder = folder.expanduser().absolute()
    require_room(folder)
    text = result.file.read_text(encoding="utf-8")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        begun = folder / COPY
        if begun.exists() and begun.read_text(encoding="utf-8") != text and not (folder / f"begun-{COPY}").exists():
            begun.replace(folder / f"begun-{COPY}")
        write_text(begun, text)
        changed = [*result.changed]
        if (folder / f"begun-{COPY}").exists():
            changed.append(
                f"The preregistration itself was changed after the first report was written into this folder;"
                f" begun-{COPY} is the one it began with."
            )
        write_text(folder / REPORT, page(result, changed))
        write_text(folder / VERDICTS, verdicts(result).to_csv(index=False))
        write_text(folder / SCHEMA.name, SCHEMA.read_text(encoding="utf-8"))
        names = [REPORT, VERDICTS, SCHEMA.name, COPY]
        files = {name: sha256_of(folder / name) for name in names}
        said = record(result, changed, command, started, files)
        write_text(folder / FINDINGS, json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    return folder / REPORT


def verdicts(result: Result) -> pd.DataFrame:
    """One row for each statement and encoder, with numbers unrounded."""
    rows = []
    for kind, tests in (("confirmatory", result.confirmatory), ("exploratory", result.exploratory)):
        for tested in tests:
            about = tested.statement
            rows += [
                {
                    "kind": kind, "claim": about.claim, "statement": about.states, "rule": about.rule,
                    "task": about.task, "corpus": about.corpus, "contrast": about.contrast, "encoder": one.encoder,
                    "lowest_error": one.error, "verdict": one.verdict, "estimate": one.estimate, "p": one.p,
                    "p_holm": one.holm if kind == "confirmatory" else None, "not_judged": one.excluded,
                }
                for one in tested.each
            ]  # fmt: skip
    return pd.DataFrame(rows)


def page(result: Result, changed: Sequence[str]) -> str:
    """The report in Markdown."""
    about = result.about
    lines = [f"# {about.title}", ""]
    if result.not_run:
        done = len(about.pairs) - len(result.not_run) // 2
        lines += [
            f"**Interim: {done} of {len(about.pairs)} pairs of encoders were run.** What follows is no result.",
            "",
        ]
    commit = last_commit(result.file.absolute())
    lines += [
        f"Registered on {about.registered.day} {about.registered:%B %Y}; SHA-256 of the file `{result.file.name}`:"
        f" `{result.digest}`{f', last changed by commit `{commit}`' if commit else ''}. Known by then: {about.seen}",
        "",
        "## Verdicts",
        "",
        *_whole_claims(result),
        "",
    ]
    for tested in result.confirmatory:
        assert tested.finding is not None
        lines += [
            f"### {tested.statement.claim}: {tested.statement.states}",
            "",
            f"**{tested.finding.verdict.capitalize()}.** {tested.finding.sentence}",
            "",
            *_table(tested, True),
            "",
        ]
    lines += ["## Deviations and exclusions", "", *_deviations(result, changed), ""]
    if result.exploratory:
        lines += ["## Exploratory", "", "Declared so beforehand: no evidence for or against the claims above.", ""]
        for tested in result.exploratory:
            lines += [f"### {tested.statement.states}", "", *_table(tested, False), ""]
    lines += ["## What was run", "", *_used(result), "", "## Rules", "", *_rules(result)]
    return "\n".join(lines).rstrip() + "\n"


def _whole_claims(result: Result) -> list[str]:
    claims: dict[str, list[str]] = {}
    for tested in result.confirmatory:
        assert tested.finding is not None
        claims.setdefault(tested.statement.claim, []).append(tested.finding.verdict)
    return [
        f"- **{claim}: {whole_claim(found)}** (its {len(found)} tests: {listing(found)})"
        if len(found) > 1
        else f"- **{claim}: {found[0]}**"
        for claim, found in claims.items()
    ]


def _table(tested: Tested, corrected: bool) -> list[str]:
    """The verdicts of one statement, an encoder a row."""
    p = "p, Holm" if corrected else "p"
    lines = [f"| encoder | lowest error | estimate, 95 % interval | verdict | {p} |", "|---|---|---|---|---|"]
    for one in tested.each:
        shown = one.holm if corrected else one.p
        judged = one.verdict in ("supported", "contradicted") and tested.statement.rule != "whose"
        cells = [
            encoder_label(one.encoder),
            "" if one.error != one.error else percent(one.error),
            one.estimate.replace("|", "/"),
            one.verdict + (f": {' '.join(one.excluded.split())}".replace("|", "/") if one.excluded else ""),
            p_value(shown) if judged else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _deviations(result: Result, changed: Sequence[str]) -> list[str]:
    said = [*changed]
    if commit_and_changes()[1]:
        said.append("The code differed from its commit when this was run.")
    said += [f"{name} {why} (foreseen: excluded)." for name, why in result.excluded.items()]
    said += [f"{name} {why} (not foreseen)." for name, why in result.failures.items()]
    saturated = {
        f"{one.encoder}, {TASKS[tested.statement.task].title}: {one.excluded} (foreseen: excluded from that test)."
        for tested in (*result.confirmatory, *result.exploratory)
        for one in tested.each
        if one.here_alone
    }
    said += sorted(saturated)
    if result.not_run:
        said.append(f"Not run yet: {listing(result.not_run)}.")
    return [f"- {' '.join(one.split())}" for one in said] or [
        "None: rules, numbers and probes are those registered, and every encoder was judged in every test."
    ]


def _used(result: Result) -> list[str]:
    versions = package_versions()
    kept = [f"{name} {versions[name]}" for name in ("torch", "transformers", "numpy", "pandas") if name in versions]
    lines = [
        f"{code_version()}; Python {platform.python_version()}, {', '.join(kept)}; {platform.platform()}.",
        "",
        "| encoder | task | corpus | weights (SHA-256) | speech (SHA-256) | computed on | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in result.used:
        prints = [f"`{str(each[name])[:16]}`" for name in ("encoder_fingerprint", "corpus_fingerprint")]
        seconds = each["duration_s"]
        cells = [each["encoder"], TASKS[each["task"]].title, each["corpus"], *prints, str(each["device"] or "unknown")]
        lines.append(f"| {' | '.join(cells)} | {'' if seconds is None else f'{seconds:,.0f}'} |")
    return lines


def _rules(result: Result) -> list[str]:
    about = result.about
    lines = [JOINT_RULE.format(level=about.joint.level, planned=len(about.pairs)), ""]
    lines.append("A claim with several tests is supported, or contradicted, over all if each of its tests is.")
    lines += ["", "An encoder is excluded, and counts for neither side:", ""]
    lines += [f"- {one}" for one in about.exclusions.rules]
    for name, pinned in about.rules.items():
        lines += ["", f"**{name}.** {rule(name)}" + (f" *p of a verdict:* {pinned.p}." if pinned.p else "")]
    numbers = ", ".join(f"{name} {number:g}" for name, number in about.numbers.items())
    return [*lines, "", f"Numbers registered: {numbers}."]


def record(
    result: Result, changed: Sequence[str], command: str, started: float, files: dict[str, str]
) -> dict[str, Any]:
    """The report as ``findings.schema.json`` describes it: verdicts over all encoders first, then each encoder's."""
    findings = []
    for tested in (*result.confirmatory, *result.exploratory):
        about = f"{tested.statement.claim}, {TASKS[tested.statement.task].title}, {tested.statement.contrast}"
        if tested.finding is not None:
            findings.append({"about": f"{about}, over all encoders", **tested.finding.record()})
        for one in tested.each:
            finding = one.finding or Finding(
                tested.statement.states, rule(tested.statement.rule), "inconclusive", f"Not judged: {one.excluded}."
            )
            kind = "" if tested.finding is not None else ", exploratory"
            findings.append({"about": f"{about}, {one.encoder}{kind}", **finding.record()})
    commit, dirty = commit_and_changes()
    name = "preregistered"
    deviations = {f"deviation_{number}": one for number, one in enumerate(changed, start=1)}
    return {
        "$schema": SCHEMA.name,
        "version": 1,
        "run": f"{name}-{result.digest[:8]}",
        "chapter": {"name": name, "number": "", "title": result.about.title},
        "findings": findings,
        "tables": [
            {"caption": "Every verdict, one row for each statement and encoder", "files": [VERDICTS], "unrounded": True}
        ],
        "figures": [],
        "references": [],
        "without_reference": [],
        "provenance": {
            "chapter": name,
            "parameters": {"file": result.file.name, "interim": bool(result.not_run)},
            "command": command,
            "outcomes": result.used,
            "code": code_version(),
            "commit": commit,
            "dirty": dirty,
            "made_from": {"preregistration": result.digest, **deviations},
            "python": platform.python_version(),
            "packages": package_versions(),
            "platform": platform.platform(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "duration_s": round(time.time() - started, 1),
            "files": files,
        },
        "files": files,
    }
