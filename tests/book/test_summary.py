"""The pages made from executed chapters: they say what the findings say, and name every table behind them once."""

import pandas as pd
import pytest

from fairlib.book import chapters, provenance, summary
from fairlib.findings import Finding

FINDING = Finding(
    "A *claim*.",
    "A rule [of two] < 5.",
    "contradicted",
    "At layer_1: +0.5 [+0.2, +0.8].",
    [{"layer": "cnn", "low": 0.25}],
)
OUTCOMES = {
    "encoder": "pocket-hubert", "corpus": "speechocean762", "task": "sid", "origin": "published",
    "encoder_fingerprint": "a" * 64, "corpus_fingerprint": "b" * 64, "device": "cpu", "duration_s": 180.0,
}  # fmt: skip


@pytest.fixture
def facts():
    one, other = list(chapters.chapters().values())[2:4]
    each = {
        "parameters": {"encoder": "pocket-hubert", "pretrained": ""},
        "duration_s": 12.3,
        "code": "fairlib 0.1.0, commit abc",
        "command": "fairlib run x",
        "outcomes": [OUTCOMES],
    }
    return {
        one: each | {"findings": [{"about": "telling speakers", **FINDING.record()}]},
        other: each | {"findings": []},
    }


def test_the_summary_says_what_the_finding_says_and_holds_its_evidence(facts, tmp_path):
    summary.write_summary(tmp_path, facts)
    page = (tmp_path / "summary.md").read_text()
    chapter = next(iter(facts))
    assert "judge 1 claims: 1 contradicted" in page
    assert f"## {chapter.title}\n" in page and f"(../notebooks/{chapter.notebook}.ipynb)" in page
    assert summary.verdict_mark("contradicted") in page
    assert r"Telling speakers: A \*claim\*." in page and r"At layer\_1: +0.5 \[+0.2, +0.8\]." in page
    assert "A rule [of two] &lt; 5." in page
    (evidence,) = (tmp_path / "evidence").iterdir()
    assert f"<evidence/{evidence.name}>" in page
    assert pd.read_csv(evidence).to_dict("records") == FINDING.evidence


def test_a_chapter_without_findings_is_not_in_the_summary_but_in_the_status(facts, tmp_path):
    summary.write_summary(tmp_path, facts)
    summary.write_status(tmp_path, facts)
    without = list(facts)[1]
    assert without.title not in (tmp_path / "summary.md").read_text()
    assert without.title in (tmp_path / "status.md").read_text()


def test_the_status_says_that_chapters_used_no_outcomes(facts, tmp_path):
    summary.write_status(tmp_path, {chapter: each | {"outcomes": []} for chapter, each in facts.items()})
    assert "\nThese chapters used none.\n" in (tmp_path / "status.md").read_text()


def test_findings_in_synthetic_speech_are_no_findings_of_the_book(facts, tmp_path):
    one = next(iter(facts))
    facts[one]["parameters"] = {"encoder": "pocket-hubert", "corpus": "planted"}
    summary.write_summary(tmp_path, facts)
    page = (tmp_path / "summary.md").read_text()
    assert "judge 0 claims" in page and one.title not in page


def test_the_status_names_each_table_of_outcomes_once_with_the_chapters_that_use_it(facts, tmp_path):
    summary.write_status(tmp_path, facts)
    page = (tmp_path / "status.md").read_text()
    (line,) = [line for line in page.splitlines() if "`aaaaaaaaaaaa`" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    names = ", ".join(chapter.notebook[:2].lstrip("0") for chapter in facts)
    told = ["pocket-hubert", "speechocean762", "speakers", "published", "cpu, 3\N{NO-BREAK SPACE}min"]
    assert cells == [*told, "`aaaaaaaaaaaa`", "`bbbbbbbbbbbb`", names]
    assert "| jupyter-book |" in page and "12\N{NO-BREAK SPACE}s" in page


@pytest.mark.parametrize(
    "line, day", [("date-released: 2026-03-01", "1 March 2026"), ('date-released: "2026-12-24"', "24 December 2026")]
)
def test_the_day_of_an_edition_is_the_one_that_it_was_released_on(monkeypatch, tmp_path, line, day):
    (tmp_path / "CITATION.cff").write_text(f"version: 0.1.0\n{line}\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.edition_day() == day


def test_an_edition_that_was_not_released_is_of_its_last_commits_day(monkeypatch, tmp_path):
    (tmp_path / "CITATION.cff").write_text("version: 0.1.0\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "_git", lambda *_: "2026-11-29")
    assert provenance.edition_day() == "29 November 2026"
    monkeypatch.setattr(provenance, "_git", lambda *_: "")
    assert provenance.edition_day() == ""
