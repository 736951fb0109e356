"""Notebooks: the text is the source, its pair is derived, and prose holds no result that was typed in."""

import json
import re
import subprocess
import sys

import nbclient
import nbformat
import pytest
import yaml

from fairlib.book import chapters, pairs

SOURCES = sorted(chapters.NOTEBOOKS.glob("*.py"))

# The rule: prose in notebooks holds no percentage and no decimal number, for such a number is nearly always a
# result, and results are glued from the run. What is not read: code, math, glue and other roles, link targets
# and HTML comments.
NOT_PROSE = [
    r"```.*?```",
    r"<!--.*?-->",
    r"\{\{[^{}]*\}\}",  # places of the page of methods, filled from the code
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
    assert pair.read_text(encoding="utf-8") == pairs.paired_notebook(source), "run make notebooks"


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
        for cell in pairs.read_notebook(source).cells
        if cell.cell_type == "markdown"
        for result in literal_results(cell.source)
    ]
    assert not found, f"{source.name}: glue these from the run: {found}"


OURS = [chapter.source for chapter in chapters.chapters().values() if not chapter.declaration.exists()]


@pytest.mark.parametrize("source", OURS, ids=lambda path: path.stem)
def test_at_least_half_of_a_chapter_of_the_book_is_prose(source):
    """Of its lines that are not blank, without the solutions of exercises."""
    lines = {"markdown": 0, "code": 0}
    for cell in pairs.read_notebook(source).cells:
        if "solution" not in cell.metadata.get("tags", []):
            lines[cell.cell_type] += sum(bool(line.strip()) for line in cell.source.splitlines())
    assert lines["markdown"] >= lines["code"], "code that has a name of its own belongs in a room of the library"


def test_the_same_source_gives_the_same_pair():
    source = chapters.NOTEBOOKS / "05_speaker_identification.py"
    assert pairs.paired_notebook(source) == pairs.paired_notebook(source)


# Opened in Jupyter, VS Code, Binder or Colab


@pytest.mark.parametrize("chapter", chapters.chapters().values(), ids=lambda chapter: chapter.name)
def test_the_first_code_cell_of_a_chapter_is_the_same_everywhere(chapter):
    first = next(cell for cell in pairs.read_notebook(chapter.source).cells if cell.cell_type == "code")
    assert first.source == pairs.SETUP and first.metadata["tags"] == ["remove-cell"]


def test_a_notebook_without_the_library_says_what_to_do(tmp_path):
    (tmp_path / "chapter.py").write_text(pairs.SETUP)
    # -S leaves out what is installed, and -E what the environment adds.
    done = subprocess.run([sys.executable, "-SEP", "chapter.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No module named 'fairlib'" in done.stderr and "pip install -c constraints.txt -e" in done.stderr


@pytest.mark.slow
def test_a_pair_runs_from_the_folder_it_lies_in(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = nbformat.read(chapters.NOTEBOOKS / "04_measuring_bias.ipynb", as_version=4)
    where = {"metadata": {"path": str(chapters.NOTEBOOKS)}}
    notebook.cells.append(nbformat.v4.new_code_cell("import fairlib; print(fairlib.__file__)"))
    nbclient.NotebookClient(notebook, kernel_name="python3", resources=where).execute()
    assert notebook.cells[-1].outputs[0].text.strip() == str(chapters.ROOT / "fairlib" / "__init__.py")


# Kept equal by a hook


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one committed pair."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(pairs, "NOTEBOOKS", folder)
    (folder / "one.py").write_text((chapters.NOTEBOOKS / "08_fine_tuning.py").read_text())
    pairs.write_pairs()
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return folder


def test_a_source_follows_from_its_pair_and_back():
    for source in SOURCES:
        assert pairs.source_of(source.with_suffix(".ipynb")) == source.read_text(encoding="utf-8")


def test_the_hook_leaves_an_equal_pair_alone(repository):
    assert pairs.make_equal() == []


def test_the_hook_writes_the_pair_of_an_edited_source(repository):
    source = repository / "one.py"
    source.write_text(source.read_text().replace("# After fine-tuning", "# Long after"))
    assert pairs.make_equal() == [source.with_suffix(".ipynb")]
    assert "Long after" in source.with_suffix(".ipynb").read_text()


def test_the_hook_writes_the_source_of_an_edited_pair_and_drops_its_outputs(repository):
    source, pair = repository / "one.py", repository / "one.ipynb"
    content = json.loads(pair.read_text())
    content["cells"][0]["source"] = ["# Long after"]
    code = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    code["outputs"], code["execution_count"] = [{"output_type": "stream", "name": "stdout", "text": ["hello"]}], 3
    pair.write_text(json.dumps(content))
    assert pairs.make_equal() == [source, pair]
    assert "# # Long after\n" in source.read_text() and "hello" not in pair.read_text() + source.read_text()
    assert pair.read_text() == pairs.paired_notebook(source)


def test_the_hook_is_what_pre_commit_runs():
    hooks = yaml.safe_load((chapters.ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    [entry] = [hook["entry"] for hook in hooks if hook["id"] == "pairs"]
    assert entry == ".venv/bin/python -m fairlib.book.pairs"
