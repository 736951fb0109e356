"""What the book adds to Sphinx: Vega from the book's own files, on the pages that show a chart and on no
other."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

from fairlib.charts import write_bundle


def add_bundle(app: Sphinx) -> None:
    """Write `vega.js` where Sphinx collects static files."""
    if app.builder.format != "html":
        return
    folder = Path(app.doctreedir) / "vega"
    write_bundle(folder / "vega.js")
    app.config.html_static_path.append(str(folder))


def load_where_needed(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Deferred, so that the page is read and drawn first; the charts wait for it."""
    if "fairlib-chart" in context.get("body", ""):
        app.add_js_file("vega.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", add_bundle)
    app.connect("html-page-context", load_where_needed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
