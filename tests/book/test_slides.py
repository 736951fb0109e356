"""Slides: one deck a session, of the chapters' own charts and answers; it works alone, by keyboard and on a phone."""

import re
from html import unescape
from pathlib import Path

import nbformat
import pytest
from browser import Browser, find_chromium
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_notebooks import literal_results

from fairlib.book import slides
from fairlib.book.chapters import ROOT, chapters

BOOK = ROOT / "_build" / "html"
DECKS = sorted((BOOK / "_static" / "slides").glob("session-*.html"))
SESSIONS = slides.sessions(slides.COURSE.read_text(encoding="utf-8"))
MOST = 100_000  # bytes of a deck, beside its charts

built = pytest.mark.skipif(not DECKS, reason=f"the book is not built ({BOOK} holds no slides): run make book")
in_a_browser = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")


def glued(name, value):
    output = new_output("display_data", {"application/papermill.record/text/plain": repr(value)})
    output.metadata = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}}
    return output


def chart(title):
    html = (
        f'<div class="fairlib-chart"><strong>{title}</strong><small>Bands.</small>'
        '<div class="fairlib-still"><svg class="marks"><text>1</text></svg></div><script>draw()</script></div>'
    )
    return new_output("display_data", {"text/html": html, "text/plain": 'A "line" & more'})


@pytest.fixture
def notebook():
    hidden = {"tags": ["remove-output"]}
    return new_notebook(
        cells=[
            new_markdown_cell("# Why?\n\nOne group is served worse. **Is *that* so?** {glue:text}`people`"),
            new_markdown_cell(
                "**The answer.** {glue:text}`short`\n\n- **At every layer?** *{glue:text}`verdict`.* Yes."
            ),
            new_code_cell(
                "", outputs=[glued("short", "It is < so."), glued("verdict", "supported"), glued("people", "Nine.")]
            ),
            new_markdown_cell("## A closer look"),
            new_code_cell("", outputs=[chart("Seen &amp; shown")]),
            new_code_cell("", outputs=[chart("Glued again")], metadata=hidden),
            new_markdown_cell('<details class="more"><summary>And this?</summary>\n\n**Folded?** No.'),
            new_code_cell("", outputs=[chart("Folded away")]),
            new_markdown_cell("</details>"),
            new_markdown_cell("## Exercises"),
            new_code_cell("", outputs=[chart("A solution")]),
        ]
    )


def test_a_deck_holds_what_a_reader_sees_and_not_what_is_folded(notebook):
    chapter = chapters()["why"]
    session = slides.Session(
        9, "Session 9: Why?", [chapter.notebook], [("0–20", "Chapter 10: *look*.")], ["why-look"], [("So?", "Yes.")]
    )
    page = BeautifulSoup(slides.deck(session, [(chapter, notebook)]), "html.parser")
    headings = [heading.get_text() for heading in page.select("h1, h2")]
    assert headings == [
        "Session 9: Why?",
        f"10 {chapter.title}",
        "The answer",
        "At every layer?",
        "Seen & shown",
        "Look",
        "So?",
    ]
    told = page.main.get_text(" ")
    assert (
        "It is < so." in told and "supported" in told and "Nine." in told and "{glue" not in told and "**" not in told
    )
    assert len(page.select("section figure svg")) == 1 and not page.select("main script")
    assert page.svg["aria-label"] == 'A "line" & more'
    notes = [aside.get_text(" ") for aside in page.select("aside")]
    assert notes[0].split() == ["0–20", "Chapter", "10:", "look", "."] and notes[-1].strip() == "Yes."
    assert "None of the three is wrong" in notes[-2]  # the exercise's solution, for the teacher


def test_every_session_has_chapters_a_plan_and_a_link_to_its_slides():
    course = slides.COURSE.read_text(encoding="utf-8")
    assert [session.number for session in SESSIONS] == list(range(1, len(SESSIONS) + 1))
    known = {chapter.notebook for chapter in chapters().values()}
    for session in SESSIONS:
        assert session.plan and session.notebooks and set(session.notebooks) <= known
        assert f'href="../_static/slides/session-{session.number}.html"' in course


def test_sessions_without_an_executed_chapter_have_no_deck(tmp_path, notebook):
    path = tmp_path / "chapter.ipynb"
    nbformat.write(notebook, path)
    written = slides.write_slides(tmp_path / "slides", {chapters()["why"]: path})
    assert [file.name for file in written] == ["session-5.html"]


def test_the_template_holds_no_result():
    template = slides.TEMPLATE.read_text(encoding="utf-8")
    words = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", template, flags=re.DOTALL)
    assert not literal_results(words)


# ---- in the built book ----


def charts_shown(page: Path) -> list[str]:
    """The titles of a page's charts that no reader has to unfold."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    figures = [figure for figure in soup.select(".fairlib-chart") if not figure.find_parent("details")]
    return [re.sub(r"^Figure [\d.]+\. ", "", figure.strong.get_text()) for figure in figures]


@built
@pytest.mark.parametrize("deck", DECKS, ids=lambda path: path.stem)
def test_every_chart_is_there_and_little_else(deck):
    text = deck.read_text(encoding="utf-8")
    session = SESSIONS[int(deck.stem.rpartition("-")[2]) - 1]
    pages = [BOOK / "notebooks" / f"{name}.html" for name in session.notebooks]
    titles = [unescape(title) for title in re.findall(r"<h2>(.*?)</h2><figure>", text)]
    assert titles == [title for page in pages for title in charts_shown(page)]
    assert len(re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL).encode()) < MOST


@built
@in_a_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("deck", DECKS, ids=lambda path: path.stem)
def test_a_deck_works_alone_and_by_keyboard(deck, width, tmp_path):
    alone = tmp_path / deck.name  # as when a teacher takes the one file along
    alone.write_bytes(deck.read_bytes())
    with Browser(find_chromium()) as browser:
        browser.open(alone, width, 720)
        press = "dispatchEvent(new KeyboardEvent('keydown', {{key: '{}'}}))".format
        place = "document.getElementById('place').textContent"
        slides_there = browser.evaluate("document.querySelectorAll('section').length")
        assert browser.evaluate(place) == f"1 / {slides_there}"
        browser.evaluate(press("ArrowRight"))
        assert browser.wait(f"{place} === '2 / {slides_there}'")
        browser.evaluate(press("End"))
        assert browser.wait(f"{place} === '{slides_there} / {slides_there}'")
        assert browser.evaluate("getComputedStyle(document.querySelector('aside')).display") == "none"
        browser.evaluate(press("n"))
        assert browser.evaluate("getComputedStyle(document.querySelector('aside')).display") == "block"
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert all(address.startswith("file:") for address in browser.requests())
        wrong = [event for event in browser.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        wrong += [event for event in browser.events if event.get("params", {}).get("type") in ("error", "warning")]
        assert not wrong
