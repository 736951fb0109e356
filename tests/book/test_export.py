"""A run shown in the terminal and exported as one folder: every table and chart in every format, and read back."""

import csv
import json
import re
import shutil
import subprocess
from html import unescape

import altair as alt
import jsonschema
import nbformat
import pandas as pd
import pybtex.database
import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fairlib import cli
from fairlib.base import files
from fairlib.book import run_keys, runs
from fairlib.book.chapters import ROOT, check
from fairlib.book.export import CHARTS, SCHEMA, TABLES, ExportError, export
from fairlib.book.runs import RunError
from fairlib.book.show import shown
from fairlib.corpora import CORPORA
from fairlib.display.formats import as_markdown
from fairlib.display.rendering import mimebundle
from fairlib.display.tables import ReadTable, table, written
from fairlib.display.words import plain
from fairlib.encoders.checkpoints import CITE, SUPPORTED
from fairlib.findings.cells import Cell, Number

GAPS = pd.DataFrame(
    {
        "age_group": ["child & adult", "50 % | more", "[a] *b*"],
        "error": [Number("share", 0.12345, 0.1, 0.15), Number("share", 0.5), None],
        "gap": [Number("log odds", -0.5, -0.75, -0.25, starred=True), Number("log odds", float("nan")), None],
        "view": [Cell("error ", Number("share", 0.07), "\nlayer ", "3"), "none", "a < b_c $5 #1 {x} ~ ^ \\"],
        "speakers": [3, 40, 500],
    }
)
LONG = pd.DataFrame({"layer": [str(number) for number in range(50)], "p": [Number("p", 0.01234)] * 50})


def _output(shown, metadata=None) -> dict:
    output = new_output("display_data", shown)
    output.metadata = metadata or {}
    return output


def _table(frame, caption, keep=True, **settings) -> dict:
    made = table(frame, caption, **settings)
    return _output({"text/html": made.data}, {"text/html": made.metadata} if keep else {})


def _chart(title) -> dict:
    points = pd.DataFrame({"layer": ["cnn", "0", "1"], "gap": [3, 1, 2]})
    about = {"title": alt.Title(title, subtitle=["Bands: 95 % intervals", "over speakers."]), "width": "container"}
    chart = alt.Chart(points, description="Three layers.", usermeta={"csv": points.to_csv(index=False)}, **about)
    return _output(mimebundle(chart.mark_line(color="#0072B2").encode(x="layer:N", y="gap:Q").to_dict()))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of chapter 5, as `fairlib.book.runs.run` leaves it, with a notebook of a few outputs."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    folder = tmp_path / "_runs" / "speaker-identification__ab12"
    folder.mkdir(parents=True)
    cells = [
        new_markdown_cell("# Speaker identification\n\nResampled {cite:p}`liu2019, lum2022`."),
        new_code_cell(outputs=[_chart("A gap_at 2 of 3 layers"), _table(GAPS, "Errors & gaps, with intervals")]),
        new_code_cell(outputs=[_chart("A gap_at 2 of 3 layers"), _chart("Another")]),
        new_code_cell(outputs=[_table(GAPS, "Errors & gaps; again", keep=False, folded=True), _table(LONG, "Layers")]),
        new_code_cell(metadata={"tags": ["solution"]}, outputs=[_table(GAPS, "Solved")]),
    ]
    nbformat.write(new_notebook(cells=cells), folder / "chapter.ipynb")
    (folder / "chapter.html").write_text("<p>the page</p>")
    findings = [
        {
            "claim": "Bias begins in the first layers.", "verdict": "supported", "sentence": "It is at layer cnn.",
            "criterion": "The rule.", "evidence": [{"layer": "cnn", "low": None, "estimate": 0.5}],
        }
    ]  # fmt: skip
    (folder / "findings.json").write_text(json.dumps(findings))
    (folder / "outcomes").mkdir()
    control = pd.DataFrame({"encoder": ["random:mini-wavlm", "logmel"], "corpus": "timit", "errors": 1})
    control.to_parquet(folder / "outcomes" / "entry.parquet")
    outcome = {
        "task": "sid", "encoder": "pocket-hubert", "corpus": "speechocean762", "origin": "published", "device": "cpu",
        "duration_s": 1.5, "encoder_fingerprint": "e" * 64, "corpus_fingerprint": "c" * 64, "utterances_left_out": {},
    }  # fmt: skip
    record = {
        "chapter": "speaker-identification",
        "parameters": check("speaker-identification", {}).model_dump(exclude={"force"}),
        "command": "fairlib run speaker-identification", "seeds": [0, 1],
        "outcomes": [outcome, outcome | {"encoder": "someone/unheard-of", "corpus": "voices.csv"}],
        "entries": [], "speech": [], "code": "fairlib 0.1.0, commit ab12", "commit": "ab12", "dirty": False,
        "key": "k", "made_from": {"package torch": "2.14"}, "python": "3.11.2", "packages": {"torch": "2.14"},
        "platform": "here", "device": "cpu", "processors": 2, "started": "2026-01-01T00:00:00Z", "duration_s": 3.2,
        "files": {path.relative_to(folder).as_posix(): run_keys.sha256_of(path) for path in folder.rglob("*.*")},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def exported(run, tmp_path):
    return export(run, tmp_path / "supplement"), tmp_path / "supplement"


def _as_shown(frame: pd.DataFrame) -> list[list[str]]:
    def in_line(text: str) -> str:
        first, _, second = text.replace("\N{NO-BREAK SPACE}", " ").partition("\n")
        return f"{first} ({second})" if second else first

    return [[in_line(written(cell)) for cell in row] for row in frame.itertuples(index=False)]


def test_every_table_and_chart_comes_in_every_format(exported):
    said, folder = exported
    tables = ["table-05-errors-gaps", "table-05-errors-gaps-2", "table-05-layers"]
    assert [each["files"] for each in said["tables"]] == [[f"{name}.{kind}" for kind in TABLES] for name in tables]
    assert [each["caption"] for each in said["tables"]][:2] == ["Errors & gaps, with intervals", "Errors & gaps; again"]
    assert [each["number"] for each in said["figures"]] == ["5.1", "5.2"], "one that is shown twice is one figure"
    assert said["figures"][0]["files"] == [f"figure-5.1.{kind}" for kind in (*CHARTS, "csv")]
    there = {path.name for path in folder.iterdir()}
    assert there == {"findings.json", *said["files"]} and not any("solved" in name for name in there)
    index = (folder / "index.md").read_text()
    for each in [*said["tables"], *said["figures"]]:
        assert plain(each["caption"]) in index and all(f"({name})" in index for name in each["files"])


def test_a_csv_holds_what_is_shown_and_the_same_unrounded(exported):
    _, folder = exported
    read = pd.read_csv(folder / "table-05-errors-gaps.csv", dtype=str, keep_default_na=False)
    assert read[list(GAPS)].to_numpy().tolist() == _as_shown(GAPS)
    numbers = pd.read_csv(folder / "table-05-errors-gaps.csv")
    assert numbers["error: value"].tolist()[:2] == [12.345, 50.0] and pd.isna(numbers["error: low"][1])
    assert numbers.loc[0, ["gap: value", "gap: low", "gap: high"]].tolist() == [-0.5, -0.75, -0.25]
    assert numbers["gap: value"].isna().tolist() == [False, True, True]
    assert numbers["view: value"][0] == 7.0 and "view: low" not in numbers
    older = pd.read_csv(folder / "table-05-errors-gaps-2.csv", dtype=str, keep_default_na=False)
    assert list(older) == list(GAPS), "of an older run only what is shown is known"
    assert pd.read_csv(folder / "figure-5.1.csv")["gap"].tolist() == [3, 1, 2]


def test_a_markdown_table_has_as_many_cells_in_each_row(exported):
    _, folder = exported
    caption, blank, *lines = (folder / "table-05-errors-gaps.md").read_text().splitlines()
    assert caption == "Errors & gaps, with intervals" and blank == ""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    unescaped = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells]
    assert unescaped == [list(GAPS), ["---"] * 5, *_as_shown(GAPS)]


def test_names_of_groups_are_no_markup_in_markdown(exported):
    """Whatever Markdown could read in a name, a reader of the file sees the name."""
    names = ["_all_", "*b*", "<b>", "a|b", "[x](y)", "~~old~~", "`c`", "\\\\d"]
    text = as_markdown(ReadTable("Of _all_ *groups*", ["group"], [[name] for name in names], {}))
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    assert [unescape(cell) for cell in re.findall("<td>(.*?)</td>", html)] == names
    assert "<p>Of _all_ *groups*</p>" in html
    assert r"**A gap\_at 2 of 3 layers**" in (exported[1] / "index.md").read_text()


def test_latex_is_balanced_and_escaped(exported):
    _, folder = exported
    for path in sorted(folder.glob("*.tex")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("% needs")]
        text = "\n".join(lines)
        opened = []
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
            if kind == "begin":
                opened.append(name)
            else:
                assert opened.pop() == name
        assert not opened
        bare = re.sub(r"\\[&%$#_{}\\]", "", text)
        assert not re.search(r"[%#$~^]|[^\x00-\x7f]", bare.replace("~\\%", "").replace("~", "")), path.name
        assert "_" not in bare and bare.count("{") == bare.count("}")
    assert r"\begin{longtable}" in (folder / "table-05-layers.tex").read_text()
    text = (folder / "table-05-errors-gaps.tex").read_text()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"\caption{Errors \& gaps, with intervals}\label{tab:05-errors-gaps}" in text
    assert r"age\_group" in text and r"child \& adult" in text and r"\ensuremath{-}0.50" in text
    assert r"\includegraphics[width=\linewidth]{{figure-5.2}.pdf}" in (folder / "figures.tex").read_text()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here (apt-get install texlive-latex-base)")
def test_latex_compiles_and_keeps_to_its_page(exported, tmp_path):
    _, folder = exported
    shutil.copytree(folder, tmp_path / "tex")
    inputs = [rf"\input{{{path.name}}}" for path in sorted(folder.glob("*.tex"))]
    lines = [r"\documentclass{article}", r"\usepackage{booktabs,longtable,graphicx}", r"\begin{document}", *inputs]
    (tmp_path / "tex/all.tex").write_text("\n".join([*lines, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    said = subprocess.run(command, cwd=tmp_path / "tex", capture_output=True, text=True, errors="replace")
    assert said.returncode == 0, said.stdout[-2000:]
    assert "Overfull" not in said.stdout and (tmp_path / "tex/all.pdf").stat().st_size > 10_000


def test_pictures_are_what_their_names_say(exported):
    _, folder = exported
    assert (folder / "figure-5.1.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert (folder / "figure-5.1.pdf").read_bytes().startswith(b"%PDF-")
    svg = (folder / "figure-5.1.svg").read_text()
    assert svg.startswith("<svg") and "var(" not in svg and "#0072B2" in svg
    assert "A gap_at" not in svg, "a figure's title is its caption"


def test_the_json_is_as_its_schema_says(exported, run):
    said, folder = exported
    schema = json.loads((folder / SCHEMA.name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    read = json.loads((folder / "findings.json").read_text())
    jsonschema.validate(read, schema)
    assert read == said and read["findings"] == json.loads((run / "findings.json").read_text())
    assert read["provenance"] == json.loads((run / "provenance.json").read_text())
    assert {name: run_keys.sha256_of(folder / name) for name in read["files"]} == read["files"]
    for broken in ({"verdict": "maybe"}, {"surprise": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(read | {"findings": [read["findings"][0] | broken]}, schema)


def test_references_are_those_of_what_was_used(exported):
    said, folder = exported
    keys = ["fairlib", "herron2026", "liu2019", "lum2022", "chen2022", "hsu2021"]
    keys += ["zhang2021", "timit1993", "ardila2020", "panayotov2015"]
    text = (folder / "references.bib").read_text()
    assert said["references"] == keys == re.findall(r"(?m)^@\w+\{(\w+),$", text)
    assert said["without_reference"] == ["someone/unheard-of", "voices.csv"]
    assert text.count("{") == text.count("}") and "year = {2026}, howpublished = {book and software}" in text
    assert "no entry for someone/unheard-of and voices.csv" in (folder / "index.md").read_text()


def test_every_corpus_and_family_names_an_entry_that_is_there():
    bibliography = pybtex.database.parse_file(str(ROOT / "book" / "references.bib"))
    cited = {name: about.cite for name, about in CORPORA.items()} | CITE
    assert set(CITE) == SUPPORTED and not {name for name, key in cited.items() if key not in bibliography.entries}


def test_only_what_is_asked_for_is_written(run, tmp_path):
    said = export(run, tmp_path / "few", tables=["md"], charts=[])
    assert said["figures"] == [] and not list((tmp_path / "few").glob("*.csv")) + list((tmp_path / "few").glob("*.tex"))
    assert len(list((tmp_path / "few").glob("table-*.md"))) == 3


def test_an_export_is_replaced_but_nothing_else_is(exported, run):
    _, folder = exported
    export(run, folder, tables=["csv"], charts=[])
    assert not list(folder.glob("*.svg")) and not list(folder.parent.glob("supplement.*"))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"supplement holds notes.txt, which is not as an export left it"):
        export(run, folder)
    (folder / "notes.txt").unlink()
    (folder / "index.md").write_text("edited")
    with pytest.raises(ExportError, match="holds index.md"):
        export(run, folder)
    with pytest.raises(ExportError, match="holds chapter.html"):
        export(run, run)
    with pytest.raises(ExportError, match="is a file: name a folder"):
        export(run, folder / "index.md")


def test_a_stop_leaves_neither_half_an_export_nor_none(exported, run, monkeypatch):
    said, folder = exported
    monkeypatch.setattr("fairlib.display.rendering.picture", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(run, folder)
    assert json.loads((folder / "findings.json").read_text()) == said
    assert not list(folder.parent.glob("supplement.*"))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["show", "speaker-identificaton__ab12"], "did you mean 'speaker-identification__ab12'?"),
        (["export", "nothing", "X"], "there is no run 'nothing'"),
        (["export", "speaker", "X", "--tables", "csv,xls"], "tables can be written as csv, tex and md, not as 'xls'"),
        (["export", "speaker", "X", "--charts", "pgn"], "not as 'pgn': did you mean 'png'?"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(run, tmp_path, capsys, arguments, answer):
    target = tmp_path / "out"
    assert cli.main([str(target) if word == "X" else word for word in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and answer in said.err and not target.exists()


def test_a_damaged_run_is_refused(run, tmp_path):
    (run / "findings.json").write_text("[]")
    for call in (lambda: export(run, tmp_path / "out"), lambda: shown(run)):
        with pytest.raises(RunError, match="is damaged: findings.json is not as the run left it"):
            call()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_can_write", lambda path: False)
    with pytest.raises(files.FolderError, match="out cannot be written"):
        export(run, tmp_path / "out")


def test_the_commands_show_and_export(run, tmp_path, capsys):
    assert cli.main(["show", "speaker"]) == 0
    said = capsys.readouterr().out
    assert "SUPPORTED: Bias begins in the first layers.\n    It is at layer cnn." in said
    assert "outcomes    pocket-hubert on speechocean762, speaker identification: published" in said
    assert "again       fairlib run speaker-identification" in said and max(map(len, said.splitlines()[2:])) <= 100
    assert cli.main(["export", "speaker", str(tmp_path / "out"), "--charts", "svg"]) == 0
    said = capsys.readouterr().out
    assert said == f"{tmp_path / 'out'}: 1 finding, 3 tables, 2 figures, 10 references; index.md lists them.\n"
    assert next(csv.reader((tmp_path / "out" / "table-05-layers.csv").open())) == ["layer", "p", "p: value"]
