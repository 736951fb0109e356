"""Exercises: three a chapter, of rising depth, each with a hidden solution whose code stands on its own and runs."""

import ast
import re
import warnings

import pytest

from fairlib.book import chapters, pairs

CHAPTERS = list(chapters.chapters().values())
DEPTHS = ["Look", "Try", "Build"]  # what the page shows; what a few lines more show; something of one's own
EXERCISE = re.compile(r"^:::\{exercise\} (.+)\n:label: (.+)\n", re.MULTILINE)
SOLUTION = re.compile(r"^:::\{solution-start\} (.+)\n:class: dropdown\n:::\n", re.MULTILINE)


def cells(chapter):
    return pairs.read_notebook(chapter.source).cells


def solutions(chapter):
    """Code of each solution, by the label of its exercise."""
    found = {}
    for before, cell in zip(cells(chapter), cells(chapter)[1:]):
        if "solution" in cell.metadata.get("tags", []):
            found[SOLUTION.findall(before.source)[-1]] = cell.source
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_a_chapter_has_three_exercises_each_with_a_hidden_solution_right_behind_it(chapter):
    text = "\n".join(cell.source for cell in cells(chapter) if cell.cell_type == "markdown")
    titles, labels = zip(*EXERCISE.findall(text))
    assert list(titles) == DEPTHS
    assert list(labels) == SOLUTION.findall(text) == list(solutions(chapter))
    order = re.findall(r"^:::\{(exercise|solution-start|solution-end)\}", text, re.MULTILINE)
    assert order == ["exercise", "solution-start", "solution-end"] * 3


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_a_solution_leaves_alone_what_later_cells_use(chapter):
    bound = set()
    for cell in cells(chapter):
        if cell.cell_type != "code":
            continue
        names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
        stored, loaded = ({name.id for name in names if isinstance(name.ctx, kind)} for kind in (ast.Store, ast.Load))
        if "solution" in cell.metadata.get("tags", []):
            bound |= stored
        else:
            assert not bound & (loaded - stored)


@pytest.mark.parametrize(
    ("chapter", "label"), [(chapter, label) for chapter in CHAPTERS for label in solutions(chapter)], ids=str
)
def test_a_solution_needs_only_the_chapters_parameters(chapter, label):
    code = compile(solutions(chapter)[label], label, "exec")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # groups made small on purpose say so
        exec(code, chapter.parameters().model_dump())
