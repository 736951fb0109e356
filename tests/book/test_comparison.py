"""Two runs compared: what changed comes first, what is equal is said to be, and gaps are compared in pairs."""

import json

import numpy as np
import pandas as pd
import pytest
from browser import Browser, find_chromium

from fairlib import cli
from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.book import run_keys, runs
from fairlib.book.chapters import check
from fairlib.book.comparison import compare, told, write_page
from fairlib.book.parameters import LEAD
from fairlib.book.runs import RunError

CLAIM = "Bias begins in the first layers."


def outcomes(gap: float, encoder=LEAD, seed=0, speakers=40, corpus="made up") -> pd.DataFrame:
    """Speakers of two groups and three layers, with the gap planted as a log odds ratio at the last layer alone."""
    rates = np.array([0.4, 0.35, 0.3])
    odds = rates / (1 - rates) * np.exp([0, 0, gap])
    table = simulate_outcomes({"child": list(odds / (1 + odds)), "adult": list(rates)}, speakers=speakers, seed=seed)
    names = dict(zip(table["layer"].unique(), ["cnn", "0", "1"]))
    table = table.assign(layer=table["layer"].map(names), age_group=table["group"], sex=table["group"])
    return table.assign(encoder=encoder, task="sid", unit="speaker", probe="linear", corpus=corpus, predicted="")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Writes a finished run of chapter 5, as `fairlib.book.runs.run` leaves it, but for the notebook."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")

    def write(name, table, verdict="supported", made_from=None, chapter="speaker-identification", **values):
        folder = tmp_path / "_runs" / f"{chapter}__{name}"
        (folder / "outcomes").mkdir(parents=True)
        table.to_parquet(folder / "outcomes" / "entry.parquet")
        findings = [
            {"claim": CLAIM, "verdict": verdict, "sentence": f"It is {verdict}.", "criterion": "", "evidence": []},
            {
                "claim": "Another.",
                "verdict": "inconclusive",
                "sentence": "Nobody knows.",
                "criterion": "",
                "evidence": [],
            },
        ]
        (folder / "findings.json").write_text(json.dumps(findings[::-1]))
        fingerprints = {"task": "sid", "encoder": "logmel", "encoder_fingerprint": "e"}
        fingerprints["corpus_fingerprint"] = values.get("corpus", "c") * 8
        record = {
            "chapter": chapter,
            "parameters": check(chapter, values).model_dump(exclude={"force"}),
            "outcomes": [fingerprints],
            "made_from": {"parameters": name, "package torch": "2.14", "fairlib/bias.py": "aa"} | (made_from or {}),
            "platform": "here", "device": "cpu", "processors": 2, "started": "2026-01-01T00:00:00Z",
            "files": {path.relative_to(folder).as_posix(): run_keys.sha256_of(path) for path in folder.rglob("*.*")},
        }  # fmt: skip
        (folder / "provenance.json").write_text(json.dumps(record))
        return folder

    return write


def test_equal_runs_are_said_to_be_equal(make):
    table = outcomes(0.5)
    make("a1", table), make("b1", table)
    compared = compare("speaker-identification__a1", "speaker-identification__b1")
    assert compared["outcomes"] == f"All {len(table):,} outcomes are equal." and compared["differing"] == []
    [task] = compared["tasks"]
    assert task["gaps"] is None and task["note"] == "The two runs have identical errors here: no gap differs."
    text = told(compared)
    assert "CHANGED" not in text and "nothing on record" in text


def test_changed_verdicts_come_first_and_all_that_differs_is_named(make):
    make("a1", outcomes(0.5))
    make("b1", outcomes(0.5), "contradicted", {"package torch": "2.15", "fairlib/bias.py": "bb", "fairlib/new.py": "c"},
         encoder="pocket-wav2vec2", corpus="librispeech")  # fmt: skip
    compared = compare("speaker-identification__a", "speaker-identification__b")
    verdicts = compared["verdicts"]
    assert verdicts["claim"].tolist() == [CLAIM, "Another."] and verdicts["changed"].tolist() == [True, False]
    assert compared["differing"] == [
        f"parameter encoder: {LEAD!r} in A, 'pocket-wav2vec2' in B",
        "parameter corpus: 'speechocean762' in A, 'librispeech' in B",
        "parameter group: 'age_group' in A, 'sex' in B",
        "data: the corpus of logmel (sid) is cccccccc in A, librispeechl in B",
        "code: fairlib/bias.py, fairlib/new.py",
        "package torch: 2.14 in A, 2.15 in B",
    ]
    assert f"CHANGED  {CLAIM} supported in A, contradicted in B." in told(compared)


def test_gaps_are_compared_in_pairs_and_a_planted_difference_is_found(make):
    mine, theirs = outcomes(1.0, seed=1), outcomes(0.0, "pocket-wav2vec2", seed=2)
    make("a1", mine), make("b1", theirs, encoder="pocket-wav2vec2")
    compared = compare("speaker-identification__a1", "speaker-identification__b1")
    [task] = compared["tasks"]
    gaps = task["gaps"].set_index("layer")
    assert list(gaps.index) == ["cnn", "0", "1"] and task["note"] == "Paired over 80 speakers."
    separate = [
        group_bias(t, "age_group").query("scale == 'log_odds'").set_index("layer")["estimate"] for t in (mine, theirs)
    ]
    assert gaps["estimate"].to_dict() == pytest.approx((separate[0] - separate[1]).to_dict())
    assert gaps.loc["1", "low"] > 0.3 and gaps.loc["1", "p_holm"] < 0.05
    assert gaps.loc["cnn", "p_holm"] > 0.05
    assert compared["outcomes"].startswith("The runs share no outcome: A has")


def test_outcomes_that_differ_are_counted(make):
    table = outcomes(0.5)
    other = table.assign(
        errors=np.where(np.arange(len(table)) == 5, 1 - table["errors"].clip(upper=1), table["errors"])
    )
    make("a1", table), make("b1", other.iloc[:-2])
    told = compare("speaker-identification__a1", "speaker-identification__b1")["outcomes"]
    assert told.startswith(f"1 of the {len(table) - 2:,} outcomes in both runs differ, no layer's error by more")
    assert told.endswith("2 are only in A, 0 only in B.")


@pytest.mark.parametrize(
    ("other", "values", "note"),
    [
        ({"corpus": "elsewhere"}, {}, "share no speakers, layers or seeds of one corpus"),
        ({}, {"group": "sex"}, "Groups are by age_group in A and by sex in B"),
    ],
)
def test_what_cannot_be_paired_is_said(make, other, values, note):
    make("a1", outcomes(0.5)), make("b1", outcomes(0.2, **other), **values)
    [task] = compare("speaker-identification__a1", "speaker-identification__b1")["tasks"]
    assert note in task["note"] and task["gaps"] is None


def test_runs_that_cannot_be_compared_are_refused_in_one_sentence(make, capsys):
    a = make("a1", outcomes(0.5))
    make("b1", outcomes(0.5), chapter="opposite-patterns")
    with pytest.raises(RunError, match="only runs of one chapter can be compared"):
        compare("speaker-identification__a1", "opposite-patterns__b1")
    (a / "outcomes" / "entry.parquet").write_bytes(b"PAR1")
    assert cli.main(["compare", str(a), str(a)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "is damaged: outcomes/entry.parquet is not as the run left it" in said.err


def test_the_command_prints_the_comparison_and_writes_the_page(make, tmp_path, capsys):
    a, b = (
        make("a1", outcomes(1.0)),
        make("b1", outcomes(0.0, "pocket-wav2vec2"), "contradicted", encoder="pocket-wav2vec2"),
    )
    assert cli.main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    page = tmp_path / "_runs" / "comparisons" / "a1-b1.html"
    assert said.rstrip().endswith(str(page)) and "CHANGED" in said
    html = page.read_text()
    assert html.count('class="fairlib-chart"') == 2 and "<strong>Changed.</strong>" in html
    assert html.index("Changed.") < html.index("in both")


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_the_page_draws_both_runs_and_asks_for_nothing(make, tmp_path):
    make("a1", outcomes(1.0)), make("b1", outcomes(0.0, "pocket-wav2vec2"), encoder="pocket-wav2vec2")
    page = write_page(compare("speaker-identification__a1", "speaker-identification__b1"), tmp_path / "page.html")
    with Browser(find_chromium()) as browser:
        browser.open(page, 390)
        assert browser.wait("[...document.querySelectorAll('.fairlib-chart')].every(c => c.dataset.drawn === 'live')")
        lines = (
            "[...document.querySelectorAll('.fairlib-live svg')].map(s => s.querySelectorAll('.mark-line path').length)"
        )
        assert browser.evaluate(lines) == [2, 2]
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert [address for address in browser.requests() if not address.startswith(("file:", "data:"))] == []
