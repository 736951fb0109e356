"""Notebooks: the text source, and the .ipynb that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.chapters import NOTEBOOKS
from fairlib.folders import write_text

if TYPE_CHECKING:
    from nbformat import NotebookNode


def read_notebook(source: str | Path) -> NotebookNode:
    """Read a notebook's text source; cell ids follow from the cells' order, so that nothing is random."""
    import jupytext

    notebook = jupytext.read(source, fmt="py:percent")
    number_cells(notebook)
    return notebook


def paired_notebook(source: str | Path) -> str:
    """The .ipynb paired with a text source, without outputs, as the text of its file.

    The same source gives the same text, always; ``tests/test_notebooks.py`` compares it with the file.
    """
    import nbformat

    return nbformat.writes(read_notebook(source), version=nbformat.NO_CONVERT) + "\n"


def write_pairs() -> list[Path]:
    """Write the .ipynb beside every text source in ``notebooks/``; returns those that changed."""
    changed = []
    for source in sorted(NOTEBOOKS.glob("*.py")):
        pair, text = source.with_suffix(".ipynb"), paired_notebook(source)
        if not pair.exists() or pair.read_text(encoding="utf-8") != text:
            write_text(pair, text)
            changed.append(pair)
    return changed


def number_cells(notebook: NotebookNode) -> None:
    # Ids are part of the format from 4.5 on; numbered, they are equal from one reading to the next.
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"


def write_notebook(path: Path, notebook: NotebookNode) -> None:
    import nbformat

    nbformat.write(notebook, path, version=nbformat.NO_CONVERT)
