"""What the book adds to Sphinx: Vega from the book's own files, on the pages that show a chart and on no other, the
charts' dark colours, and a number for each figure."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from sphinx.application import Sphinx

from fairlib.rendering import theme_css, write_bundle

FIGURE = re.compile(r'(<div class="fairlib-chart" )(.*?<strong>)', re.S)
CHAPTER = re.compile(r"notebooks/0*(\d+)_")


def add_files(app: Sphinx) -> None:
    """Write `vega.js` and `charts.css` where Sphinx collects static files."""
    if app.builder.format != "html":
        return
    folder = Path(app.doctreedir) / "charts"
    write_bundle(folder / "vega.js")
    (folder / "charts.css").write_text(theme_css(), encoding="utf-8")
    app.config.html_static_path.append(str(folder))
    app.add_css_file("charts.css")


def finish_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Number the figures, and load Vega where there are any: deferred, so that the page is read and drawn first."""
    # docutils calls the entries of a list of references what a list may not hold any more (ARIA 1.3).
    body = context["body"] = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    if "fairlib-chart" in body:
        context["body"] = numbered(body, pagename)
        app.add_js_file("vega.js", loading_method="defer")


def numbered(body: str, pagename: str) -> str:
    """A page whose charts are called Figure 5.1, 5.2, ... in the fifth chapter, with anchors to link to."""
    chapter = CHAPTER.match(pagename)
    numbers = (f"{chapter[1]}.{number}" if chapter else str(number) for number in itertools.count(1))

    def figure(match: re.Match) -> str:
        number = next(numbers)
        anchor = f'<span id="figure-{number.replace(".", "-")}"></span>'
        return f"{anchor}{match[1]}{match[2]}Figure {number}. "

    return FIGURE.sub(figure, body)


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", add_files)
    app.connect("html-page-context", finish_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
