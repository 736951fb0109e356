"""A book of one's own runs: their chapters alone, titled as what they are, and nothing executed to build it."""

import json

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fairlib import cli
from fairlib.book import build, grids, run_keys, runs
from fairlib.book.chapters import check
from fairlib.book.parameters import LEAD
from fairlib.book.runs import RunError

STUDY = f"""
title = "My study"
[[chapters]]
chapter = "speaker-identification"
encoder = ["{LEAD}", "pocket-wav2vec2"]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small book of three chapters; runs and builds are the test's own, and no kernel may start."""
    root = tmp_path / "project"
    (root / "book").mkdir(parents=True)
    (root / "_config.yml").write_text("""title: The book
execute: {execute_notebooks: "off"}
sphinx:
  extra_extensions: [sphinx_exercise]
  config: {myst_heading_anchors: 2}
""")
    (root / "_toc.yml").write_text("""format: jb-book
root: book/introduction
parts:
  - caption: Speakers
    chapters: [{file: notebooks/05_speaker_identification}]
  - caption: Speech
    chapters: [{file: notebooks/06_speech_recognition}]
  - caption: Both
    chapters:
      - file: notebooks/07_opposite_patterns
      - file: book/references
      - file: book/summary
      - file: book/status
""")
    (root / "book" / "introduction.md").write_text(
        "# In\n\n{glue:text}`../notebooks/05_speaker_identification.ipynb::x`\n"
    )
    (root / "book" / "references.md").write_text(
        "# References\n\nSee [in](introduction.md) and [both](../notebooks/07_opposite_patterns.ipynb).\n"
    )
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")

    def start(*_, **__):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", start)
    return root


def write_run(chapter, **values):
    chosen = check(chapter, values)
    folder = runs.RUNS / runs.run_name(chapter, chosen)
    folder.mkdir(parents=True)
    finding = {
        "claim": "It is so.",
        "verdict": "supported",
        "sentence": f"So it is in {folder.name}.",
        "criterion": "A rule.",
        "evidence": [{"layer": "0"}],
    }
    table = {
        "task": "sid",
        "encoder": "e",
        "corpus": "c",
        "origin": "published",
        "device": "cpu",
        "duration_s": 1.0,
        "encoder_fingerprint": "a",
        "corpus_fingerprint": "b",
    }
    facts = {
        "parameters": chosen.model_dump(exclude={"force"}),
        "findings": [finding],
        "outcomes": [table],
        "code": "fairlib",
        "command": "fairlib run",
        "duration_s": 1.0,
    }
    box = new_output("display_data", {"text/html": "<p>box</p>"}, metadata={"text/html": {"fairlib": facts}})
    cells = [
        new_markdown_cell(
            "# A chapter\n\n[Recognition](06_speech_recognition.ipynb), [patterns](07_opposite_patterns.ipynb)."
        ),
        new_markdown_cell("## Exercises\n\n:::{exercise} Look\n:label: look-" + chapter + "\nWhere?\n:::"),
        new_markdown_cell("## Provenance"),
        new_code_cell("box", outputs=[box]),
    ]
    about = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    nbformat.write(new_notebook(cells=cells, metadata=about), folder / "chapter.ipynb")
    record = {
        "chapter": chapter, "parameters": facts["parameters"], "outcomes": [], "started": "2026",
        "files": {"chapter.ipynb": run_keys.sha256_of(folder / "chapter.ipynb")},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


def test_a_book_of_runs_holds_them_alone_and_says_whose_they_are(project, tmp_path, capsys):
    folders = [
        write_run("opposite-patterns"),
        write_run("speaker-identification"),
        write_run("speaker-identification", encoder="pocket-wav2vec2"),
    ]
    assert cli.main(["book", *map(str, folders), "--output", str(tmp_path / "html")]) == 0
    html = tmp_path / "html"
    assert sorted(path.name for path in (html / "notebooks").glob("*.html")) == [
        "05_speaker_identification.html", "05_speaker_identification_2.html", "07_opposite_patterns.html",
    ]  # fmt: skip
    first = (html / "book" / "own_runs.html").read_text()
    assert "3 runs of one’s own: chapters of “The book”" in first and "not the published edition" in first
    assert "Speaker identification, layer by layer (encoder pocket-wav2vec2)" in first and "Speech" not in first
    other = (html / "notebooks" / "05_speaker_identification_2.html").read_text()
    assert "<h1>Speaker identification, layer by layer (encoder pocket-wav2vec2)" in other
    assert "Recognition, <a" in other and 'href="07_opposite_patterns.html"' in other
    summary = (html / "book" / "summary.html").read_text()
    assert len({path.name for path in (html / "_downloads").rglob("*.csv")}) == 3  # each finding's own evidence
    assert all(f"So it is in {folder.name}." in summary.replace("\\", "") for folder in folders)


def test_a_study_names_its_book_and_what_of_it_is_missing(project, tmp_path, monkeypatch, capsys):
    (tmp_path / "study.toml").write_text(STUDY)
    write_run("speaker-identification")
    monkeypatch.setattr(build, "build_book_of_runs", lambda folders, title: (title, sorted(folders)))
    assert cli.main(["book", str(tmp_path / "study.toml")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "fairlib: 1 of the study's 2 runs are not there: speaker-identification__encoder-pocket-wav2vec2"
    )
    assert said.endswith("(new: no run with these parameters yet). Run the study first.\n")
    write_run("speaker-identification", encoder="pocket-wav2vec2")
    assert cli.main(["book", str(tmp_path / "study.toml")]) == 0
    out = capsys.readouterr().out
    assert "My study" in out and out.count("speaker-identification__") == 2


def test_a_run_that_is_not_there_is_told(project, capsys):
    assert cli.main(["book", "speaker-identification__nothing"]) == 2
    assert "there is no run 'speaker-identification__nothing'" in capsys.readouterr().err
    with pytest.raises(RunError, match="0 of the study's 0 runs"):
        grids.finished([])
