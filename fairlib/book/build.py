"""The book, put together from executed chapters; Sphinx itself executes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fairlib.base.files import write_text
from fairlib.book.chapters import ROOT, Chapter, chapters, check
from fairlib.book.course import write_worksheets
from fairlib.book.explorer import write_explorer
from fairlib.book.grids import each_in_a_process
from fairlib.book.methods import write_methods
from fairlib.book.run_keys import differing, key
from fairlib.book.runs import execute, facts_in, find_run, read_run
from fairlib.book.slides import write_slides
from fairlib.book.summary import plain, write_status, write_summary

BUILD = ROOT / "_build"
_MOST_AT_ONCE = 4  # chapters; each takes up to two gigabytes of memory


class BookError(RuntimeError):
    """The book could not be built; the message says why."""


def build_book(output: str | Path = BUILD / "html") -> Path:
    """Build the book as HTML into ``output`` and return the path of its first page.

    Chapters are executed with their default parameters, or taken from the last build when nothing they follow
    from has changed; Sphinx itself executes nothing. Any warning fails the build, and a failed build leaves
    the last good ``output`` in place.

    Raises:
        BookError: Sphinx failed, or the packages that build a book are not installed.
        ChapterStopped: a chapter failed.
    """
    _require_jupyter_book()
    stale = [name for name, chapter in chapters().items() if not _is_current(chapter)]
    # The last chapters look at most encoders and take longest: they go first, so that no core waits at the end.
    each_in_a_process(_execute, stale[::-1], min(len(stale), os.cpu_count() or 1, _MOST_AT_ONCE))
    executed = {chapter: _executed(chapter)[0] for chapter in chapters().values()}
    source = _stage(executed, BUILD / "source")
    write_worksheets(source / "book" / "_static" / "worksheets")
    write_slides(source / "book" / "_static" / "slides", executed)
    return _built(source, BUILD / "work", output)


def build_book_of_runs(
    folders: Sequence[str | Path], title: str = "", output: str | Path = BUILD / "runs" / "html"
) -> Path:
    """Build a book of one's own runs, in the chapters' order; its title and table of contents say whose it is.

    Nothing is executed. Chapters without a run are left out, several runs of a chapter follow each other, and links to
    pages that this book has not become plain words.

    Args:
        folders: of finished runs, or their names under ``_runs``.
        title: of the book; by default the number of runs.
        output: as `build_book`.

    Raises:
        RunError: a run is not there, or damaged.
        BookError: as `build_book`.
    """
    _require_jupyter_book()
    found = {find_run(folder): read_run(folder) for folder in folders}
    count = f"{len(found)} runs" if len(found) > 1 else "one run"
    title = title or f"{count[0].upper()}{count[1:]} of one’s own"
    pages: dict[Chapter, Path] = {}
    for name, chapter in chapters().items():
        mine = [(folder, record) for folder, record in found.items() if record["chapter"] == name]
        for number, (folder, record) in enumerate(mine, start=1):
            told = ", ".join(f"{key} {value}" for key, value in differing(check(name, record["parameters"])).items())
            page = replace(
                chapter,
                name=name + (f"-{number}" if number > 1 else ""),
                notebook=chapter.notebook + (f"_{number}" if number > 1 else ""),
                title=f"{chapter.title} ({told})" if told else chapter.title,
            )
            pages[page] = folder / "chapter.ipynb"
    source = _stage(pages, BUILD / "runs" / "source")
    _own_contents(source, title, count, pages)
    for file in sorted([*source.glob("book/*.md"), *source.glob("notebooks/*.ipynb")]):
        _without_dead_links(file, source)
    return _built(source, BUILD / "runs" / "work", output)


def _require_jupyter_book() -> None:
    if importlib.util.find_spec("jupyter_book") is None:
        raise BookError("jupyter-book is not installed: run make book, or install fairlib's extra, .[book].")


def _built(source: Path, work: Path, output: str | Path) -> Path:
    shutil.rmtree(work / "_build" / "html", ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    log = work.parent / "book.log"
    arguments = ["build", str(source), "--path-output", str(work), "--all", "-W", "-n", "--keep-going"]
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    index = work / "_build" / "html" / "index.html"
    if done.returncode != 0 or not index.exists():
        raise BookError(f"the book was not built; the whole log is {log}:\n{_complaints(log)}")
    output = Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output, ignore_errors=True)
    shutil.move(work / "_build" / "html", output)
    return output / "index.html"


def _executed(chapter: Chapter) -> tuple[Path, Path]:
    """Where a chapter's notebook, executed with its defaults, is kept from build to build, and the key of what it was
    made from."""
    folder = BUILD / "executed" / chapter.notebook
    return folder / "chapter.ipynb", folder / "key"


def _is_current(chapter: Chapter) -> bool:
    notebook, made_from = _executed(chapter)
    if not (notebook.exists() and made_from.exists()):
        return False
    return made_from.read_text() == key(chapter.name, chapter.parameters())


def _execute(name: str) -> None:
    chapter = chapters()[name]
    notebook, made_from = _executed(chapter)
    made_from.unlink(missing_ok=True)
    current = key(name, chapter.parameters())
    execute(name, chapter.parameters().model_dump(), folder=notebook.parent)
    write_text(made_from, current)


def _stage(executed: Mapping[Chapter, Path], source: Path) -> Path:
    """Lay out what Sphinx reads: prose pages, executed notebooks, the pages made from them, configuration."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__"))
    write_methods(source / "book")
    (source / "notebooks").mkdir()
    for chapter, notebook in executed.items():
        shutil.copy(notebook, source / "notebooks" / f"{chapter.notebook}.ipynb")
    if executed:
        facts = {chapter: facts_in(notebook) for chapter, notebook in executed.items()}
        write_summary(source / "book", facts)
        write_status(source / "book", facts)
        write_explorer(source / "book" / "_static" / "explorer")
    return source


def _own_contents(source: Path, title: str, count: str, pages: Mapping[Chapter, Path]) -> None:
    """The title, the table of contents and the first page of a book of one's own runs."""
    import yaml

    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    config |= {"title": f"{title}: chapters of “{config['title']}”"}
    write_text(source / "_config.yml", yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    published = plain(config["title"].partition("“")[2].rstrip("”"))
    first = [
        f"# {plain(title)}",
        "",
        f"This book holds {count} of the chapters of *{published}*, run by somebody with the parameters given beside"
        " each. It is not the published edition, and no code was executed to assemble it.",
        "",
        *(f"- [{plain(page.title)}](../notebooks/{page.notebook}.ipynb)" for page in pages),
    ]
    write_text(source / "book" / "own_runs.md", "\n".join(first) + "\n")
    # Pages that quote the published chapters' numbers or point at their exercises have no place here.
    for prose in source.glob("book/*.md"):
        text = prose.read_text(encoding="utf-8")
        if ("::" in text and "{glue:" in text) or "{ref}`" in text:
            prose.unlink()
    contents = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    contents["root"] = "book/own_runs"
    parts = []
    for part in contents["parts"]:
        entries = []
        for entry in part["chapters"]:
            folder, _, name = entry["file"].partition("/")
            if folder == "notebooks":
                mine = [page for page in pages if page.notebook == name or page.notebook.startswith(f"{name}_")]
                entries += [{"file": f"notebooks/{page.notebook}", "title": page.title} for page in mine]
            elif (source / f"{entry['file']}.md").exists():
                entries.append(entry)
        if entries:
            parts.append(part | {"chapters": entries})
    write_text(source / "_toc.yml", yaml.safe_dump(contents | {"parts": parts}, allow_unicode=True, sort_keys=False))
    for page in pages:
        notebook = source / "notebooks" / f"{page.notebook}.ipynb"
        number = page.notebook.rpartition("_")[2]
        content = json.loads(notebook.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown" and number.isdecimal():  # labels are the whole book's
                text = re.sub(r"(:label: |\{solution-start\} )([\w-]+)", rf"\1\2-{number}", text)
            if text.startswith("# ") and cell["cell_type"] == "markdown":
                text = f"# {plain(page.title)}" + "".join(text.partition("\n")[1:])
            cell["source"] = text
        write_text(notebook, json.dumps(content))


def _without_dead_links(page: Path, source: Path) -> None:
    """Links to pages that are not in this book become their words."""

    def kept(link: re.Match) -> str:
        target = (page.parent / link.group(2).partition("#")[0]).resolve()
        return link.group() if target.exists() else link.group(1)

    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<a class=\\?"elsewhere\\?"[^>]*>(.*?)</a>', r"\1", text)  # to the explorer
    write_text(
        page, re.sub(r"(?<!!)\[([^\[\]]+)\]\((?!https?:|mailto:|#)([^()\s]+\.(?:md|ipynb)(?:#[^()\s]*)?)\)", kept, text)
    )


def _complaints(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    wrong = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join(wrong[:20] or lines[-20:])
