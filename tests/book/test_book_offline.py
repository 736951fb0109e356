"""The built book in a real browser with the network off: every chart draws, no page is wider than a phone."""

import re
from pathlib import Path

import pytest
from browser import Browser, find_chromium

BOOK = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(path for folder in ("book", "notebooks") for path in (BOOK / folder).rglob("*.html"))
CHAPTERS = [page for page in PAGES if page.parent.name == "notebooks"]

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not CHAPTERS, reason=f"the book is not built ({BOOK} holds no chapter): run make book"),
]
# Charts without lines: of people, real and made up; of layers, and correlations on three scales, for two tasks; maps.
WITHOUT_LINES = {
    "02_speakers_and_groups": 3,
    "04_measuring_bias": 1,
    "07_opposite_patterns": 4,
    "09_along_pretraining": 4,
    "10_why": 1,
    "11_robustness": 3,
}
ON_FIELDS = {"rgb(31, 36, 49)", "rgb(255, 255, 254)"}  # letters on a map's fields, which stay as they are in both modes
DRAWN = "[...document.querySelectorAll('.fairlib-chart')].every(chart => chart.dataset.drawn === 'live')"
CHARTS = """[...document.querySelectorAll('.fairlib-chart')].map(chart => {
  const svg = chart.querySelector('.fairlib-live svg');
  const box = svg ? svg.getBoundingClientRect() : {left: 0, right: 0, height: 0};
  const texts = svg ? [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect()) : [];
  return {
    marks: svg ? svg.querySelectorAll('.mark-symbol path, .mark-rect path').length : 0,
    lines: svg ? svg.querySelectorAll('.mark-line path').length : 0,
    label: (chart.querySelector('[role="graphics-document"]') || svg || chart).getAttribute('aria-label'),
    still: chart.querySelectorAll('.fairlib-still').length,
    left: box.left, right: box.right, height: box.height,
    cut: texts.filter(text => text.right > box.right + 1 || text.left < box.left - 1).length,
    smallest: svg ? Math.min(...[...svg.querySelectorAll('text')].map(
      text => parseFloat(getComputedStyle(text).fontSize))) : 0,
  };
})"""


@pytest.fixture(scope="module")
def browser():
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    with Browser(program) as opened:
        yield opened


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_draws_and_fits(browser, page, width):
    browser.open(page, width)
    assert browser.wait(DRAWN), f"{page.name} has charts that did not draw"
    charts = browser.evaluate(CHARTS)
    assert bool(charts) == (page in CHAPTERS or page.stem == "introduction")
    for chart in charts:
        assert chart["marks"] > 0 and chart["height"] > 100
        assert chart["label"] and not chart["still"]
        assert chart["left"] >= 0 and chart["right"] <= width and not chart["cut"]
        assert chart["smallest"] >= 12, "labels must be legible"
    assert sum(chart["lines"] == 0 for chart in charts) == WITHOUT_LINES.get(page.stem, 0)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_request_leaves_the_machine(browser, page):
    browser.open(page, 1280)
    browser.wait(DRAWN)
    outside = [address for address in browser.requests() if not address.startswith(("file:", "data:", "blob:"))]
    assert not outside


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_without_vega_the_still_pictures_stay(browser, page, tmp_path):
    # The page alone, without the files beside it: as when a notebook's output is looked at elsewhere.
    alone = tmp_path / page.name
    alone.write_bytes(page.read_bytes())
    browser.open(alone, 390)
    assert browser.evaluate("document.querySelectorAll('.fairlib-chart').length") > 0
    stills = browser.evaluate("document.querySelectorAll('.fairlib-still svg').length")
    assert stills == browser.evaluate("document.querySelectorAll('.fairlib-chart').length")


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_charts_are_readable_in_dark_mode(browser, page):
    browser.open(page, 1280, dark=True)
    browser.wait(DRAWN)
    paper, *words = browser.evaluate("""[
      getComputedStyle(document.body).backgroundColor,
      ...new Set([...document.querySelectorAll('.fairlib-live svg text')].map(text => getComputedStyle(text).fill))]""")
    assert luminance(paper) < 0.02
    for colour in set(words) - ON_FIELDS:
        assert (luminance(colour) + 0.05) / (luminance(paper) + 0.05) > 4.5, colour


def luminance(colour: str) -> float:
    """Relative luminance of a colour as the browser writes it, rgb(1, 2, 3)."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_layer_pointed_at_in_one_chart_is_seen_in_the_others(browser):
    page = next(page for page in CHAPTERS if page.stem == "05_speaker_identification")
    browser.open(page, 1280)
    browser.wait(DRAWN)
    seen = """[...document.querySelectorAll('.fairlib-chart')].map(chart =>
      chart.querySelectorAll('.mark-rule [opacity="0.3"]').length)"""
    assert not any(browser.evaluate(seen))
    at = browser.evaluate("""(() => {
      const point = document.querySelector('.fairlib-live .mark-symbol path');
      point.scrollIntoView({block: 'center'});
      const box = point.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    })()""")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    assert browser.wait(f"{seen}.every(strokes => strokes === 1)", 5), browser.evaluate(seen)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_weighs_little(page):
    assert page.stat().st_size < 1.5e6
