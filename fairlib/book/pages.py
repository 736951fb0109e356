"""One HTML page that opens anywhere, without a network: an executed chapter, or a comparison of runs.

The book is built by Sphinx from many pages and files; a run is handed on as a single one. The same parser reads the
notebook (MyST-NB, here through docutils alone), so that glued numbers and hidden code are what they are in the book.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from fairlib.book.chapters import ROOT

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 50rem; background: #fff; color: #1f2430;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1, h2, h3 { line-height: 1.25; }
pre { padding: 0.6rem 0.8rem; overflow-x: auto; background: #f6f7f9; border-radius: 6px; font-size: 0.85rem; }
code { overflow-wrap: anywhere; }
summary { cursor: pointer; color: #4b5563; font-size: 0.9rem; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; vertical-align: top; }
.cell_output { overflow-x: auto; }
.cell_output img { max-width: 100%; height: auto; }
"""
_HIDDEN = re.compile(
    r'(<div class="cell [^"]*\btag_hide-input\b[^"]*">\s*)(<div class="cell_input docutils container">.*?</div>)', re.S
)
_ELSEWHERE = re.compile(r'<a class="elsewhere"[^>]*>(.*?)</a>', re.S)
_TO_ANOTHER_PAGE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)[^)\s]*\)")
# What Sphinx and its extensions know and docutils alone does not: shown as a box, or as plain words.
_BOXES = ("dropdown", "exercise", "seealso", "solution")
_REFERENCES = ("doc", "numref", "prf:ref", "ref", "term")


def chapter_page(notebook: str | Path) -> str:
    """An executed chapter as a single page: text, charts that draw, tables; code to unfold where the book hides it.

    Links to other pages of the book, which are not there, become plain words.
    """
    import nbformat
    from docutils.core import publish_parts
    from myst_nb.docutils_ import Parser
    from pygments.formatters import HtmlFormatter

    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = _TO_ANOTHER_PAGE.sub(r"\1", cell.source)
    _teach_docutils()
    parts = publish_parts(
        nbformat.writes(content),
        source_path=str(notebook),
        parser=Parser(),
        writer_name="html5",
        settings_overrides={
            "nb_execution_mode": "off",
            "nb_output_folder": "",  # pictures are part of the page
            "nb_output_stderr": "remove",
            "nb_merge_streams": True,
            "myst_enable_extensions": ["colon_fence", "deflist", "smartquotes", "tasklist"],
            "doctitle_xform": False,
            "initial_header_level": 1,
            "embed_stylesheet": False,
            "report_level": 4,
            "_disable_config": True,  # whoever's settings lie about
        },
    )
    body = _HIDDEN.sub(r"\1<details><summary>Show the code</summary>\2</details>", parts["html_body"])
    body = _ELSEWHERE.sub(r"\1", body)
    title = re.search(r"<h1>(.*?)</h1>", body, re.S)
    plain = re.sub(r"<[^>]+>", "", title.group(1)) if title else Path(notebook).stem
    return page(plain, body, HtmlFormatter().get_style_defs(".code"), escaped=True)


def page(title: str, body: str, style: str = "", escaped: bool = False) -> str:
    """A page that asks nothing of any other file: the book's look, and Vega where there is a chart."""
    import vl_convert

    vega = ""
    if "fairlib-chart" in body:
        bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
        bundle = bundle.replace("</script", "<\\/script")
        # Wrapped, so that none of its names is global, but for vegaEmbed. Charts wait until all of the page is read.
        vega = f"<script>(function () {{\n{bundle}\n}})();</script>"
    book = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title if escaped else escape(title)}</title>\n<style>{STYLE}{style}\n{book}</style>\n</head>\n"
        f"<body>\n{body}\n{vega}\n</body>\n</html>\n"
    )


def _cited() -> Callable:
    """The role of citations, from the book's list of references."""
    import pybtex.database
    from docutils import nodes

    bibliography = pybtex.database.parse_file(str(ROOT / "book" / "references.bib"))

    def cited(name, rawtext, text, lineno, inliner, options=None, content=()):
        """Author and year, linked to the work where it has an address; there is no list of references on the page."""
        found: list[nodes.Node] = []
        for key in text.split(","):
            entry = bibliography.entries[key.strip()]
            authors = [" ".join(person.last_names) for person in entry.persons["author"]]
            whom = f"{authors[0]} et al." if len(authors) > 2 else " and ".join(authors)
            told = f"{whom}, {entry.fields['year']}".translate({ord(brace): None for brace in "{}"})
            link = entry.fields.get("url")
            found += [nodes.Text("; " if found else "[")]
            found += [nodes.reference(key, told, refuri=link) if link else nodes.inline(key, told)]
        return [*found, nodes.Text("]")], []

    return cited


def _teach_docutils() -> None:
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, roles

    class Box(Directive):
        optional_arguments, final_argument_whitespace, has_content = 1, True, True
        option_spec = {name: directives.unchanged for name in ("label", "class", "open", "nonumber", "hidden")}

        def run(self) -> list[nodes.Node]:
            box = nodes.admonition("", classes=[self.name])
            title = " ".join([self.name.capitalize() if self.name != "dropdown" else "", *self.arguments]).strip()
            box += nodes.title("", title)
            self.state.nested_parse(self.content, self.content_offset, box)
            return [box]

    class Marker(Directive):
        """Where a solution, several cells long, begins and ends."""

        optional_arguments, has_content = 1, True
        option_spec = {name: directives.unchanged for name in ("label", "class", "hidden")}

        def run(self) -> list[nodes.Node]:
            begins = self.name.endswith("-start")
            tag = "<details><summary>Solution</summary>" if begins else "</details>"
            return [nodes.raw("", tag, format="html")]

    def words(name, rawtext, text, lineno, inliner, options=None, content=()):
        return [nodes.inline(rawtext, re.sub(r"\s*<[^<>]*>$", "", text))], []

    for name in ("cite", "cite:p", "cite:t"):
        roles.register_local_role(name, _cited())
    for name in _BOXES:
        directives.register_directive(name, Box)
    for name in ("solution-start", "solution-end"):
        directives.register_directive(name, Marker)
    for name in _REFERENCES:
        roles.register_local_role(name, words)
