"""The book, put together from executed chapters; Sphinx itself executes nothing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fairlib.chapters import ROOT, Chapter, chapters
from fairlib.folders import write_text
from fairlib.runs import execute, facts_in, key
from fairlib.summary import write_status, write_summary

BUILD = ROOT / "_build"


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
    if importlib.util.find_spec("jupyter_book") is None:
        raise BookError("jupyter-book is not installed: run make book, or install fairlib's extra, .[book].")
    executed = {chapter: _executed(chapter) for chapter in chapters().values()}
    source = _stage(executed)
    work = BUILD / "work"
    shutil.rmtree(work / "_build" / "html", ignore_errors=True)
    log = BUILD / "book.log"
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


def _executed(chapter: Chapter) -> Path:
    """A chapter's notebook executed with its defaults, from the last build where nothing has changed."""
    chosen = chapter.parameters()
    folder = BUILD / "executed" / chapter.notebook
    notebook, made_from = folder / "chapter.ipynb", folder / "key"
    current = key(chapter.name, chosen)
    if notebook.exists() and made_from.exists() and made_from.read_text() == current:
        return notebook
    made_from.unlink(missing_ok=True)
    execute(chapter.name, chosen.model_dump(), folder=folder)
    write_text(made_from, current)
    return notebook


def _stage(executed: Mapping[Chapter, Path]) -> Path:
    """Lay out what Sphinx reads: prose pages, executed notebooks, the pages made from them, configuration."""
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "notebooks").mkdir()
    for chapter, notebook in executed.items():
        shutil.copy(notebook, source / "notebooks" / f"{chapter.notebook}.ipynb")
    if executed:
        facts = {chapter: facts_in(notebook) for chapter, notebook in executed.items()}
        write_summary(source / "book", facts)
        write_status(source / "book", facts)
    return source


def _complaints(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    wrong = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join(wrong[:20] or lines[-20:])
