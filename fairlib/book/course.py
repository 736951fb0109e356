"""Worksheets: a chapter's exercises as a notebook with room for answers, and as one with solutions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fairlib.base.files import write_text
from fairlib.book.chapters import Chapter, chapters
from fairlib.book.pairs import SETUP, read_notebook

_EXERCISE = re.compile(r"^:::\{exercise\} ([^\n]+)\n:label: ([^\n]+)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r"\{[\w:]+\}`([^`<]+?)(?: ?<[^>]*>)?`")
_FENCE = re.compile(r"^:::.*\n?|^:(?:class|label):.*\n?", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


def write_worksheets(folder: str | Path) -> list[Path]:
    """Write two notebooks for each chapter into a folder: ``05_..._worksheet.ipynb`` and ``05_..._solutions.ipynb``.

    Both hold the chapter's parameters and its exercises. They need the library, but neither the chapter nor the book.

    Returns:
        The paths, in the chapters' order.

    Example:
        >>> import tempfile
        >>> [path.name for path in write_worksheets(tempfile.mkdtemp())][:2]
        ['02_speakers_and_groups_worksheet.ipynb', '02_speakers_and_groups_solutions.ipynb']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for chapter in chapters().values():
        for kind in ("worksheet", "solutions"):
            path = folder / f"{chapter.notebook}_{kind}.ipynb"
            write_text(path, nbformat.writes(worksheet(chapter, solved=kind == "solutions")) + "\n")
            written.append(path)
    return written


def worksheet(chapter: Chapter, solved: bool = False) -> nbformat.NotebookNode:
    """A chapter's exercises as a notebook; each followed by an empty cell, or by its solution."""
    source = read_notebook(chapter.source).cells
    title = re.search(r"^# (.+)$", source[0].source, re.MULTILINE)
    assert title is not None  # a chapter begins with its heading
    parameters = next(cell.source for cell in source if "parameters" in cell.metadata.get("tags", []))
    cells = [
        new_markdown_cell(f"# {title[1]}: {'solutions' if solved else 'exercises'}\n\nRead the chapter first."),
        new_code_cell(SETUP),
        new_markdown_cell("The parameters of the chapter. Exercises use them by name."),
        new_code_cell(parameters),
    ]
    for exercise in exercises(chapter).values():
        cells.append(new_markdown_cell(f"## {exercise.depth}\n\n{exercise.asked}"))
        if solved:
            cells += [new_markdown_cell(f"*Solution.* {exercise.answer}"), new_code_cell(exercise.code)]
        else:
            cells += [new_code_cell("# your answer"), new_markdown_cell("*What does it show, in one sentence?*")]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same worksheet from every build
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return new_notebook(cells=cells, metadata=kernel)


class Exercise(NamedTuple):
    """An exercise of a chapter and its solution, in words and in code; the words are Markdown without MyST."""

    depth: str
    asked: str
    answer: str
    code: str


def exercises(chapter: Chapter) -> dict[str, Exercise]:
    """A chapter's exercises by their labels, in order."""
    source = read_notebook(chapter.source).cells
    answers = _answers(source)
    text = "\n\n".join(cell.source for cell in source if cell.cell_type == "markdown")
    return {
        label: Exercise(depth, without_myst(asked), *answers[label]) for depth, label, asked in _EXERCISE.findall(text)
    }


def _answers(source: list[nbformat.NotebookNode]) -> dict[str, tuple[str, str]]:
    """The words and the code of each solution, by the label of its exercise."""
    found = {}
    for before, cell in zip(source, source[1:]):
        if "solution" in cell.metadata.get("tags", []):
            label, words = before.source.rpartition(":::{solution-start} ")[2].split("\n", 1)
            found[label.strip()] = (without_myst(words), cell.source)
    return found


def without_myst(text: str) -> str:
    """MyST's roles, fences and links to pages of the book as plain words: Jupyter knows none of them."""
    return _LINK.sub(r"\1", _ROLE.sub(r"\1", _FENCE.sub("", text))).strip()
