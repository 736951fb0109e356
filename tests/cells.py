"""A chapter's code, executed here and now in place of in a kernel: what it shows and what it glues, as plain values."""

import warnings
from types import SimpleNamespace

import IPython.display
import myst_nb

from fairlib.book import chapters
from fairlib.book.pairs import read_notebook


def run_cells(monkeypatch, chapter: str, **values) -> SimpleNamespace:
    """Execute the cells of a chapter, solutions aside, with these parameters.

    Returns:
        ``glued`` by name, ``shown`` (objects), ``said`` (the text of all Markdown and tables together), ``scope``.
    """
    shown, glued = [], {}
    monkeypatch.setattr(IPython.display, "display", lambda *things, **_: shown.extend(things))
    monkeypatch.setattr(myst_nb, "glue", lambda name, value, display=True: glued.__setitem__(name, value))
    scope = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in read_notebook(chapters.chapter_named(chapter).source).cells:
            tags = cell.metadata.get("tags", [])
            if cell.cell_type != "code" or "solution" in tags or "remove-cell" in tags:
                continue
            exec(compile(cell.source, f"{chapter}: {cell.source[:40]!r}", "exec"), scope)
            if "parameters" in tags:
                scope.update(values)
    said = "\n".join(str(getattr(thing, "data", "")) for thing in shown)
    return SimpleNamespace(glued=glued, shown=shown, said=said, scope=scope)
