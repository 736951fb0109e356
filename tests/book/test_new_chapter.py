"""A chapter of one's own: made in a copy of the project it is a chapter like the others and runs, or nothing is."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from fairlib.base.files import FolderError
from fairlib.book import chapters, new_chapter, pairs, run_command
from fairlib.book.added_chapters import added_chapters
from fairlib.book.chapters import ROOT, ChapterError
from fairlib.book.parameters import LEAD
from fairlib.book.runs import facts_in
from fairlib.findings import rules

NAME, TITLE = "made-by-a-test", "Made by a test: “who’s worse off”?"
NUMBER = max(int(path.name[:2]) for path in chapters.NOTEBOOKS.glob("[0-9][0-9]_*")) + 1  # 13, unless some were added
NOTEBOOK = f"{NUMBER}_made_by_a_test"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the project in which the command has made a chapter."""
    folder = tmp_path_factory.mktemp("clone")
    left_out = shutil.ignore_patterns("node_modules", "__pycache__", "assets")
    for part in ("fairlib", "notebooks", "tests", "book"):
        shutil.copytree(ROOT / part, folder / part, ignore=left_out)
    (folder / "fairlib" / "assets").symlink_to(ROOT / "fairlib" / "assets")
    for file in ("_toc.yml", "_config.yml", "pyproject.toml", ".pre-commit-config.yaml"):
        shutil.copy(ROOT / file, folder / file)
    made = python(folder, "-m", "fairlib", "new-chapter", NAME, "--title", TITLE)
    assert made.returncode == 0, made.stderr
    assert f"fairlib run {NAME}" in made.stdout
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python in a copy of the project, with the copy's library."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def bare(tmp_path):
    """What the command looks for in a clone, and no more."""
    for part in ("notebooks", "tests/book", "fairlib/book"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "fairlib/book/chapters.py").touch()
    for notebook in ("05_speaker_identification", "12_your_own_model"):
        (tmp_path / f"notebooks/{notebook}.py").touch()
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    return tmp_path


def holds(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# What is made


def test_its_files_are_the_source_the_pair_the_declaration_and_a_test(clone):
    source = clone / "notebooks" / f"{NOTEBOOK}.py"
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == pairs.paired_notebook(source)
    assert pairs.source_of(source.with_suffix(".ipynb")) == source.read_text(encoding="utf-8")
    made = [*clone.glob(f"notebooks/{NUMBER}_*"), *clone.glob(f"tests/book/test_{NUMBER}_*")]
    assert sorted(path.name for path in made) == [*(f"{NOTEBOOK}.{end}" for end in ("ipynb", "py", "toml")),
                                                  f"test_{NOTEBOOK}.py"]  # fmt: skip
    assert not any("NEW_" in path.read_text(encoding="utf-8") for path in made)
    assert not [path.name for path in clone.iterdir() if path.name.startswith(".new")]


def test_it_stands_in_the_book_after_the_last_chapter_and_nothing_else_moved(clone):
    before, after = ((folder / "_toc.yml").read_text(encoding="utf-8") for folder in (ROOT, clone))
    pages = [each for part in yaml.safe_load(after)["parts"] for each in part["chapters"]]
    place = max(at for at, each in enumerate(pages) if each["file"].startswith("notebooks/"))
    assert pages[place] == {"file": f"notebooks/{NOTEBOOK}", "title": f"{NUMBER} {TITLE}"}
    assert pages[place - 1]["file"] == f"notebooks/{list(chapters.chapters().values())[-1].notebook}"
    assert [line for line in after.splitlines() if NOTEBOOK not in line and TITLE not in line] == before.splitlines()


def test_the_command_line_knows_it_and_its_parameters(clone):
    listed = python(clone, "-m", "fairlib", "chapters").stdout.splitlines()
    assert listed[-1].split(maxsplit=1) == [NAME, TITLE] and len(listed) == len(chapters.chapters()) + 1
    refused = python(clone, "-m", "fairlib", "run", NAME, "--seeds", "0")
    assert refused.returncode == 2 and "seeds must be at least 1, not '0'" in refused.stderr
    assert "[default: planted]" in python(clone, "-m", "fairlib", "run", NAME, "--help").stdout


def test_it_runs_from_first_cell_to_last_with_its_defaults(clone, tmp_path):
    code = f"from fairlib.book.runs import execute; execute({NAME!r}, folder={str(tmp_path)!r})"
    done = python(clone, "-c", code)
    assert done.returncode == 0, done.stderr
    facts = facts_in(tmp_path / "chapter.ipynb")
    assert facts["chapter"] == NAME and facts["parameters"]["corpus"] == "planted"
    assert [finding["verdict"] for finding in facts["findings"]] == ["inconclusive"] * 2
    assert re.search(r"Rule of \d+ \w+ \d{4}; written before its results were seen", facts["findings"][0]["criterion"])


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/book/test_notebooks.py", "tests/book/test_exercises.py", "tests/book/test_course.py",
         "tests/book/test_chapters.py", "tests/book/test_cli.py", f"tests/book/test_{NOTEBOOK}.py"],
        pytest.param(["tests/findings/test_ordinary_data.py", "tests/book/test_chapters.py"], marks=pytest.mark.slow),
    ],
    ids=["quick", "on any corpus"],
)  # fmt: skip
def test_it_passes_every_test_of_a_chapter_as_it_was_made(clone, tests, request):
    chosen = "" if request.node.get_closest_marker("slow") else "not slow and "
    asked = ["-m", f"{chosen}not cluster", "-k", f"{NAME} or {NOTEBOOK}", "-p", "no:cacheprovider", "-n", "0", "-q"]
    done = python(clone, "-m", "pytest", *tests, *asked)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 17


def test_its_files_are_formatted_as_the_project_s(clone):
    for command in (["check"], ["format", "--check"]):
        made = [f"notebooks/{NOTEBOOK}.py", f"notebooks/{NOTEBOOK}.ipynb", f"tests/book/test_{NOTEBOOK}.py"]
        done = python(clone, "-m", "ruff", *command, "--no-cache", *made)
        assert done.returncode == 0, done.stdout


def test_the_next_one_has_the_next_number_and_its_title_from_its_name(clone, bare):
    for name in ("a", "b-c2"):
        files = new_chapter.new_chapter(name, folder=bare)
    assert [path.relative_to(bare).as_posix() for path in files] == [
        "notebooks/14_b_c2.py", "notebooks/14_b_c2.ipynb", "tests/book/test_14_b_c2.py", "notebooks/14_b_c2.toml",
        "_toc.yml",
    ]  # fmt: skip
    assert [(each.name, each.title) for each in added_chapters(bare / "notebooks")] == [("a", "A"), ("b-c2", "B c2")]
    text = (bare / "_toc.yml").read_text()
    assert text.index("12_your_own_model") < text.index("13_a") < text.index("14_b_c2") < text.index("book/library")


# What is refused, and that nothing is left of it


@pytest.mark.parametrize(
    ("name", "title", "words"),
    [
        ("speaker-identification", "", "there is a chapter 'speaker-identification' already"),
        ("your-own-model", "", "already: choose another name"),
        ("Accents", "", "lower-case letters and digits, in words that begin with a letter, with hyphens between them"),
        ("accents_in_noise", "", "such as accents-in-noise."),
        ("accents-2", "", "words that begin with a letter"),  # a second run of a chapter is called so
        ("../accents", "", "cannot be a chapter's name"),
        ("accents\n", "", "cannot be a chapter's name"),
        ("", "", "'' cannot be a chapter's name"),
        ("a" * 41, "", "up to 40 lower-case letters"),
        ("accents", "A `title`", "not '`'."),
        ("accents", "Two\nlines", "cannot be a chapter's title"),
        ("accents", " ", "it may have up to 80 letters"),
        ("accents", "x" * 81, "up to 80 letters"),
        ("accents", "A gap of 0.5", "results in prose are glued from the run"),
        ("accents", "20 % more", "not '%'."),
        ("accents", "Accents?", "Jupytext reads it as a command of IPython"),
    ],
)
def test_a_name_or_title_is_refused_with_one_sentence_and_nothing_is_left(name, title, words, bare):
    before = holds(bare)
    with pytest.raises(ChapterError) as caught:
        new_chapter.new_chapter(name, title, bare)
    assert words in str(caught.value) and "\n" not in str(caught.value) and str(caught.value)[-1] in ".)"
    assert holds(bare) == before


def test_a_chapter_or_test_that_is_there_is_not_written_over(bare):
    new_chapter.new_chapter("accents", folder=bare)
    (bare / "tests/book/test_14_noise.py").write_text("# somebody's own")
    before = holds(bare)
    for name, words in (("accents", "there is a chapter 'accents' already"), ("noise", "test_14_noise.py is there")):
        with pytest.raises(ChapterError, match=words):
            new_chapter.new_chapter(name, folder=bare)
        assert holds(bare) == before


def test_a_folder_that_is_no_clone_is_refused(tmp_path, bare, capsys):
    with pytest.raises(
        ChapterError, match=r"is no clone of the project \(it has no _toc.yml\): name one with --folder"
    ):
        new_chapter.new_chapter("accents", folder=tmp_path / "elsewhere")
    (bare / "_toc.yml").write_text("format: jb-book\nroot: book/introduction\n")
    before = holds(bare)
    with pytest.raises(ChapterError, match="does not list the chapters as the book does"):
        new_chapter.new_chapter("accents", folder=bare)
    assert holds(bare) == before


@pytest.mark.parametrize("at", ["13_accents.py", "13_accents.ipynb", "13_accents.toml", "_toc.yml"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_stop_at_any_file_leaves_nothing(at, stop, bare, monkeypatch):
    real = Path.replace

    def replace(path, target):
        if Path(target).name == at:
            raise stop
        return real(path, target)

    before = holds(bare)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(stop):
        new_chapter.new_chapter("accents", folder=bare)
    assert holds(bare) == before and not list(bare.glob(".new*"))


def test_a_folder_that_cannot_be_written_is_refused(bare, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(FolderError, match="cannot be written: change its permissions"):
        new_chapter.new_chapter("accents", folder=bare)


# What its declaration may hold


@pytest.fixture
def declared(bare, monkeypatch):
    """A chapter was added; what is given is written at the end of its declaration, or in place of some of it."""
    monkeypatch.setattr(chapters, "NOTEBOOKS", bare / "notebooks")
    file = new_chapter.new_chapter("accents", folder=bare)[3]
    return lambda old, new: file.write_text(file.read_text().replace(old, new, 1)) and file


def test_a_parameter_of_its_own_is_checked_like_any_other(declared):
    own = '[parameters.threshold]\ndefault = 0.5\nabout = "of the score"\nleast = 0\nmost = 1\n\n[rules.best]'
    declared("[rules.best]", own)
    assert chapters.check("accents", {}).model_dump() == {
        "force": False, "encoder": LEAD, "corpus": "planted", "group": "group", "seeds": 5, "threshold": 0.5,
    }  # fmt: skip
    assert chapters.check("accents", {"threshold": "0.7"}, as_text=True).threshold == 0.7
    with pytest.raises(ChapterError, match="accents: threshold must be at most 1.0, not 2.0"):
        chapters.check("accents", {"threshold": 2.0})
    assert chapters.chapters()["accents"] is chapters.chapters()["accents"]
    assert "--threshold 0.5" in chapters.command("accents", chapters.check("accents", {}))


def test_a_switch_of_its_own_is_turned_off_by_the_command_that_a_page_prints(declared, monkeypatch):
    declared("[rules.best]", '[parameters.by_phone]\ndefault = true\nabout = "each phone alone"\n\n[rules.best]')
    monkeypatch.setattr(run_command, "runs", typer.Typer())
    run_command._add_command(chapters.chapters()["accents"])
    given = []
    monkeypatch.setattr(run_command.runs_module, "run", lambda chapter, values, force: given.append(values))
    for value, word in ((False, "--no-by-phone"), (True, "--by-phone")):
        _, _, _, *words = shlex.split(chapters.command("accents", chapters.check("accents", {"by_phone": value})))
        assert word in words
        assert CliRunner().invoke(run_command.runs, words).exit_code == 0 and given[-1]["by_phone"] is value


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title =", "titel =", "titel|title"),
        ('tasks = ["sid"]', 'tasks = ["speakers"]', r"tasks\.0: Input should be 'sid', 'asr' or 'phone'"),
        (
            'corpus = "planted"',
            'korpus = "planted"',
            r"parameters\.korpus: of force, encoder, corpus, group, seeds a default",
        ),
        ("[parameters]", "[parameters", "this is not TOML"),
    ],
)
def test_a_declaration_that_is_wrong_is_answered_with_its_file_and_what_is_wrong(old, new, words, declared):
    file = declared(old, new)
    with pytest.raises(ChapterError, match=words) as caught:
        chapters.chapters()
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_a_default_that_is_not_allowed_is_said_when_the_chapter_is_asked_for(declared):
    declared('group = "group"', 'group = "group"\nseeds = 0')
    with pytest.raises(ChapterError, match="accents: seeds must be at least 1, not 0"):
        chapters.check("accents", {})


def test_a_wrong_declaration_does_not_stop_what_needs_no_chapter(bare):
    code = (
        "import sys; from pathlib import Path; from fairlib.book import chapters; "
        f"chapters.NOTEBOOKS = Path({str(bare / 'notebooks')!r}); "
        "from fairlib import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    (bare / "notebooks" / "13_accents.toml").write_text("title = 3\n")
    assert python(ROOT, "-c", code, "--version").returncode == 0
    for asked in (["chapters"], ["run", "why", "--dry-run"]):
        done = python(ROOT, "-c", code, *asked)
        assert done.returncode == 2 and re.fullmatch(r"fairlib: .*13_accents\.toml: title: .*\n", done.stderr)


def test_its_rules_are_read_like_the_book_s_with_numbers_of_its_own(declared):
    own = "[rules.numbers]\nmine = 0.7\n\n[rules.two]\nfirst = 2026-01-02\nwritten = 2026-03-04\nseen = true\n"
    file = declared("[rules.best]", own + 'claim = "So."\nrule = "Above {mine}, not {margin}."\n\n[rules.best]')
    assert rules.claim("two", file) == "So."
    said = rules.rule("two", file)
    assert said.startswith("Above 0.7, not 0.2. With fewer than 10 speakers")
    assert (
        "Rule of 4 March 2026, revised from one of 2 January 2026; outcomes of encoders on these speakers had been seen"
        in said
    )
    with pytest.raises(ValueError, match=r"13_accents\.toml has no rule 'depth': it has two, best\."):
        rules.rule("depth", file)


def test_the_template_s_words_are_valid_json_in_toml_and_yaml(bare):
    title = "Lʼaccent à Zürich – 東京 & more"
    new_chapter.new_chapter("accents", title, bare)
    [chapter] = added_chapters(bare / "notebooks")
    assert chapter.title == title
    notebook = json.loads((bare / "notebooks/13_accents.ipynb").read_text(encoding="utf-8"))
    assert "".join(notebook["cells"][0]["source"]).startswith(f"# {title}\n")
