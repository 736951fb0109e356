"""Worksheets: every exercise with room for its answer and no solution; the teacher's copy with every solution."""

import ast

import nbformat
import pytest

from fairlib.book import pairs
from fairlib.book.chapters import chapters
from fairlib.book.course import worksheet, write_worksheets

CHAPTERS = list(chapters().values())


def solutions(chapter):
    cells = pairs.read_notebook(chapter.source).cells
    return [cell.source for cell in cells if "solution" in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_a_worksheet_asks_all_three_exercises_and_gives_no_solution_away(chapter):
    cells = worksheet(chapter).cells
    headings = [cell.source.partition("\n")[0] for cell in cells if cell.source.startswith("## ")]
    assert headings == ["## Look", "## Try", "## Build"]
    assert [cell.source for cell in cells if cell.cell_type == "code"][2:] == ["# your answer"] * 3
    whole = "\n".join(cell.source for cell in cells)
    assert not any(solution in whole for solution in solutions(chapter)) and "*Solution.*" not in whole


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_the_teachers_copy_holds_the_code_that_the_tests_run(chapter):
    code = [cell.source for cell in worksheet(chapter, solved=True).cells if cell.cell_type == "code"]
    assert code[0] == pairs.SETUP and code[2:] == solutions(chapter)
    for cell in code:
        ast.parse(cell)


@pytest.mark.parametrize("solved", [False, True])
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_words_need_no_myst(chapter, solved):
    for cell in worksheet(chapter, solved).cells:
        if cell.cell_type == "markdown":
            assert ":::" not in cell.source and "{" not in cell.source and ".ipynb" not in cell.source


def test_worksheets_are_valid_notebooks_and_the_same_from_every_build(tmp_path):
    first, again = write_worksheets(tmp_path / "a"), write_worksheets(tmp_path / "b")
    assert len(first) == 2 * len(CHAPTERS)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        nbformat.validate(nbformat.read(one, 4))
