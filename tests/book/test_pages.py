"""One page that opens anywhere: a chapter with its charts, numbers and hidden code, and nothing from elsewhere."""

import re

import altair as alt
import nbformat
import pandas as pd
import pytest
from browser import Browser, find_chromium
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fairlib.book.pages import chapter_page, page
from fairlib.display.rendering import mimebundle


def _chart() -> dict:
    points = pd.DataFrame({"x": [1, 2, 3], "y": [3, 1, 2]})
    chart = alt.Chart(points, title="Three points", description="Three points.", width="container").mark_line()
    return mimebundle(chart.encode(x="x:Q", y="y:Q").to_dict())


@pytest.fixture
def written(tmp_path):
    glued = new_output("display_data", {"application/papermill.record/text/plain": "'four & more'"})
    glued.metadata = {"scrapbook": {"mime_prefix": "application/papermill.record/", "name": "answer"}}
    cells = [
        new_markdown_cell("# The *title*\n\nThe answer is {glue:text}`answer`; see [the next](04_next.ipynb)."),
        new_code_cell("glue('answer')", outputs=[glued], metadata={"tags": ["remove-input", "remove-output"]}),
        new_code_cell("shown = 1"),
        new_code_cell("hidden = 1", outputs=[new_output("display_data", _chart())], metadata={"tags": ["hide-input"]}),
        new_code_cell("gone = 1", metadata={"tags": ["remove-input"]}),
        new_markdown_cell("```{exercise} Count\n:label: c\nHow many are there, as {term}`said <word>`?\n```"),
        new_markdown_cell(":::{solution-start} c\n:class: dropdown\n:::\n\nCount them."),
        new_code_cell("counted = 3", metadata={"tags": ["solution"]}),
        new_markdown_cell(":::{solution-end}\n:::\n\nAfterwards {cite}`lum2022,hewitt2019`."),
    ]
    notebook = tmp_path / "chapter.ipynb"
    nbformat.write(new_notebook(cells=cells), notebook)
    path = tmp_path / "chapter.html"
    path.write_text(chapter_page(notebook))
    return path


def test_a_page_holds_what_the_book_would_show(written):
    html = written.read_text()
    assert "<title>The title</title>" in html
    assert 'The answer is <span class="pasted-text">four &amp; more</span>' in html
    assert "see the next." in html and "04_next" not in html
    body = html[html.index("<body>") : html.index("</main>")]
    folded = body[body.index("<details>") : body.index("</details>")]
    assert "hidden" in folded and "shown" not in folded and "gone" not in body
    linked = '<a [^>]*href="https:[^>]*>'
    assert re.search(rf"Afterwards \[{linked}Lum et al., 2022</a>; {linked}Hewitt and Liang, 2019</a>\]", html)
    assert "Exercise Count" in html and "as <span>said</span>" in html
    solution = body[body.index("<summary>Solution</summary>") :]
    solution = solution[: solution.index("</details>")]
    assert "Count them." in solution and "counted" in solution and "Afterwards" not in solution


def test_a_page_without_charts_is_light():
    assert len(page("a < b", "<p>words</p>")) < 10_000 and "<title>a &lt; b</title>" in page("a < b", "")


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_a_page_draws_its_charts_and_asks_for_nothing(written):
    with Browser(find_chromium()) as browser:
        browser.open(written, 390)
        drawn = "[...document.querySelectorAll('.fairlib-chart')].map(chart => chart.dataset.drawn).join()"
        assert browser.wait(f"{drawn} === 'live'")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert [address for address in browser.requests() if not address.startswith(("file:", "data:"))] == []
