"""A run's results for a paper's supplement: one folder of tables, figures, records and references."""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlib.base.files import ASSETS, require_room, writing
from fairlib.base.writing import listing
from fairlib.book.chapters import chapters
from fairlib.book.references import references
from fairlib.book.refusals import nearest
from fairlib.book.run_keys import files_below, sha256_of
from fairlib.book.runs import find_run, read_run

TABLES = ("csv", "tex", "md")
CHARTS = ("svg", "pdf", "png")
SCHEMA = ASSETS / "findings.schema.json"
_OURS = "findings.json"  # which lists the other files of an export


class ExportError(ValueError):
    """A run cannot be exported as asked; the message says why."""


def export(
    run: str | Path, folder: str | Path, tables: Sequence[str] = TABLES, charts: Sequence[str] = CHARTS
) -> dict[str, Any]:
    """Write a run as one folder for a paper's supplement.

    The folder appears whole or not at all. It holds every table and chart of the chapter but for those of its exercises
    and their solutions, ``findings.json`` (described by ``findings.schema.json`` beside it), ``references.bib``, the
    chapter's page and notebook, and ``index.md``, which lists them with their captions. Numbers are written as shown;
    CSV files hold them unrounded too, unless the run was made by an edition that did not keep them. The outcomes, a row
    for each utterance of each speaker, stay in the run's folder.

    Args:
        run: a run's folder, or the beginning of its name under ``_runs``.
        folder: a new or empty one, or an earlier export, which is replaced.
        tables: of csv, tex and md.
        charts: of svg, pdf and png.

    Returns:
        What ``findings.json`` says.

    Raises:
        RunError: the run is not there or damaged.
        ExportError: an unknown format, or a folder that holds something else.
        fairlib.base.files.FolderError: the folder cannot be written.

    Example:
        >>> export("speaker-identification__5e26", "supplement", charts=["pdf"])["run"]  # doctest: +SKIP
        'speaker-identification__5e26ee8d'
    """
    tables, charts = _known("tables", tables, TABLES), _known("charts", charts, CHARTS)
    source = find_run(run)
    record = read_run(source)
    folder = Path(folder).expanduser().resolve()
    _refuse_other(folder)
    require_room(folder)
    partial, old = (folder.with_name(f"{folder.name}.{os.getpid()}.{what}") for what in ("partial", "old"))
    with writing(folder):
        try:
            partial.mkdir(parents=True)
            said = _write(source, record, partial, tables, charts)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if old.exists() and not folder.exists():  # stopped between the two
                old.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
    return said


def _known(what: str, chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in chosen:
        if name not in known:
            near = nearest(name, known) or "."
            raise ExportError(f"{what} can be written as {listing(known)}, not as {name!r}{near}")
    return list(dict.fromkeys(chosen))


def _refuse_other(folder: Path) -> None:
    """Refuse a folder that holds anything which an export did not leave there: it would be lost."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file: name a folder.")
    try:
        said = json.loads((folder / _OURS).read_text(encoding="utf-8"))
        ours = dict(said["files"]) if said["$schema"] == SCHEMA.name else {}
    except (OSError, ValueError, KeyError, TypeError):
        ours = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ours and name == _OURS or path.is_file() and name in ours and sha256_of(path) == ours[name]:
            continue
        raise ExportError(f"{folder} holds {name}, which is not as an export left it: choose another folder.")


def _write(
    source: Path, record: Mapping[str, Any], folder: Path, tables: Sequence[str], charts: Sequence[str]
) -> dict[str, Any]:
    notebook = json.loads((source / "chapter.ipynb").read_text(encoding="utf-8"))
    chapter = chapters().get(record["chapter"])
    number = chapter.notebook[:2].lstrip("0") if chapter and chapter.notebook[:2].isdigit() else ""
    entries, missing = references(source, record, notebook)
    (folder / "references.bib").write_text("\n".join(entries.values()), encoding="utf-8")
    for name in ("chapter.html", "chapter.ipynb"):
        shutil.copyfile(source / name, folder / name)
    shutil.copyfile(SCHEMA, folder / SCHEMA.name)
    said: dict[str, Any] = {
        "$schema": SCHEMA.name,
        "version": 1,
        "run": source.name,
        "chapter": {"name": record["chapter"], "number": number, "title": chapter.title if chapter else ""},
        "findings": json.loads((source / "findings.json").read_text(encoding="utf-8")),
        "tables": _write_tables(notebook, folder, number, tables),
        "figures": _write_figures(notebook, folder, number, charts),
        "references": list(entries),
        "without_reference": missing,
        "provenance": dict(record),
    }
    (folder / "index.md").write_text(_index(said), encoding="utf-8")
    said["files"] = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files_below(folder)}
    (folder / _OURS).write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return said


def _shown(notebook: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any], str]]:
    """HTML, its metadata and its description in words, of everything that a chapter shows as its result."""
    for cell in notebook["cells"]:
        if "solution" in cell["metadata"].get("tags", []):
            continue
        for output in cell.get("outputs", []):
            html, text = ("".join(output.get("data", {}).get(f"text/{kind}", "")) for kind in ("html", "plain"))
            if html:
                yield html, output.get("metadata", {}).get("text/html", {}), text


def _write_tables(notebook: Mapping, folder: Path, number: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    from fairlib.display.formats import as_csv, as_latex, as_markdown
    from fairlib.display.tables import read_table

    written: list[dict[str, Any]] = []
    taken: set[str] = set()
    for html, metadata, _ in _shown(notebook):
        table = read_table(html, metadata)
        if table is None:
            continue
        slug = "-".join(filter(None, [number.zfill(2) if number else "", _slug(table.caption)]))
        name = next(name for name in _numbered(f"table-{slug}") if name not in taken)
        taken.add(name)
        texts = {
            "csv": as_csv(table),
            "tex": as_latex(table, f"tab:{name.removeprefix('table-')}"),
            "md": as_markdown(table),
        }
        for kind in kinds:
            (folder / f"{name}.{kind}").write_text(texts[kind], encoding="utf-8")
        written.append(
            {"caption": table.caption, "files": [f"{name}.{kind}" for kind in kinds], "unrounded": bool(table.numbers)}
        )
    return written


def _write_figures(notebook: Mapping, folder: Path, number: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    from fairlib.display.formats import tex
    from fairlib.display.rendering import picture, read_chart

    written: list[dict[str, Any]] = []
    taken: set[str] = set()
    latex = [r"% needs \usepackage{graphicx}"]
    for html, _, description in _shown(notebook):
        chart = read_chart(html)
        if chart is None or chart.name in taken or not kinds:
            continue
        taken.add(chart.name)  # a chart that stands in two places is one figure
        label = ".".join(filter(None, [number, str(len(written) + 1)]))
        name = f"figure-{label}"
        for kind in kinds:
            (folder / f"{name}.{kind}").write_bytes(picture(chart.spec, kind))
        if chart.csv:
            (folder / f"{name}.csv").write_text(chart.csv, encoding="utf-8")
        files = [f"{name}.{kind}" for kind in [*kinds, *(["csv"] if chart.csv else [])]]
        written.append(
            {"number": label, "caption": chart.title, "notes": chart.notes, "description": description, "files": files}
        )
        caption = tex(" ".join(filter(None, [f"{chart.title.rstrip('.')}.", chart.notes])))
        latex += [
            r"\begin{figure}", r"\centering", rf"\includegraphics[width=\linewidth]{{{{{name}}}.pdf}}",
            rf"\caption{{{caption}}}\label{{fig:{label}}}", r"\end{figure}",
        ]  # fmt: skip
    if written and "pdf" in kinds:
        (folder / "figures.tex").write_text("\n".join(latex) + "\n", encoding="utf-8")
    return written


def _slug(caption: str) -> str:
    """A caption's first part as a file's name.

    Example:
        >>> _slug("Errors and gaps at every layer, with 95 % intervals")
        'errors-and-gaps-at-every-layer'
    """
    first = re.split(r"[,;]", re.sub(r"\(.*?\)|['’]", "", caption.lower()))[0]
    words = re.sub(r"[^a-z0-9]+", " ", first)
    return textwrap.shorten(words, 60, placeholder="").replace(" ", "-") or "untitled"


def _numbered(name: str) -> Iterable[str]:
    yield name
    yield from (f"{name}-{number}" for number in range(2, 1000))


def _index(said: Mapping[str, Any]) -> str:
    """The list of what an export holds, with captions; figures are shown in it."""
    from fairlib.display.words import plain

    lines = [
        f"# {said['chapter']['title'] or said['chapter']['name']}",
        "",
        f"The run `{said['run']}`, made by `{said['provenance']['command']}` with {said['provenance']['code']}.",
        "",
        "- [chapter.html](chapter.html): the chapter as one page; [chapter.ipynb](chapter.ipynb): as a notebook",
        f"- [{_OURS}]({_OURS}): verdicts, their evidence, and what the run was made from, as described by"
        f" [{SCHEMA.name}]({SCHEMA.name})",
        "- [references.bib](references.bib): what to cite",
    ]
    if said["without_reference"]:
        lines.append(f"  (no entry for {listing(said['without_reference'])}: see what its publisher asks for)")
    lines += ["", "## Findings", ""]
    # Groups may be called anything: what a name holds is no markup here, as on the book's own pages.
    lines += [f"- *{each['verdict']}*: {plain(each['claim'])} {plain(each['sentence'])}" for each in said["findings"]]
    if not said["findings"]:
        lines.append("This chapter judges no claim.")
    lines += ["", "## Tables", ""]
    if any(name.endswith(".csv") for table in said["tables"] for name in table["files"]):
        lines += [
            "CSV files hold the cells as shown; columns ending in “: value”, “: low” and “: high” hold the same numbers"
            " unrounded, in the unit shown (12 % is 12).",
            "",
        ]
    for table in said["tables"]:
        kept = "" if table["unrounded"] else " (as shown only)"
        lines.append(f"- {plain(table['caption'])}{kept} ({_links(table['files'])})")
    lines += ["", "## Figures", ""]
    if any(name.endswith(".pdf") for figure in said["figures"] for name in figure["files"]):
        lines += ["[figures.tex](figures.tex) includes them with their captions.", ""]
    for figure in said["figures"]:
        picture = next((name for name in figure["files"] if not name.endswith((".pdf", ".csv"))), "")
        if picture:
            lines += [f"![{plain(figure['description'])}]({picture})", ""]
        caption = " ".join(filter(None, [f"**{plain(figure['caption'])}**", plain(figure["notes"])]))
        lines += [f"Figure {figure['number']}: {caption} ({_links(figure['files'])})", ""]
    return "\n".join(lines).rstrip() + "\n"


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[{name.rpartition('.')[2]}]({name})" for name in names) or "not written"
