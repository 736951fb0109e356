"""Notebooks: the text source, and the .ipynb that follows from it.

``python -m fairlib.book.pairs`` makes them equal again; it is the pre-commit hook.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.base.files import write_text
from fairlib.book.chapters import NOTEBOOKS

if TYPE_CHECKING:
    from nbformat import NotebookNode


# The first code cell of every chapter (a test compares them). Where the library is missing, Python shows the line, and
# with it what to do.
SETUP = 'import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel'


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


def source_of(pair: str | Path) -> str:
    """The text source that a paired .ipynb gives; the inverse of `paired_notebook`, whatever outputs the pair holds."""
    import jupytext

    text = jupytext.writes(jupytext.read(pair), fmt="py:percent")
    return re.sub(r"(?m)^#       (format_version|jupytext_version): .*\n", "", text)


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


def make_equal() -> list[Path]:
    """Write what of each pair is behind, and return it.

    It is the source where only the .ipynb was edited since the last commit, and else the .ipynb.
    """
    changed = []
    for pair in sorted(NOTEBOOKS.glob("*.ipynb")):
        source = pair.with_suffix(".py")
        edited = source.exists() and _differs(pair) and not _differs(source) and source_of(pair)
        if edited and edited != source.read_text(encoding="utf-8"):
            write_text(source, edited)
            changed.append(source)
    return changed + write_pairs()


def _differs(path: Path) -> bool:
    """Whether a file is other than it was committed."""
    command = ["git", "diff", "--quiet", "HEAD", "--", path.name]
    return subprocess.run(command, cwd=path.parent, capture_output=True).returncode == 1


if __name__ == "__main__":
    written = make_equal()
    print(*(f"{path.name} was behind its pair and is written anew: add it" for path in written), sep="\n")
    sys.exit(bool(written))
