"""Two runs of a chapter compared: verdicts, what they were made from, outcomes, layers and gaps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fairlib.base.files import write_text
from fairlib.base.tasks import TASKS
from fairlib.base.writing import interval, p_value, percent
from fairlib.bias import BiasError, bias_differences, group_bias, layer_order
from fairlib.book import runs
from fairlib.book.pages import page
from fairlib.book.runs import RunError, changes, find_run, read_run, run_outcomes
from fairlib.display import charts
from fairlib.display.rendering import mimebundle
from fairlib.encoders.names import encoder_label
from fairlib.findings import main_contrast
from fairlib.findings.layers import layer_errors

_ROW = ["encoder", "layer", "task", "unit", "probe", "seed", "corpus", "utterance_id"]


def compare(a: str | Path, b: str | Path) -> dict[str, Any]:
    """What two runs of one chapter have in common and where they differ.

    Args:
        a, b: folders of runs, or their names under ``_runs``.

    Returns:
        ``names`` of both; ``verdicts``, a table of claim, both verdicts and sentences, the changed ones first;
        ``differing``, one sentence for each difference in parameters, data, code, packages and machine; ``outcomes``,
        a sentence; ``tasks``: for each task ``errors`` and ``bias`` by layer with the encoders named "A: ..." and
        "B: ...", ``gaps``, A's gap less B's at each layer, in pairs, and ``note``, what could not be compared and why.

    Raises:
        RunError: a run is not there or damaged, or they are of different chapters.
    """
    folders = [find_run(a), find_run(b)]
    records = [read_run(folder) for folder in folders]
    if records[0]["chapter"] != records[1]["chapter"]:
        raise RunError(
            f"{folders[0].name} is a run of {records[0]['chapter']} and {folders[1].name} one of "
            f"{records[1]['chapter']}: only runs of one chapter can be compared."
        )
    found = [json.loads((folder / "findings.json").read_text(encoding="utf-8")) for folder in folders]
    outcomes = [run_outcomes(folder) for folder in folders]
    return {
        "names": [folder.name for folder in folders],
        "folders": folders,
        "verdicts": _verdicts(*found),
        "differing": _differing(*records),
        "outcomes": _outcomes(*outcomes),
        "tasks": _tasks(*records, *outcomes),
    }


def _verdicts(mine: list[dict], theirs: list[dict]) -> pd.DataFrame:
    """Findings of one claim belong together; where several state the same claim, in their order."""
    numbered = []
    for findings in (mine, theirs):
        seen: dict[str, int] = {}
        table = {}
        for finding in findings:
            seen[finding["claim"]] = seen.get(finding["claim"], 0) + 1
            table[finding["claim"], seen[finding["claim"]]] = finding
        numbered.append(table)
    rows = []
    for claim in dict.fromkeys([*numbered[0], *numbered[1]]):
        one, other = (table.get(claim, {"verdict": "not asked", "sentence": ""}) for table in numbered)
        rows.append(
            {
                "claim": claim[0],
                "verdict_a": one["verdict"],
                "verdict_b": other["verdict"],
                "changed": one["verdict"] != other["verdict"],
                "sentence_a": one["sentence"],
                "sentence_b": other["sentence"],
            }
        )
    columns = ["claim", "verdict_a", "verdict_b", "changed", "sentence_a", "sentence_b"]
    return pd.DataFrame(rows, columns=columns).sort_values("changed", ascending=False, kind="stable", ignore_index=True)


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    told = []
    for name in dict.fromkeys([*mine["parameters"], *theirs["parameters"]]):
        one, other = (record["parameters"].get(name, "absent") for record in (mine, theirs))
        if one != other:
            told.append(f"parameter {name}: {one!r} in A, {other!r} in B")
    prints = [
        {
            (about["task"], about["encoder"], what): about[f"{what}_fingerprint"]
            for about in record["outcomes"]
            for what in ("encoder", "corpus")
        }
        for record in (mine, theirs)
    ]
    for task, encoder, what in prints[0]:
        one, other = (table.get((task, encoder, what)) for table in prints)
        if other is not None and one != other:
            told.append(f"data: the {what} of {encoder} ({task}) is {str(one)[:12]} in A, {str(other)[:12]} in B")
    in_a, in_b = (
        {name: value for name, value in record["made_from"].items() if name != "parameters"}
        for record in (mine, theirs)
    )
    told += changes(in_a, in_b, sides=(" in A", " in B"))
    for what in ("platform", "device", "processors"):
        if mine[what] != theirs[what]:
            told.append(f"{what}: {mine[what]} in A, {theirs[what]} in B")
    return told


def _outcomes(mine: pd.DataFrame, theirs: pd.DataFrame) -> str:
    if mine.empty or theirs.empty:
        return "No outcomes to compare."
    counts = ["errors", "length"]
    both = [table.drop_duplicates(_ROW)[[*_ROW, *counts]] for table in (mine, theirs)]
    joined = both[0].merge(both[1], on=_ROW, how="outer", suffixes=("", "_b"), indicator=True)
    shared = joined[joined["_merge"] == "both"]
    if shared.empty:
        return f"The runs share no outcome: A has {len(both[0]):,}, B has {len(both[1]):,}."
    unlike = shared[(shared["errors"] != shared["errors_b"]) | (shared["length"] != shared["length_b"])]
    if unlike.empty and len(shared) == len(joined):
        return f"All {len(shared):,} outcomes are equal."
    only = [(joined["_merge"] == side).sum() for side in ("left_only", "right_only")]
    alone = f"{only[0]:,} are only in A, {only[1]:,} only in B"
    if unlike.empty:
        return f"The {len(shared):,} outcomes in both runs are equal; {alone}."
    sums = shared.groupby(["encoder", "task", "unit", "probe", "layer"])[
        ["errors", "length", "errors_b", "length_b"]
    ].sum()
    apart = (sums["errors"] / sums["length"] - sums["errors_b"] / sums["length_b"]).abs().max()
    return (
        f"{len(unlike):,} of the {len(shared):,} outcomes in both runs differ, no layer's error by more than"
        f" {100 * apart:.2f} points. {alone}."
    )


def _tasks(record_a, record_b, outcomes_a: pd.DataFrame, outcomes_b: pd.DataFrame) -> list[dict[str, Any]]:
    """Each task's layers and gaps, of both runs' own encoders."""
    tasks = []
    for task, unit, probe in (entry.main for entry in TASKS.values()):
        sides, names = [], []
        for letter, record, outcomes in (("A", record_a, outcomes_a), ("B", record_b, outcomes_b)):
            chosen = record["parameters"]
            if outcomes.empty or "encoder" not in chosen:
                continue
            if task == "asr":
                probe = chosen.get("probe", probe)
            main = {"encoder": chosen["encoder"], "task": task, "unit": unit, "probe": probe}
            rows = outcomes[(outcomes[list(main)] == pd.Series(main)).all(axis=1)]
            if len(rows):
                names.append(f"{letter}: {encoder_label(chosen['encoder']).replace('untrained twin', 'untrained')}")
                sides.append(rows.assign(encoder=names[-1], probe=""))
        if len(sides) == 2:
            by = [record["parameters"].get("group") for record in (record_a, record_b)]
            tasks.append({"task": task, "names": names, "by": by, **_gaps(sides, names, by)})
    return tasks


def _gaps(sides: list[pd.DataFrame], names: list[str], by: list[str | None]) -> dict[str, Any]:
    together = pd.concat(sides, ignore_index=True)
    result: dict[str, Any] = {
        "errors": layer_errors(together),
        "bias": None,
        "gaps": None,
        "contrast": None,
        "note": "",
    }
    if by[0] is None:
        return result | {"note": "This chapter compares no groups."}
    if by[0] != by[1]:
        return result | {
            "note": f"Groups are by {by[0]} in A and by {by[1]} in B: their gaps are between different people."
        }
    try:
        result["bias"] = group_bias(together, by=by[0])
    except BiasError as error:
        return result | {"note": str(error)}
    result["contrast"] = main_contrast(result["bias"], names[0])
    seeds = sorted(set(sides[0]["seed"]) & set(sides[1]["seed"]))
    people = set(sides[0]["speaker_id"]) & set(sides[1]["speaker_id"])
    layers = layer_order(sorted(set(sides[0]["layer"]) & set(sides[1]["layer"])))
    if set(sides[0]["corpus"]) != set(sides[1]["corpus"]) or not people or not layers or not seeds:
        return result | {"note": "The runs cannot be paired: they share no speakers, layers or seeds of one corpus."}
    if len(sides[0]) == len(sides[1]) and (sides[0]["errors"].to_numpy() == sides[1]["errors"].to_numpy()).all():
        return result | {"note": "The two runs have identical errors here: no gap differs."}
    paired = together[together["seed"].isin(seeds) & together["speaker_id"].isin(people)]
    pairs = [((names[0], layer), (names[1], layer)) for layer in layers]
    try:
        gaps = bias_differences(paired, by[0], pairs).query("scale == 'log_odds'")
    except BiasError as error:
        return result | {"note": str(error)}
    note = f"Paired over {len(people)} speakers"
    if len(seeds) < max(side["seed"].nunique() for side in sides):
        note += f", with only the shared seeds ({', '.join(map(str, seeds))})"
    return result | {"gaps": gaps.reset_index(drop=True), "note": note + "."}


# ---- to be read ----


def told(compared: Mapping[str, Any]) -> str:
    """A comparison for a terminal."""
    lines = [f"A  {compared['names'][0]}", f"B  {compared['names'][1]}", "", "Verdicts"]
    for row in compared["verdicts"].to_dict("records"):
        verdict = (
            f"{row['verdict_a']} in A, {row['verdict_b']} in B" if row["changed"] else f"{row['verdict_a']} in both"
        )
        lines.append(f"  {'CHANGED  ' if row['changed'] else ''}{row['claim']} {verdict}.")
    if compared["verdicts"].empty:
        lines.append("  This chapter judges no claim.")
    lines += ["", "What differs", *(f"  {line}" for line in compared["differing"] or ["nothing on record"])]
    lines += ["", "Outcomes", f"  {compared['outcomes']}"]
    for task in compared["tasks"]:
        lines += ["", f"{TASKS[task['task']].heading}: {_heading(task)}", f"  {task['note']}"]
        if task["gaps"] is not None:
            lines.append(f"  {'layer':8}{'contrast':28}{'A minus B':24}p (Holm)")
            for row in task["gaps"].to_dict("records"):
                gap, p = _gap(row)
                lines.append(f"  {row['layer']:8}{row['contrast']:28}{gap:24}{p}")
    return "\n".join(lines)


def write_page(compared: Mapping[str, Any], output: str | Path | None = None) -> Path:
    """Write a comparison as one page; by default ``_runs/comparisons/<hash of A>-<hash of B>.html``."""
    hashes = "-".join(name.rpartition("__")[2] for name in compared["names"])
    output = Path(output) if output else runs.RUNS / "comparisons" / f"{hashes}.html"
    output.parent.mkdir(parents=True, exist_ok=True)
    a, b = (escape(name) for name in compared["names"])
    body = [f"<main><h1>Two runs compared</h1><p>A: <code>{a}</code><br>B: <code>{b}</code></p><h2>Verdicts</h2>"]
    for row in compared["verdicts"].to_dict("records"):
        if row["changed"]:
            body.append(
                f"<p><strong>Changed.</strong> {escape(row['claim'])} <em>{row['verdict_a']}</em> in A,"
                f" <em>{row['verdict_b']}</em> in B.</p><p>A: {escape(row['sentence_a'])}</p>"
                f"<p>B: {escape(row['sentence_b'])}</p>"
            )
        else:
            body.append(f"<p>{escape(row['claim'])} <em>{row['verdict_a']}</em> in both.</p>")
    differing = "".join(f"<li>{escape(line)}</li>" for line in compared["differing"])
    body.append(f"<h2>What differs</h2><ul>{differing or '<li>nothing on record</li>'}</ul>")
    body.append(f"<h2>Outcomes</h2><p>{escape(compared['outcomes'])}</p>")
    for task in compared["tasks"]:
        body += _task_section(task)
    write_text(output, page("Two runs compared", "\n".join([*body, "</main>"])))
    return output


def _task_section(task: Mapping[str, Any]) -> list[str]:
    errors = task["errors"]
    best = errors.loc[errors.groupby("encoder", sort=False)["error"].idxmin()].set_index("encoder")
    lowest = "; ".join(
        f"{name} {percent(best.loc[name, 'error'])} at layer {best.loc[name, 'layer']}" for name in task["names"]
    )
    drawn = [
        charts.encoders_by_layer(
            errors, title=f"Lowest error: {lowest}", description=f"Line chart of error by layer. {lowest}."
        )
    ]
    if task["bias"] is not None:
        title = f"The gap {task['contrast']} at each layer, in both runs"
        drawn.append(
            charts.bias_by_layer(
                task["bias"], contrast=task["contrast"], title=title, description=f"{title}. {task['note']}"
            )
        )
    parts = [
        f"<h2>{TASKS[task['task']].heading}</h2>",
        *(mimebundle(chart.to_dict())["text/html"] for chart in drawn),
    ]
    parts.append(f"<p>{escape(task['note'])}</p>")
    if task["gaps"] is not None:
        rows = []
        for row in task["gaps"].to_dict("records"):
            gap, p = _gap(row)
            rows.append({"layer": row["layer"], "contrast": row["contrast"], "A minus B": gap, "p (Holm)": p})
        caption = "Paired difference between the gaps (log odds ratio of error), with 95 % intervals over speakers"
        parts.append(charts.table(pd.DataFrame(rows), caption).data)
    return parts


def _heading(task: Mapping[str, Any]) -> str:
    return f"groups by {task['by'][0]}" if task["by"][0] == task["by"][1] and task["by"][0] else "errors by layer"


def _gap(row: Mapping[str, Any]) -> tuple[str, str]:
    p = "" if row["p_holm"] != row["p_holm"] else p_value(row["p_holm"])
    return interval(row["estimate"], row["low"], row["high"]), p
