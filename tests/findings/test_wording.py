"""Findings and charts give facts; all English that states them stands in one file of templates."""

import ast
import re
from pathlib import Path

import pytest
from jinja2 import Environment, TemplateNotFound, UndefinedError

from fairlib import display, findings
from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings import scaling
from fairlib.findings.wording import say, templates

ROOMS = [Path(room.__file__).parent for room in (findings, display)]
ELSEWHERE = {"rules", "drawing", "rendering", "tables"}  # rules.toml has their words; names of fonts; markup
SOURCES = sorted(path for room in ROOMS for path in room.glob("*.py") if path.stem not in ELSEWHERE)
MOST_WORDS = 10  # of a label, a column's name or a chart's legend


def strings(tree: ast.AST):
    """Every string of a module but docstrings, what an error says, and a rule that is registered as it stands."""
    if isinstance(tree, ast.Raise) or (isinstance(tree, ast.Assign) and ast.unparse(tree.targets[0]).endswith("_RULE")):
        return
    if isinstance(tree, ast.JoinedStr):
        yield tree.lineno, "".join(part.value if isinstance(part, ast.Constant) else "…" for part in tree.values)
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield from strings(child)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_sentence_stands_in_the_code(source):
    long = [
        f"{source.name}:{line}: {text}"
        for line, text in strings(ast.parse(source.read_text(encoding="utf-8")))
        if len(re.findall(r"[A-Za-z]{2,}", text)) > MOST_WORDS
    ]
    assert not long


def test_every_template_can_be_read_and_every_table_is_asked_for():
    code = "".join(source.read_text(encoding="utf-8") for source in SOURCES)
    every = templates()
    for name, text in every.items():
        Environment().parse(text)
        for other in re.findall(r"include '([^']+)'", text):
            assert other in every, f"{name} includes {other}"
    said = set(re.findall(r'(?:say|unbound|judged|of_chart)\(\s*f?"(\w+)', code))
    said |= set(re.findall(r'rule(?:: str)? ?= ?"(\w+)"', code)) | set(scaling.DIFFER)  # handed on
    assert {name.partition(".")[0] for name in every} == said


def test_a_sentence_can_be_made_again_from_a_finding_s_facts():
    errors = {"child": [0.6, 0.6, 0.6], "adult": [0.2, 0.2, 0.2]}
    outcomes = simulate_outcomes(errors, speakers=30, by="age_group")
    outcomes["layer"] = outcomes["layer"].replace({"0": "cnn", "1": "0", "2": "1"})
    found = findings.where_bias_begins(group_bias(outcomes, by="age_group"))
    assert found.verdict == "supported" and found.facts["biased"] == ["cnn", "0", "1"]
    assert found.sentence.startswith(say("begins.supported", **found.facts))
    assert found.record()["facts"]["at"]["cnn"] == pytest.approx(found.facts["at"]["cnn"])


def test_what_is_missing_is_said():
    with pytest.raises(TemplateNotFound, match="begins.nonsense"):
        say("begins.nonsense")
    with pytest.raises(UndefinedError, match="encoder"):
        say("where.one_layer")
