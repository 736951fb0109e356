"""A chapter of one's own: its source, pair, declaration, test and place in the book, made from a template that runs."""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from datetime import date
from pathlib import Path

import yaml

from fairlib.base.files import ASSETS, require_room, writing
from fairlib.book.added_chapters import added_chapters
from fairlib.book.chapters import ROOT, ChapterError
from fairlib.book.pairs import paired_notebook, read_notebook

TEMPLATE = ASSETS / "new_chapter"
_CLONE = ("_toc.yml", "notebooks", "tests/book", "fairlib/book/chapters.py")  # what a clone of the project holds
_LONGEST_NAME, _LONGEST_TITLE = 40, 80
_SIGNS = " ,.:;?!'’‘“”()–-&/+"  # of a title, beside letters and digits; others would be read as markup


def new_chapter(name: str, title: str = "", folder: str | Path = ROOT) -> list[Path]:
    """Make a chapter from the template and return its files; all of them are there, or none.

    The chapter runs at once, with the defaults of its declaration, on published outcomes of synthetic speech.

    Args:
        name: of the chapter on the command line: lower-case words with hyphens between them.
        title: by default the name's words.
        folder: a clone of the project; by default the one that this library is in.

    Returns:
        ``notebooks/NN_name.py``, its ``.ipynb``, ``tests/book/test_NN_name.py``, ``notebooks/NN_name.toml`` (the
        declaration, with the rules of its claims) and ``_toc.yml``, in which it stands after the last chapter.

    Raises:
        ChapterError: the name or title is not allowed or taken, or the folder is no clone; nothing was written.
        fairlib.base.files.FolderError: the folder cannot be written, or its disk is full.
    """
    folder = Path(folder).expanduser().absolute()
    missing = [part for part in _CLONE if not (folder / part).exists()]
    if missing:
        raise ChapterError(f"{folder} is no clone of the project (it has no {missing[0]}): name one with --folder.")
    _require_name(name, folder)
    title = title or name.replace("-", " ").capitalize()
    _require_title(title)
    numbers = [int(path.name[:2]) for path in (folder / "notebooks").glob("[0-9][0-9]_*")]
    number = max(numbers, default=0) + 1
    if number > 99:
        raise ChapterError("chapters are numbered with two digits, and number 99 is taken.")
    notebook = f"{number:02}_{name.replace('-', '_')}"
    words = {
        "NEW_NOTEBOOK": notebook,
        "NEW_NUMBER": str(number),
        "NEW_NAME": name,
        "NEW_QUOTED": json.dumps(title, ensure_ascii=False),
        "NEW_TITLE": title,
        "NEW_DAY": date.today().isoformat(),
    }
    contents = _with_chapter(folder / "_toc.yml", f"notebooks/{notebook}", f"{number} {title}")
    texts = {
        f"notebooks/{notebook}.py": _filled("chapter.py", words),
        f"tests/book/test_{notebook}.py": _filled("test_chapter.py", words),
        f"notebooks/{notebook}.toml": _filled("chapter.toml", words),
    }
    require_room(folder)
    with writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".new-chapter-") as temporary:
        beside = Path(temporary)
        for file, text in texts.items():
            (beside / file).parent.mkdir(parents=True, exist_ok=True)
            (beside / file).write_text(text, encoding="utf-8")
        added_chapters(beside / "notebooks")  # what it declares is read here as it will be
        source, test, declaration = texts
        pair = source.removesuffix(".py") + ".ipynb"
        if not read_notebook(beside / source).cells[0].source.startswith(f"# {title}\n"):
            raise ChapterError(
                f"{title!r} cannot be a chapter's title: Jupytext reads it as a command of IPython, as it does a word"
                " followed by a question mark; add a word."
            )
        (beside / pair).write_text(paired_notebook(beside / source), encoding="utf-8")
        (beside / "_toc.yml").write_text(contents, encoding="utf-8")
        return _moved(beside, folder, [source, pair, test, declaration, "_toc.yml"])


def _require_name(name: str, folder: Path) -> None:
    if len(name) > _LONGEST_NAME or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*", name):
        raise ChapterError(
            f"{name!r} cannot be a chapter's name: it may have up to {_LONGEST_NAME} lower-case letters and digits, in"
            " words that begin with a letter, with hyphens between them, such as accents-in-noise."
        )
    if name in {path.stem[3:].replace("_", "-") for path in (folder / "notebooks").glob("[0-9][0-9]_*")}:
        raise ChapterError(f"there is a chapter {name!r} already: choose another name (fairlib chapters lists them).")


def _require_title(title: str) -> None:
    odd = sorted({sign for sign in title if sign not in _SIGNS and unicodedata.category(sign)[:2] not in _LETTERS})
    if not title.strip() or len(title) > _LONGEST_TITLE or odd:
        raise ChapterError(
            f"{title!r} cannot be a chapter's title: it may have up to {_LONGEST_TITLE} letters, digits, spaces and"
            f" {' '.join(_SIGNS.strip())}{f'; not {odd[0]!r}' if odd else ''}."
        )
    if re.search(r"\d[.,]\d|\d\s?per ?cent", title):
        raise ChapterError(
            f"{title!r} cannot be a chapter's title: it holds a decimal number or a percentage, and results in prose"
            " are glued from the run."
        )


_LETTERS = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd")  # of any script, with their marks, and digits


def _filled(template: str, words: dict[str, str]) -> str:
    text = (TEMPLATE / f"{template}.template").read_text(encoding="utf-8")
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def _with_chapter(file: Path, page: str, title: str) -> str:
    """The table of contents with the chapter after the last one, all else as it stands.

    Raises:
        ChapterError: the file lists no chapter, or not as the book's own does.
    """
    text = file.read_text(encoding="utf-8")
    entry = r"(?m)^( *)- file: notebooks/.*\n(?:\1 +.*\n)*"
    last = max(re.finditer(entry, text), key=lambda found: found.end(), default=None)
    if last is not None:
        line = f"{last[1]}- file: {page}\n{last[1]}  title: {json.dumps(title, ensure_ascii=False)}\n"
        changed = text[: last.end()] + line + text[last.end() :]
        pages = [each["file"] for part in yaml.safe_load(changed)["parts"] for each in part["chapters"]]
        if page in pages:
            return changed
    raise ChapterError(f"{file} does not list the chapters as the book does, by lines “- file: notebooks/...”.")


def _moved(source: Path, folder: Path, files: list[str]) -> list[Path]:
    """Rename files into a folder, the last of which replaces one there; where one cannot be, none is."""
    made: list[Path] = []
    try:
        for file in files[:-1]:
            if (folder / file).exists():
                raise ChapterError(f"{folder / file} is there already: choose another name, or move it.")
            made.append(folder / file)
            (source / file).replace(folder / file)
        (source / files[-1]).replace(folder / files[-1])
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return [folder / file for file in files]
