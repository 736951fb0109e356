"""Tables hold numbers until one function writes them."""

import ast
import math
from pathlib import Path

import pandas as pd

import fairlib
from fairlib.display import tables
from fairlib.display.tables import show_table, table, written
from fairlib.findings.cells import Cell, Number

FINDINGS = Path(fairlib.__file__).parent / "findings"
WRITE = {"percent", "interval", "number", "p_value", "in_points"}


def test_no_table_of_findings_holds_a_number_as_text():
    writing = []
    for file in FINDINGS.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "pd.DataFrame":
                called = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                writing += [f"{file.name}: {node.name}"] * bool(called & WRITE)
    assert writing == ["speakers.py: differences"]  # whose means, in words, are evidence of a verdict


def test_an_interval_stands_below_a_number_alone_and_beside_one_among_words():
    gap = Number("log odds", -0.5, -0.75, math.nan)
    assert written(gap) == "−0.50\n−0.75 to unknown"
    assert written(Cell("gap ", gap, "\nlayer ", 3)) == "gap −0.50 [−0.75, unknown]\nlayer 3"
    assert written(Number("ratio", 1.5, 1.2, 1.9, starred=True)) == "1.50 *\n1.20 to 1.90"
    assert [written(cell) for cell in (math.nan, None, 2, "x")] == ["", "", "2", "x"]


def test_a_page_shows_what_is_written():
    html = table(pd.DataFrame({"gap": [Number("difference", 0.031, 0.01, 0.05)]}), "Gaps").data
    assert "<td>+3.1<br><small>+1.0 to +5.0</small></td>" in html


def test_a_table_without_rows_is_not_shown_but_what_is_said_in_its_place(monkeypatch):
    shown = []
    monkeypatch.setattr(tables, "display", lambda output: shown.append(output.data))
    rows = pd.DataFrame({"gap": ["large"]})
    show_table(rows, "Gaps", otherwise="*None.*")
    show_table(rows.iloc[:0], "Gaps")
    show_table(rows.iloc[:0], "Gaps", otherwise="*None.*")
    assert shown == [table(rows, "Gaps").data, "*None.*"]
