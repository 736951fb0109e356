"""The printed book: its pages in order, linked to each other, without what belongs to a screen."""

import re
import shutil

import pytest

from fairlib.book import printing
from fairlib.book.chapters import ROOT

PAGE = """<html><nav class="bd-docs-nav"><a class="reference internal" href="#">First</a>
<a class="reference internal" href="../notebooks/02_x.html">Second</a></nav>
<article class="bd-article"><h1 id="top">{title}<a class="headerlink" href="#top">#</a></h1>{body}</article></html>"""


@pytest.fixture
def built(tmp_path):
    pages = {
        "book/introduction": """<a href="../notebooks/02_x.html#end">to the end</a>
          <a href="../notebooks/02_x.html">x</a>""",
        "notebooks/02_x": """<details class="hide">code</details><details class="dropdown">solution</details>
          <figure id="c" aria-labelledby="c-title end"><b id="c-title">A chart</b></figure>
          <div id="end">End</div><a href="#end">here</a><a href="x.csv">data</a><script>alert(1)</script>
          <a href="https://example.org/">out</a><img src="../_static/a.png">""",
    }
    for name, body in pages.items():
        path = tmp_path / "html" / f"{name}.html"
        path.parent.mkdir(parents=True)
        path.write_text(PAGE.format(title=name, body=body))
    leads = '<meta http-equiv="Refresh" content="0; url=book/introduction.html" />'
    (tmp_path / "html" / "index.html").write_text(leads)
    (tmp_path / "html" / "_static").mkdir()
    shutil.copy(ROOT / "book" / "_static" / "print.css", tmp_path / "html" / "_static")
    return tmp_path / "html"


def test_pages_are_merged_in_order_with_links_that_lead_there(built):
    page = printing.merged_page(built)
    assert page.index('id="page-introduction"') < page.index("<nav>") < page.index('id="page-02_x"')
    assert page.count('href="#02_x--end"') == 2 and page.count('id="02_x--end"') == 1
    assert page.count('href="#page-02_x"') == 2  # in the text and in the contents
    assert 'src="html/_static/a.png"' in page and "https://example.org/" in page


def test_a_chart_is_still_called_by_its_title(built):
    page = printing.merged_page(built)
    assert 'aria-labelledby="02_x--c-title 02_x--end"' in page and 'id="02_x--c-title"' in page


def test_what_belongs_to_a_screen_is_left_out_and_what_is_folded_is_open(built):
    page = printing.merged_page(built)
    assert "alert" not in page and "headerlink" not in page and ">code<" not in page and "x.csv" not in page
    assert '<details class="dropdown" open="">' in page


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, printing.BROWSERS)), reason="Chromium is not installed")
def test_a_book_is_printed(built, tmp_path):
    printed = printing.print_book(built, tmp_path / "book.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") >= 3 and b"/Outlines" in printed


def test_without_a_browser_it_says_what_to_install(built, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(printing.PrintError, match="install Chromium"):
        printing.print_book(built, tmp_path / "book.pdf")
    assert not (tmp_path / "book.pdf").exists()


def test_a_printed_book_is_linked_from_every_page_that_has_a_place_for_it(tmp_path):
    html, pdf = tmp_path / "html", tmp_path / "book.pdf"
    (html / "book").mkdir(parents=True)
    pdf.write_bytes(b"%PDF" + bytes(3_000_000))
    (html / "search.html").write_text(f"<footer>{printing.PDF_PLACE}</footer>")
    (html / "book" / "course.html").write_text(f"<footer>{printing.PDF_PLACE}</footer>")
    (html / "plain.html").write_text("<p>nothing</p>")
    assert printing.link_pdf(html, pdf).read_bytes() == pdf.read_bytes()
    for page in (html / "search.html", html / "book" / "course.html"):
        link = re.search(r'href="([^"]+)">The whole book as PDF</a> \(3\N{NO-BREAK SPACE}MB\)', page.read_text())
        assert (page.parent / link[1]).resolve() == (html / "book.pdf").resolve()
    assert (html / "plain.html").read_text() == "<p>nothing</p>"
