"""The whole book as one PDF: its built pages merged into one, and printed by Chromium.

Not by TeX, which would lose whatever is HTML in a chapter: tables, provenance, charts that stay sharp.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

from fairlib.base.files import replace, write_text
from fairlib.book.provenance import edition_day

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
STYLES = ("pygments.css", "book.css", "print.css")
# What belongs to a screen: buttons, scripts, code that the page hides, and the charts' data, which are links.
ON_SCREEN = "script, button, .headerlink, .fairlib-data, a.download, details.hide, .tocwrapper"


# Where a page is to link to the PDF, once there is one: empty until then, so that no link is dead.
PDF_PLACE = '<span class="whole-book"></span>'


class PrintError(RuntimeError):
    """The book could not be printed; the message says why."""


def print_book(html: str | Path, output: str | Path) -> Path:
    """Print a built book (its folder of HTML) into the PDF file ``output`` and return it.

    Raises:
        PrintError: there is no Chromium or Chrome on this machine, or it failed.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise PrintError(f"printing needs one of {', '.join(BROWSERS)} on the PATH: install Chromium.")
    html, output = Path(html).resolve(), Path(output).resolve()
    page = html.parent / "print.html"
    write_text(page, merged_page(html))
    with tempfile.TemporaryDirectory() as profile:
        replace(output, lambda partial: _print(program, profile, page, partial))
    return output


def link_pdf(html: str | Path, pdf: str | Path) -> Path:
    """Put the printed book into the folder of the built one, and a link to it on every page; return the copy's path."""
    html, copy = Path(html), Path(html) / "book.pdf"
    replace(copy, lambda partial: shutil.copyfile(pdf, partial))
    size = f"{copy.stat().st_size / 1e6:.0f}"
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if PDF_PLACE in text:
            up = "../" * (len(page.relative_to(html).parts) - 1)
            link = f'<a href="{up}book.pdf">The whole book as PDF</a> ({size}\N{NO-BREAK SPACE}MB)'
            write_text(page, text.replace(PDF_PLACE, PDF_PLACE.replace("><", f">{link}<")))
    return copy


def _print(program: str, profile: str, page: Path, output: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    flags += ["--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={output}"]
    try:
        done = subprocess.run([program, *flags, page.as_uri()], capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        raise PrintError("Chromium did not print the book within ten minutes.") from None
    if done.returncode or not output.exists():
        raise PrintError(f"Chromium could not print the book: {done.stderr.strip()[-500:]}")


def merged_page(html: Path) -> str:
    """All pages of a built book as one, in the order of its table of contents; links between them stay links.

    Args:
        html: folder of the built book; the page is to lie beside it.
    """
    soups = {path: _soup(path) for path in _in_order(html)}
    parts, contents = [], []
    for number, (path, soup) in enumerate(soups.items()):
        article = _article(soup)
        _for_print(article, path, set(soups), html.parent)
        title = _title(article)
        if number:  # the first page is the cover
            contents.append(f'<li><a href="#page-{path.stem}">{title}</a></li>')
        parts.append(f'<section class="page" id="page-{path.stem}">{article.decode_contents()}</section>')
    first, *others = parts
    styles = "".join(f'<link rel="stylesheet" href="{html.name}/_static/{name}">' for name in STYLES)
    title = _title(_article(next(iter(soups.values()))))
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>{styles}'
        f"</head><body>{first}<nav><h2>Contents</h2><ol>{''.join(contents)}</ol>"
        f"<p>Edition of {edition_day() or 'an unknown day'}.</p></nav>{''.join(others)}</body></html>"
    )


def _in_order(html: Path) -> list[Path]:
    """The pages that the table of contents names, the first page first."""
    (there,) = re.findall(r"url=([^\"']+)", (html / "index.html").read_text(encoding="utf-8"))
    first = html / there
    links = _soup(first).select("nav.bd-docs-nav a.reference.internal")
    pages = [(first.parent / urldefrag(str(link["href"]))[0]).resolve() for link in links if link["href"] != "#"]
    return [first, *dict.fromkeys(pages)]


def _for_print(article: Tag, path: Path, pages: set[Path], beside: Path) -> None:
    """Leave out what belongs to a screen, open what is folded, and make names and links unique to the page."""
    for part in article.select(ON_SCREEN):
        part.decompose()
    for folded in article.select("details"):
        folded["open"] = ""
    for named in article.select("[id]"):
        named["id"] = f"{path.stem}--{named['id']}"
    for name in ("aria-labelledby", "aria-describedby", "for"):  # by which a chart, say, is called by its title
        for called in article.select(f"[{name}]"):
            ids = called[name] if isinstance(called[name], list) else str(called[name]).split()
            called[name] = " ".join(f"{path.stem}--{one}" for one in ids)
    for link in article.select("a[href]"):
        address, anchor = urldefrag(str(link["href"]))
        target = (path.parent / address).resolve() if address else path
        if target in pages:
            link["href"] = f"#{target.stem}--{anchor}" if anchor else f"#page-{target.stem}"
        elif "://" not in link["href"]:
            link.unwrap()  # a file of the book on the screen
    for picture in article.select("img[src]"):
        if ":" not in picture["src"]:
            picture["src"] = (path.parent / str(picture["src"])).resolve().relative_to(beside).as_posix()


def _article(soup: BeautifulSoup) -> Tag:
    (article,) = soup.select("article.bd-article")
    return article


def _title(article: Tag) -> str:
    (heading,) = article.select("h1")
    return heading.get_text().strip()


def _soup(path: Path) -> BeautifulSoup:
    from bs4 import BeautifulSoup

    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
