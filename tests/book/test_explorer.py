"""The explorer in a real browser: its numbers are those of `group_bias`, whatever is chosen; keys and taps work."""

import random
import re

import numpy as np
import pytest
from browser import Browser, find_chromium

from fairlib.base.tasks import TASKS
from fairlib.bias import group_bias, group_errors
from fairlib.book.chapters import ROOT
from fairlib.book.explorer import explorer_data, write_explorer
from fairlib.encoders import encoder_fingerprint, finetuned_from, our_encoders
from fairlib.findings.survey import published, published_twin

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
CHOICES = 50
PAIRS = (("estimate", "estimate"), ("low", "low"), ("high", "high"), ("nullLow", "null_low"), ("nullHigh", "null_high"),
         ("p", "p"), ("pFamilywise", "p_familywise"))  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return explorer_data()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's own part of it, beside the book's files."""
    folder = tmp_path_factory.mktemp("site")
    static = folder / "_static" / "explorer"
    static.mkdir(parents=True)
    for file in (ROOT / "book" / "_static" / "explorer").iterdir():
        (static / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    write_explorer(static)
    raw = re.search(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "explorer.md").read_text(encoding="utf-8"), re.S)
    (folder / "book").mkdir()
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>x</title>'
    html = f'<!doctype html><html lang="en"><head>{head}</head><body>{raw[1]}</body></html>'
    (folder / "book" / "explorer.html").write_text(html, encoding="utf-8")
    return folder / "book" / "explorer.html"


@pytest.fixture(scope="module")
def browser():
    with Browser(find_chromium()) as opened:
        yield opened


def test_the_data_are_light(page):
    size = (page.parent.parent / "_static" / "explorer" / "data.js").stat().st_size
    assert 100_000 < size < 1_000_000


def choice(data, rng):
    """Two groups by what is recorded of the speakers: a column's value or two, and ages."""
    corpus = rng.choices(list(data["corpora"]), [6, 2, 2])[0]
    about = data["corpora"][corpus]
    one = rng.choice(about["sets"])
    column = rng.choice([name for name in about["columns"] if name != "age"])
    values = sorted({str(value) for value in about["columns"][column]} - {"None"})
    first, second = rng.sample(values, 2)
    asked = {f"a.{column}": first, f"b.{column}": second}
    if "age" in about["columns"] and column != "age_group" and rng.random() < 0.6:
        asked |= {f"{side}.age": rng.choice(["-9", "10-15", "16-", "8-30"]) for side in "ab"}
    scale = rng.choice(["difference", "ratio", "log_odds"])
    return {"corpus": corpus, "task": one["task"], "encoder": one["encoder"], "scale": scale, "controls": "0", **asked}


def chosen_people(rows, asked, side):
    kept = rows
    for key, value in asked.items():
        if not key.startswith(f"{side}."):
            continue
        if key.endswith(".age"):
            least, most = value.split("-")
            age = kept["age"].astype(float)
            kept = kept[(age >= float(least or -1)) & (age <= float(most or 1e9))]
        else:
            kept = kept[kept[key[2:]] == value]
    return set(kept["speaker_id"])


@pytest.mark.filterwarnings("ignore:Groups of")
def test_its_numbers_are_those_of_group_bias_on_fifty_random_choices(page, browser, data):
    browser.open(page, 1280)
    rng, compared = random.Random(0), 0
    while compared < CHOICES:
        asked = choice(data, rng)
        encoder, main = asked["encoder"], TASKS[asked["task"]].main
        of = published_twin if encoder.startswith("random:") else published
        outcomes = of(encoder.removeprefix("random:"), asked["corpus"], *main)
        people = [chosen_people(outcomes, asked, side) for side in "ab"]
        shown = browser.evaluate(f"Explorer.analysed({asked!r})")
        if min(map(len, people)) < 2:
            assert shown is None
            continue
        side = outcomes["speaker_id"].map(dict.fromkeys(people[0], "a") | dict.fromkeys(people[1], "b"))
        outcomes = outcomes.assign(side=side).dropna(subset=["side"])
        bias = group_bias(outcomes, by="side").query("scale == @asked['scale']").set_index("layer").loc[shown["layers"]]
        assert shown["sizes"] == [len(one) for one in people]
        for name, column in PAIRS:
            mine = np.array([row[name] for row in shown["rows"]], dtype=float)
            np.testing.assert_allclose(mine, bias[column].to_numpy(float), atol=5e-4, err_msg=f"{column}, {asked}")
        errors = group_errors(outcomes, by="side")
        for place, group in enumerate("ab"):
            of_group = errors[errors["group"] == group].set_index("layer").loc[shown["layers"]]
            for name in ("error", "low", "high"):
                mine = np.array([row["errors"][place][name] for row in shown["rows"]], dtype=float)
                np.testing.assert_allclose(mine, of_group[name].to_numpy(float), atol=5e-4, err_msg=f"{name}, {asked}")
        compared += 1


QUESTION = "#task=phone&encoder=pocket-wav2vec2&a.sex=female&a.age=-9&b.sex=male&b.age=-9&layer=5"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_link_answers_its_question(page, browser, width):
    browser.open(page, width)
    browser.evaluate(f"location.hash = {QUESTION!r}")
    assert browser.wait("document.querySelector('.explorer-said').textContent.includes('Layer 5 of pocket-wav2vec2')")
    said = browser.evaluate("document.querySelector('.explorer-said').textContent")
    assert "female, aged up to 9 (11 speakers)" in said and "male, aged up to 9 (27)" in said
    assert re.search(r"Log odds ratio of error: [+−]0\.\d\d \[[+−]0\.\d\d, [+−]0\.\d\d\], p 0\.\d{3}", said)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    small = "Math.min(...[...document.querySelectorAll('#explorer button, #explorer select')].map(x => x.offsetHeight))"
    assert browser.evaluate(small) >= 32  # to be tapped


def test_keys_and_taps_choose_a_layer(page, browser):
    browser.open(page, 390)
    pressed = "document.querySelector('.explorer-layers [aria-pressed=true]').textContent"
    browser.evaluate("document.querySelectorAll('.explorer-layers button')[2].click()")
    assert browser.evaluate(pressed) == "1" and browser.evaluate("document.activeElement.textContent") == "1"
    browser.evaluate("document.querySelectorAll('.explorer-chart .hit')[0].dispatchEvent(new MouseEvent('click'))")
    assert browser.evaluate(pressed) == "cnn" and "layer=cnn" in browser.evaluate("location.hash")
    browser.evaluate(
        "(s => { s.value = 'phone'; s.dispatchEvent(new Event('change')); })(document.querySelector('[name=task]'))"
    )
    assert "misclassified frames" in browser.evaluate("document.querySelector('.explorer-said').textContent")
    assert browser.evaluate("document.activeElement.tagName") in ("SELECT", "BODY")


def test_every_encoder_stands_beside_its_twin_and_twins_of_one_shape_are_there_once(data):
    sets = {(one["task"], one["encoder"]): one for one in data["corpora"]["speechocean762"]["sets"]}
    twins = {encoder for _, encoder in sets if encoder.startswith("random:")}
    assert len({encoder_fingerprint(name) for name in twins}) == len(twins)
    for (task, encoder), one in sets.items():
        if encoder in our_encoders():
            before = finetuned_from(encoder)
            assert (task, one["twin"]) in sets
            assert encoder_fingerprint(one["twin"]) == encoder_fingerprint(f"random:{before[0] if before else encoder}")
        else:
            assert one["twin"] is None


def test_who_was_heard_in_training_is_said(page, browser):
    browser.open(page, 1280)
    said = "document.querySelector('.explorer-said').textContent"
    asked = {"corpus": "librispeech", "task": "sid", "encoder": "pocket-hubert", "a.sex": "female", "b.sex": "male"}
    for encoder, told in (("pocket-hubert", True), ("random:pocket-hubert", False), ("logmel", False)):
        browser.evaluate(f"Explorer.analysed({asked | {'encoder': encoder}!r})")
        assert ("heard some of this corpus’s speakers" in browser.evaluate(said)) == told
    # Phones are tested on people whom no encoder has heard.
    browser.evaluate(f"Explorer.analysed({asked | {'task': 'phone'}!r})")
    assert "heard some" not in browser.evaluate(said)


def test_groups_that_share_people_or_have_none_are_refused(page, browser):
    browser.open(page, 1280)
    said = "document.querySelector('.explorer-said').textContent"
    assert browser.evaluate("Explorer.analysed({'a.sex': 'female', 'b.age_group': 'adult'})") is None
    assert "are in both groups" in browser.evaluate(said)
    assert browser.evaluate("Explorer.analysed({'a.age': '90-', 'b.age_group': 'adult'})") is None
    assert "no speaker" in browser.evaluate(said)
    assert browser.evaluate("Explorer.analysed({})") is None
    assert "Choose what makes the two groups" in browser.evaluate(said)


def test_what_is_shown_can_be_taken_away(page, browser):
    browser.open(page, 1280)
    kept = """(() => { const made = []; URL.createObjectURL = (blob) => { made.push(blob); return 'blob:x'; };
      HTMLAnchorElement.prototype.click = function () { made.push(this.download); };
      [...document.querySelectorAll('.explorer-downloads button')].slice(0, 2).forEach((one) => one.click());
      return made.map((one) => (typeof one === 'string' ? one : one.type + ' ' + one.size)); })()"""
    made = browser.evaluate(kept)
    assert made[1].endswith(".csv") and made[0].startswith("text/csv ") and int(made[0].split()[1]) > 1000
    assert made[3].endswith(".svg") and made[2].startswith("image/svg+xml ") and int(made[2].split()[1]) > 3000


def test_a_picture_says_what_its_lines_and_axes_are(page, browser):
    browser.open(page, 390)
    svg = browser.evaluate(
        """new Promise((done) => { URL.createObjectURL = (blob) => { blob.text().then(done); return 'blob:x'; };
        HTMLAnchorElement.prototype.click = function () {};
        [...document.querySelectorAll('.explorer-downloads button')][1].click(); })"""
    )
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"misidentified utterances (%):", "children (122)", "adults (128)", "log-mel", "untrained twin"} <= set(
        texts
    )
    assert 'fill="#d55e00"/><text x="20"' in svg  # a key in its line's colour
    assert max(map(len, texts)) <= 390 / 7  # a long title is broken, not cut


def test_an_age_that_is_chosen_by_keys_keeps_the_focus(page, browser):
    browser.open(page, 1280)
    browser.evaluate("document.querySelector('.explorer-ages input').focus()")
    focused = "document.activeElement.getAttribute('aria-label')"

    def press(key, code):
        for kind in ("rawKeyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    press("ArrowUp", 38)
    press("ArrowUp", 38)
    assert browser.evaluate(focused) == "youngest age" and "a.age=2-" in browser.evaluate("location.hash")
    press("Tab", 9)
    assert browser.evaluate(focused) == "oldest age"


def test_a_copied_link_leads_to_the_layer_that_is_shown(page, browser):
    browser.open(page, 1280)
    browser.evaluate(f"location.hash = {QUESTION!r}")
    said = "document.querySelector('.explorer-said').textContent"
    assert browser.wait(f"{said}.includes('Layer 5 of pocket-wav2vec2')")
    pointed = "new PointerEvent('pointerenter', { pointerType: 'mouse' })"
    browser.evaluate(f"document.querySelectorAll('.explorer-chart .hit')[2].dispatchEvent({pointed})")
    assert "Layer 1 of" in browser.evaluate(said)
    browser.evaluate("[...document.querySelectorAll('.explorer-downloads button')].at(-1).click()")
    assert "layer=1" in browser.evaluate("location.hash")


@pytest.mark.parametrize("bad", ["corpus=__proto__", "corpus=constructor", "scale=constructor", "layer=99&encoder=x"])
def test_an_address_that_names_nothing_shows_what_there_is(page, browser, bad):
    browser.open(page, 1280, query=f"?{bad}#{bad}&a.sex=female&b.sex=male")
    assert "Log odds ratio of error: " in browser.evaluate("document.querySelector('.explorer-said').textContent")


def test_what_cannot_be_estimated_is_unknown_and_no_p_is_zero(page, browser):
    """Two people who err alike leave no interval; and a layer without one shows no gap, as in the chapters."""
    browser.open(page, 1280)
    shown = """[document.querySelector('.explorer-said').textContent, ...[...document.querySelectorAll('#explorer td')]
        .map((one) => one.textContent)].join(' | ')"""
    two = {"a.sex": "female", "a.age": "30-30", "b.sex": "male", "encoder": "mini-hubert", "scale": "ratio"}
    assert browser.evaluate(f"Explorer.analysed({two!r})")["sizes"] == [2, 125]
    assert "[unknown, unknown]" in browser.evaluate(shown) and "NaN" not in browser.evaluate(shown)
    assert "female, aged 30 (2 speakers)" in browser.evaluate(shown)
    assert browser.evaluate("Explorer.analysed({'a.age_group': 'child', 'b.age_group': 'adult'})")
    assert "| < 0.001 |" in browser.evaluate(shown) and "0.000" not in browser.evaluate(shown)
    few = {"a.sex": "female", "a.age": "10-10", "b.sex": "female", "b.age": "22-", "scale": "difference"}
    rows = browser.evaluate(f"Explorer.analysed({few!r})")["rows"]
    beyond, biased = ([row for row in rows if row["pFamilywise"] < 0.05 and keep(row)]
                      for keep in (lambda row: True, lambda row: row["low"] > 0 or row["high"] < 0))  # fmt: skip
    assert len(beyond) > len(biased)
    title = browser.evaluate("document.querySelectorAll('.explorer-figure strong')[1].textContent")
    assert title == f"A gap beyond chance is shown at {len(biased)} of {len(rows)} layers"
