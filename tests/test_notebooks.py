"""Notebooks: the text is the source, its pair is derived, and prose holds no result that was typed in."""

import json
import re

import pytest

from fairlib import chapters, notebooks

SOURCES = sorted(chapters.NOTEBOOKS.glob("*.py"))

# The rule: prose in notebooks holds no percentage and no decimal number, for such a number is nearly always a
# result, and results are glued from the run. What is not read: code, math, glue and other roles, link targets
# and HTML comments.
NOT_PROSE = [
    r"```.*?```",
    r"<!--.*?-->",
    r"\{[\w:+-]+\}`[^`]*`",  # roles, glue among them
    r"`[^`]*`",
    r"\$[^$]*\$",
    r"(?<=\])\([^)]*\)",  # the target of a link
    r"<?https?://\S+",
]
# Numbers that are names or conventions, not results.
NAMES = [
    r"wav2vec 2\.0",
    r"w2v-BERT 2\.0",
    r"arXiv[: ]\d+\.\d+",
    r"(?:Python |, | or | to )3\.1\d\b",  # versions of Python
    r"CC[- ]BY[- ]4\.0",
    r"95\s?(?:%|per cent) (?:\w+ )?(?:intervals?|bands?)",
]
RESULT = re.compile(r"\d+\s?(?:%|percent\b|per cent\b|percentage points?\b)|(?<![\w.])\d+[.,]\d+(?![\w.]*\w)")


def literal_results(markdown: str) -> list[str]:
    """The percentages and decimal numbers that stand in the prose of a markdown cell."""
    for pattern in NOT_PROSE + NAMES:
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL | re.IGNORECASE)
    return [match.group() for match in RESULT.finditer(markdown)]


@pytest.mark.parametrize(
    "prose",
    ["20 %", "an error of 13%", "a gap of 0.13", "3.5 times", "**12 per cent**", "4 percentage points", "p = 0.03."],
)
def test_the_rule_finds_a_result_in_prose(prose):
    assert literal_results(f"The result is {prose} here.")


@pytest.mark.parametrize(
    "prose",
    [
        "{glue:text}`best:.1%`",
        "five seeds, 250 speakers, layers 0 to 12",
        "`p < 0.05`",
        "$x = 0.5$",
        "wav2vec 2.0",
        "with 95 % intervals",
        "[the paper](https://arxiv.org/abs/2604.18249)",
        "chapter 5.",
    ],
)
def test_the_rule_leaves_the_rest_alone(prose):
    assert not literal_results(f"Here stands {prose} and no more.")


def test_every_chapter_has_its_notebook():
    assert {chapter.source for chapter in chapters.chapters().values()} <= set(SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_is_what_its_source_gives(source):
    pair = source.with_suffix(".ipynb")
    assert pair.exists(), f"{pair.name} is missing: run make notebooks"
    assert pair.read_text(encoding="utf-8") == notebooks.paired_notebook(source), "run make notebooks"


def test_there_is_no_pair_without_its_source():
    assert {path.stem for path in chapters.NOTEBOOKS.glob("*.ipynb")} == {path.stem for path in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_holds_no_outputs(source):
    for cell in json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_prose_holds_no_literal_result(source):
    found = [
        result
        for cell in notebooks.read_notebook(source).cells
        if cell.cell_type == "markdown"
        for result in literal_results(cell.source)
    ]
    assert not found, f"{source.name}: glue these from the run: {found}"


def test_the_same_source_gives_the_same_pair():
    source = chapters.NOTEBOOKS / "05_speaker_identification.py"
    assert notebooks.paired_notebook(source) == notebooks.paired_notebook(source)
