"""What the book adds to Sphinx: Vega from the book's own files, on the pages that show a chart and on no other, the
charts' dark colours, a number for each figure, and links to the glossary and to the library's pages."""

from __future__ import annotations

import itertools
import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from fairlib.book.chapters import ROOT
from fairlib.book.picture import CARD, CARD_SIZE
from fairlib.book.printing import PDF_PLACE
from fairlib.book.provenance import commit_and_changes, edition_day
from fairlib.display.rendering import theme_css, write_bundle

BIBTEX = """@book{fairlib2026,
  title = {Where do self-supervised speech models become unfair? A rerunnable book},
  author = {{The fairlib contributors}},
  year = {2026}
}"""
ICON_SCRIPT = re.compile(r"\s*<(?:script|link)\b[^>]*fontawesome\.js[^>]*>(?:</script>)?")
FIGURE = re.compile(r'(<div class="fairlib-chart" )(.*?<strong>)', re.S)
# Words of the glossary that are everyday words as well: linked by hand, where they are meant.
EVERYDAY = {"contrast", "control", "difference", "frame", "null", "odds", "outcome", "ratio", "verdict"}
# Where no word is linked.
KEPT = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.raw,
    nodes.table,
    nodes.caption,
    nodes.citation,
)
# What sphinx-exercise calls every exercise of a page, though an id may stand on a page but once; nothing asks for it.
REPEATED_ID = re.compile(r' id="(?:exercise|solution)-content"')
CHAPTER = re.compile(r"notebooks/0*(\d+)_")
# Sphinx writes a long signature as a list of definitions that define nothing.
SIGNATURE = re.compile(r'<dl>(\s*<dd><em class="sig-param">.*?)</dl>', re.S)
# A call in highlighted code, with what stands before its dot.
CALL = re.compile(
    r'(?:<span class="n">(\w+)</span><span class="o">\.</span>)?(<span class="n">(\w+)</span>)(?=<span class="p">\()'
)


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
    body = context["body"] = REPEATED_ID.sub("", SIGNATURE.sub(_as_list, body))
    if "fairlib-chart" in body:
        context["body"] = numbered(body, pagename)
        app.add_js_file("vega.js", loading_method="defer")
    name = re.sub(r"<[^>]+>", "", context.get("title", ""))
    context["metatags"] = context.get("metatags", "") + described(name, doctree) + social_card(app, pagename)
    context["theme_extra_footer"] = footer(app, pagename)
    if chapter := CHAPTER.match(pagename):
        body = link_calls(app, context["body"], pagename)
        context["body"] = body.replace("<h1>", f'<h1><span class="chapter-number">{chapter[1]}</span> ', 1)


def social_card(app: Sphinx, pagename: str) -> str:
    """The picture that messengers show beside a page's address. They ask for a whole address, which only a book that
    knows where it is published has (`html: baseurl` in _config.yml); elsewhere the path within the book is given."""
    words = Path(app.srcdir, "book", "_static", CARD.with_suffix(".txt").name)
    if not words.exists():
        return ""
    base = app.config.html_baseurl.rstrip("/")
    picture = f"_static/{CARD.name}"
    address = f"{base}/{picture}" if base else app.builder.get_relative_uri(pagename, "index").replace("index.html", "")
    address = address if base else f"{address}{picture}"
    width, height = CARD_SIZE
    alt = escape(" ".join(words.read_text(encoding="utf-8").split()))
    facts = {"og:image": address, "og:image:width": width, "og:image:height": height, "og:image:alt": alt}
    if base:
        facts["og:url"] = f"{base}/{app.builder.get_target_uri(pagename)}"
    tags = [f'<meta property="{name}" content="{content}">' for name, content in facts.items()]
    return "\n".join([*tags, '<meta name="twitter:card" content="summary_large_image">', ""])


def described(name: str, doctree: object) -> str:
    """What search engines and messengers show of a page: its title and its first paragraph of prose, if it has one."""
    paragraphs = doctree.findall(nodes.paragraph) if isinstance(doctree, nodes.document) else ()
    texts = (" ".join(one.astext().split()) for one in paragraphs if isinstance(one.parent, nodes.section))
    first = next((text for text in texts if len(text) > 60), "")
    tags = f'<meta property="og:type" content="article">\n<meta property="og:title" content="{escape(name)}">\n'
    if not first:
        return tags
    words = escape(first if len(first) <= 300 else first[:300].rsplit(" ", 1)[0] + " …")
    return tags + f'<meta name="description" content="{words}">\n<meta property="og:description" content="{words}">\n'


def footer(app: Sphinx, pagename: str) -> str:
    """Edition, licence and how to cite, at the foot of every page."""
    commit, _ = commit_and_changes()
    # Of the edition and not of the build: two builds of one commit are the same.
    made = ", ".join(filter(None, [edition(), edition_day(), f"commit {commit}" if commit else ""]))
    methods = app.builder.get_relative_uri(pagename, "book/methods") if "book/methods" in app.env.found_docs else ""
    links = f' · <a href="{methods}">Methods</a>' if methods else ""
    return (
        f"<p>{escape(app.config.html_title)} {made}. Text and charts: "
        f'<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>; code: MIT{links}{PDF_PLACE}</p>'
        f"<details><summary>Cite this book</summary><pre>{escape(BIBTEX)}</pre></details>"
    )


def edition() -> str:
    """The edition that the changelog begins with."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## (.+)$", changes, re.MULTILINE)
    return found[1] if found else ""


def _as_list(signature: re.Match) -> str:
    entries = signature[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
    return f'<ul class="sig-params">{entries}</ul>'


def numbered(body: str, pagename: str) -> str:
    """A page whose charts are called Figure 5.1, 5.2, ... in the fifth chapter, with anchors to link to."""
    chapter = CHAPTER.match(pagename)
    numbers = (f"{chapter[1]}.{number}" if chapter else str(number) for number in itertools.count(1))

    def figure(match: re.Match) -> str:
        number = next(numbers)
        anchor = f'<span id="figure-{number.replace(".", "-")}"></span>'
        return f"{anchor}{match[1]}{match[2]}Figure {number}. "

    return FIGURE.sub(figure, body)


def library_entry(app: Sphinx, name: str) -> tuple[str, str] | None:
    """The page and anchor of the one name of the library that ends so, if there is one."""
    objects = app.env.get_domain("py").objects.items()
    places = {(entry.docname, entry.node_id) for full, entry in objects if f".{full}".endswith(f".{name}")}
    return places.pop() if len(places) == 1 else None


def link_calls(app: Sphinx, body: str, pagename: str) -> str:
    """Link each function of the library to its entry, where a chapter's code calls it first."""
    linked = set()

    def link(match: re.Match) -> str:
        before, shown, name = match.groups()
        # A bare name of one word could be anything: only `fairlib.probe` or `charts.table` is surely ours.
        place = library_entry(app, f"{before}.{name}" if before else name) if before or "_" in name else None
        if place is None or place in linked:
            return match.group()
        linked.add(place)
        address = f"{app.builder.get_relative_uri(pagename, place[0])}#{place[1]}"
        return match.group().replace(shown, f'<a class="call" href="{address}">{shown}</a>')

    return CALL.sub(link, body)


def link_names(app: Sphinx, env: object, node: nodes.Element, shown: nodes.Node) -> nodes.Node | None:
    """Link a name in a docstring to its entry wherever it is imported from, as in `load_corpus`."""
    place = library_entry(app, node["reftarget"].rpartition(".")[2]) if node.get("refdomain") == "py" else None
    if place is None:
        return None
    address = f"{app.builder.get_relative_uri(node['refdoc'], place[0])}#{place[1]}"
    return nodes.reference("", "", shown, internal=True, refuri=address)


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link each word of the glossary to its meaning, where a page uses it first."""
    terms = {
        name.lower(): (page, anchor)
        for (kind, name), (page, anchor) in app.env.get_domain("std").objects.items()
        if kind == "term" and name not in EVERYDAY and page != docname
    }
    if not terms:
        return
    longest_first = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))
    word = re.compile(rf"(?<![\w-])({longest_first})s?(?![\w-])", re.IGNORECASE)
    by_hand = {node.get("refuri", "").partition("#")[2] for node in doctree.findall(nodes.reference)}
    used = {term for term, (_, anchor) in terms.items() if anchor in by_hand}
    for text in list(doctree.findall(nodes.Text)):
        above = list(_above(text))
        if any(isinstance(node, KEPT) for node in above) or not any(
            isinstance(node, nodes.paragraph) for node in above
        ):
            continue
        pieces, at = [], 0
        for match in word.finditer(str(text)):
            term = match[1].lower()
            if term in used:
                continue
            used.add(term)
            page, anchor = terms[term]
            address = f"{app.builder.get_relative_uri(docname, page)}#{anchor}"
            link = nodes.reference("", match[0], internal=True, refuri=address, classes=["term"])
            pieces += [nodes.Text(str(text)[at : match.start()]), link]
            at = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(str(text)[at:])])


def _above(node: nodes.Node):
    while node.parent is not None:
        node = node.parent
        yield node


def leave_out_icon_script(app: Sphinx, error: Exception | None) -> None:
    """Take the theme's script of all icons, 1.5 MB, out of every page: its style sheet draws them as well."""
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(ICON_SCRIPT.sub("", text), encoding="utf-8")
    for script in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        script.unlink()


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", add_files)
    app.connect("missing-reference", link_names)
    app.connect("doctree-resolved", link_terms)
    app.connect("html-page-context", finish_page)
    app.connect("build-finished", leave_out_icon_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
