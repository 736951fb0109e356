"""The built book as files and in a browser: links lead somewhere, names are spelt as their owners do, and nobody is
kept out."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urldefrag

import pytest
from browser import Browser, find_chromium
from test_notebooks import NOT_PROSE, SOURCES, literal_results

from fairlib.book import chapters, pairs
from fairlib.book.picture import CARD, CARD_SIZE

BOOK = chapters.ROOT / "_build" / "html"
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
PAGES = sorted(path for folder in ("book", "notebooks") for path in (BOOK / folder).rglob("*.html"))
MARKDOWN = sorted((chapters.ROOT / "book").glob("*.md")) + [chapters.ROOT / "README.md"]

built = pytest.mark.skipif(not PAGES, reason=f"the book is not built ({BOOK} holds no page): run make book")
in_a_browser = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
with_axe = pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not there: npm install --no-package-lock --prefix tests"
)


@pytest.fixture(scope="module")
def browser():
    with Browser(find_chromium()) as opened:
        yield opened


@built
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_id_stands_on_a_page_but_once(page):
    ids = re.findall(r'<(?!meta)\w[^>]*? id="([^"]+)"', page.read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)), sorted({one for one in ids if ids.count(one) > 1})


# ---- links ----


class Links(HTMLParser):
    """What a page points at, and what in it can be pointed at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        self.targets += [attributes[name] for name in ("href", "src") if attributes.get(name)]


@built
def test_every_link_inside_the_book_leads_somewhere():
    pages = {page: Links(page) for page in [*PAGES, BOOK / "index.html", BOOK / "search.html", BOOK / "genindex.html"]}
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            address, anchor = urldefrag(unquote(target))
            if re.match(r"[a-z]+:|//", address) or target == "#":
                continue
            there = (page.parent / address.split("?")[0]).resolve() if address else page
            if not there.exists():
                dead.append(f"{page.name}: {target}")
            elif there.stem == "explorer" and "=" in anchor:  # what is chosen there
                assert set(parse_qs(anchor)) >= {"corpus", "task", "encoder"}
            elif anchor and there in pages and anchor not in pages[there].anchors:
                dead.append(f"{page.name}: {target} (no such place on the page)")
    assert not dead


@built
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name == "notebooks"], ids=lambda page: page.stem
)
def test_figures_are_numbered_through_with_places_to_link_to_and_their_data(page):
    html = page.read_text(encoding="utf-8")
    numbers = re.findall(r"<strong>Figure (\d+)\.(\d+)\. ", html)
    charts = html.count('class="fairlib-chart"')
    assert numbers == [(page.stem[:2].lstrip("0"), str(number)) for number in range(1, charts + 1)]
    assert all(f'id="figure-{chapter}-{number}"' in html for chapter, number in numbers)
    assert html.count('class="fairlib-data"') == charts


@built
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_words_of_the_glossary_are_linked_once_where_they_are_used_first(page):
    html = page.read_text(encoding="utf-8")
    linked = re.findall(r'<a class="term [^"]*" href="([^"]*#term-[^"]+)"', html)
    assert len(linked) == len(set(linked))
    assert linked or page.parent.name != "notebooks"
    assert not linked or page.stem != "glossary"
    assert not re.search(r"<h\d>(?:(?!</h).)*#term-", html, re.S)


# ---- names ----

# A name as its owners write it, and everything that is taken for an attempt at it. Code, links and the names of
# encoders and commands (pocket-hubert, --corpus librispeech) are not read.
NAMES = {
    "wav2vec 2.0": r"wav2vec[ -]?2(?:\.0)?",
    "HuBERT": r"hubert",
    "WavLM": r"wav-?lm",
    "LibriSpeech": r"libri-? ?speech",
    "speechocean762": r"speech-? ?ocean ?(?:762)?",
    "Common Voice": r"common-? ?voice",
    "SUPERB": r"SUPERB|Superb (?=benchmark)",
    "eSpeak NG": r"e-?speak(?: ?-?ng)?",
    "data2vec": r"data-? ?2 ?vec",
    "arXiv": r"arxiv",
    "Python": r"python",
    "Jupyter Book": r"jupyter-? ?book",
    "log-mel": r"log[ -]?mel\b",
}


def misspelt(text: str) -> list[str]:
    """Names in Markdown that are written otherwise than their owners do; a capital may begin a sentence."""
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text, flags=re.S)
    found = []
    for name, attempt in NAMES.items():
        for match in re.finditer(rf"(?<![\w/:.-])(?:{attempt})(?![\w/-]|\.\w)", text, flags=re.I):
            if match[0] not in (name, name[0].upper() + name[1:]):
                found.append(match[0])
    return found


@pytest.mark.parametrize(
    "wrong", ["Hubert", "Librispeech", "wav2vec2", "SpeechOcean762", "common voice", "espeak", "logmel"]
)
def test_the_rule_finds_a_misspelt_name(wrong):
    assert misspelt(f"We used {wrong} here.") == [wrong]


def test_the_rule_leaves_right_names_and_code_alone():
    assert not misspelt("HuBERT, wav2vec 2.0, pocket-hubert, `hubert`, [x](hubert.md), Log-mel, wav2vec 2.0.")


@pytest.mark.parametrize("source", [*SOURCES, *MARKDOWN], ids=lambda path: path.stem)
def test_names_are_spelt_as_their_owners_do(source):
    cells = [source.read_text(encoding="utf-8")]
    if source.suffix == ".py":
        cells = [cell.source for cell in pairs.read_notebook(source).cells if cell.cell_type == "markdown"]
    assert not misspelt("\n\n".join(cells))


@built
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_is_shown_as_a_program_would_name_it(page):
    shown = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    assert not re.findall(r"&lt;[\w.]+(?: object| at 0x)[^\n]*", shown)


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.stem)
def test_pages_hold_no_literal_result(page):
    assert not literal_results(page.read_text(encoding="utf-8"))


# ---- everybody ----


@built
@in_a_browser
@with_axe
@pytest.mark.parametrize("width, dark", [(1280, False), (390, True)], ids=["wide and light", "narrow and dark"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_serious_barrier_for_anybody(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.wait("[...document.querySelectorAll('.fairlib-chart')].every(chart => chart.dataset.drawn)")
    browser.evaluate(AXE.read_text(encoding="utf-8") + "; 1")
    barriers = browser.evaluate("""axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
      .filter(each => ['serious', 'critical'].includes(each.impact))
      .map(each => `${each.id}: ${each.help}: ${each.nodes.map(node => node.target).join(', ')}`))""")
    assert not barriers


@built
@in_a_browser
def test_the_keyboard_reaches_the_text_first_and_every_table_and_data_link(browser):
    page = next(page for page in PAGES if page.stem == "05_speaker_identification")
    browser.open(page, 1280)
    press(browser, "Tab")
    assert browser.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    press(browser, "Enter")
    reached = set()
    for _ in range(250):
        press(browser, "Tab")
        reached.add(browser.evaluate("document.activeElement.className"))
        if {"fairlib-table", "fairlib-data"} <= reached:
            break
    assert {"fairlib-table", "fairlib-data"} <= reached


def press(browser: Browser, key: str) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        browser.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


@built
@in_a_browser
def test_search_works_from_files(browser):
    browser.open(BOOK / "search.html", 1280, query="?q=children")
    assert browser.wait("document.querySelectorAll('#search-results li a').length > 1", 10)


@built
def test_the_script_of_all_icons_is_left_out_and_the_icons_used_are_drawn_by_the_style_sheet():
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert not any("fontawesome.js" in page for page in pages) and not list(BOOK.rglob("fontawesome.js*"))
    style = (BOOK / "_static" / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    named = {name for page in pages for name in re.findall(r"\bfa-([a-z-]+)", page)} - {"solid", "regular", "lg"}
    assert named and all(re.search(rf"\.fa-{name}:{{1,2}}before", style) for name in named)
    assert list(BOOK.rglob("fa-solid-900.woff2"))


@built
def test_every_page_says_what_it_is_its_edition_its_licence_and_how_to_cite_it():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "Cite this book" in text and "CC BY 4.0" in text and "edition" in text, page.name
        if page.stem not in ("references", "glossary"):  # no prose to quote
            assert '<meta name="description" content="' in text, page.name


@built
def test_a_page_weighs_at_most_a_megabyte_beside_what_all_share():
    heavy = {page.name: page.stat().st_size for page in PAGES if page.stat().st_size > 1e6}
    assert not heavy


# ---- what messengers show, and the edition ----


@built
def test_every_page_has_a_card_with_words_for_it():
    for page in PAGES:
        tags = dict(re.findall(r'<meta property="(og:[^"]+)" content="([^"]*)"', page.read_text(encoding="utf-8")))
        assert (tags["og:image:width"], tags["og:image:height"]) == tuple(map(str, CARD_SIZE))
        assert len(tags["og:image:alt"]) > 60 and tags["og:title"]
        if "://" not in tags["og:image"]:
            assert (page.parent / tags["og:image"]).resolve() == BOOK / "_static" / CARD.name


@built
def test_the_foot_of_a_page_says_which_edition_and_nothing_of_the_build():
    for page in PAGES:
        foot = page.read_text(encoding="utf-8").rpartition("Cite this book")[0][-900:]
        assert "edition" in foot and not re.search(r"built on|printed on", foot, re.IGNORECASE)


@built
def test_a_pdf_is_linked_where_there_is_one():
    there = (BOOK / "book.pdf").exists()
    for page in PAGES:
        assert ("The whole book as PDF" in page.read_text(encoding="utf-8")) == there
