"""Slides for the course: one deck for each session, made at build from the executed chapters.

A slide holds one question, or one chart under the sentence that it shows. Questions, exercises and the plan come from
the course's page and the chapters' text, answers and charts from what the chapters found. A deck adds no words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import nbformat

from fairlib.base.files import write_text
from fairlib.book.chapters import ROOT, Chapter
from fairlib.book.course import exercises, without_myst

TEMPLATE = ROOT / "fairlib" / "assets" / "slides.html"
COURSE = ROOT / "book" / "course.md"
_GLUE = re.compile(r"\{glue:text\}`([^`:]+)(?::[^`]*)?`")
_RECORD = "application/papermill.record/text/plain"
_FOLDED = re.compile(r"<details.*?(?:</details>|\Z)", re.DOTALL)
_ANSWER = re.compile(r"\*\*The answer[^*]*\*\*[ \n]*(.*?)(?=\n\n(?!- )|\Z)", re.DOTALL)
_ASKED = re.compile(
    r"^(?:- )?\*\*([^*\n]+\?)\*\*[ \n]*(.+?)(?=\n\n|\n- \*\*[^*\n]+\?\*\*|\Z)", re.DOTALL | re.MULTILINE
)
_STILL = re.compile(r'<div class="fairlib-still">(<svg.*?</svg>)</div>', re.DOTALL)


class Session(NamedTuple):
    """A session of the course: its title, the notebooks it reads, its plan, its exercises' labels, and its quiz."""

    number: int
    title: str
    notebooks: list[str]
    plan: list[tuple[str, str]]
    exercises: list[str]
    quiz: list[tuple[str, str]]


class Slide(NamedTuple):
    """Where it is from; and, as HTML, a question or a finding, what it shows, and notes for who speaks."""

    of: str
    heading: str
    body: str = ""
    notes: str = ""


def sessions(course: str) -> list[Session]:
    """The sessions on the course's page.

    Example:
        >>> page = "## Session 1: Why?\\n[4 Bias](../notebooks/04_bias.ipynb)\\n| 0–20 | Toss a coin. |\\n1. So? *Yes.*"
        >>> sessions(page)[0].notebooks, sessions(page)[0].plan, sessions(page)[0].quiz
        (['04_bias'], [('0–20', 'Toss a coin.')], [('So?', 'Yes.')])
    """
    found = []
    for part in re.split(r"^## (?=Session \d)", course, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        text = text.partition("\n## ")[0]
        found.append(
            Session(
                int(title.split()[1].strip(":,")),
                title,
                list(dict.fromkeys(re.findall(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", text))),
                re.findall(r"^\| (\d+–\d+) \| (.+) \|$", text, re.MULTILINE),
                re.findall(r"\{ref\}`[^`<]+<([\w-]+)>`", text),
                re.findall(r"^\d+\. (.+?) \*(.+)\*$", text, re.MULTILINE),
            )
        )
    return found


def write_slides(folder: str | Path, executed: Mapping[Chapter, Path]) -> list[Path]:
    """Write ``session-1.html`` and so on into a folder; each is one file that asks nothing of any other.

    Args:
        executed: each chapter's notebook with its outputs. Sessions of whose chapters none is there are left out.

    Returns:
        The paths, in the sessions' order.
    """
    by_notebook = {chapter.notebook: (chapter, path) for chapter, path in executed.items()}
    written = []
    for session in sessions(COURSE.read_text(encoding="utf-8")):
        read = [by_notebook[name] for name in session.notebooks if name in by_notebook]
        if read:
            path = Path(folder) / f"session-{session.number}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, deck(session, [(chapter, nbformat.read(file, as_version=4)) for chapter, file in read]))
            written.append(path)
    return written


def deck(session: Session, read: list[tuple[Chapter, nbformat.NotebookNode]]) -> str:
    """A session's slides as one page of HTML."""
    slides = [_opening(session)]
    for chapter, notebook in read:
        slides += chapter_slides(chapter, notebook, session)
    asked = {label: (chapter, each) for chapter, _ in read for label, each in exercises(chapter).items()}
    for label in session.exercises:
        if label in asked:
            chapter, exercise = asked[label]
            slides.append(Slide(chapter.title, exercise.depth, _html(exercise.asked), _html(exercise.answer)))
    slides += [Slide("Quiz", escape(_words(question)), "", _html(answer)) for question, answer in session.quiz]
    title = _words(session.title)
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), slides="\n".join(map(_section, slides)))


def chapter_slides(chapter: Chapter, notebook: nbformat.NotebookNode, session: Session) -> Iterator[Slide]:
    """A chapter's question, its answers and its charts, in its own order; what it folds away is left out."""
    glued, folds, heading = _glued(notebook), 0, chapter.title
    number = int(chapter.notebook.partition("_")[0])
    plan = [(when, what) for when, what in session.plan if re.search(rf"[Cc]hapter {number}\b", what)]
    opening = notebook.cells[0].source.partition("\n")[2].partition("**The answer")[0]
    yield Slide(
        "",
        escape(f"{number} {chapter.title}"),
        _html(_GLUE.sub(lambda name: glued.get(name[1], ""), opening)),
        _plan(plan),
    )
    yield from _answers(
        notebook.cells[0].source.removeprefix(f"{heading}\n").partition(opening)[2], glued, chapter.title
    )
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^##+ (.+)$", cell.source, re.MULTILINE)
            heading = _words(headings[-1]) if headings else heading
            if "Exercises" in headings:
                return
            if folds == 0:
                yield from _answers(cell.source, glued, chapter.title)
            folds += cell.source.count("<details") - cell.source.count("</details>")
        shown = folds == 0 and "remove-output" not in cell.metadata.get("tags", [])
        for output in cell.get("outputs", []) if shown else []:
            data = output.get("data", {})
            yield from _answers(str(data.get("text/markdown", "")), glued, chapter.title)
            if chart := _chart(data, " · ".join(dict.fromkeys([chapter.title, heading]))):
                yield chart


def _answers(text: str, glued: Mapping[str, str], of: str) -> Iterator[Slide]:
    """The answers that a chapter's visible text gives: the one in short, and one for each question asked by name."""
    text = _GLUE.sub(lambda name: glued.get(name[1], ""), _FOLDED.sub("", text))
    if (answer := _ANSWER.search(_ASKED.sub("", text))) and answer[1].strip():
        yield Slide(of, "The answer", _html(answer[1]))
    for question, answer in _ASKED.findall(text):
        yield Slide(of, escape(_words(question)), _html(answer))


def _chart(data: Mapping[str, str], of: str) -> Slide | None:
    """A chart as a slide: what it shows above, its still picture, and its notes below."""
    html = data.get("text/html", "")
    title = re.search(r"<strong>(.*?)</strong>", html, re.DOTALL)
    still = _STILL.search(html)
    if 'class="fairlib-chart"' not in html or not title or not still:
        return None
    notes = re.search(r"<small>(.*?)</small>", html, re.DOTALL)
    told = f' role="img" aria-label="{escape(data.get("text/plain", ""))}"'
    picture = re.sub(r' role="[^"]*"| aria-[a-z]+="[^"]*"', "", still[1]).replace("<svg", f"<svg{told}", 1)
    caption = f"<figcaption>{notes[1]}</figcaption>" if notes and notes[1] else ""
    return Slide(of, title[1], f"<figure>{picture}{caption}</figure>")


def _opening(session: Session) -> Slide:
    return Slide("", f"<h1>{escape(_words(session.title))}</h1>", "", _plan(session.plan))


def _section(slide: Slide) -> str:
    of = f'<p class="of">{escape(slide.of)}</p>' if slide.of else ""
    heading = slide.heading if slide.heading.startswith("<h1>") or not slide.heading else f"<h2>{slide.heading}</h2>"
    body = slide.body if slide.body.startswith("<figure") or not slide.body else f'<div class="said">{slide.body}</div>'
    notes = f"<aside>{slide.notes}</aside>" if slide.notes else ""
    return f"<section>{of}{heading}{body}{notes}</section>"


def _plan(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(when)}</th><td>{_html(what)}</td></tr>" for when, what in rows)
    return f"<table>{cells}</table>" if cells else ""


def _glued(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What a chapter glued as text, by name."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(_RECORD) or output.get("data", {}).get("text/plain", "")
            if name:
                found[name] = str(ast.literal_eval(text)) if text[:1] in "'\"" else text
    return found


def _words(text: str) -> str:
    """A line of Markdown as plain words."""
    return re.sub(r"[*`]", "", without_myst(text))


def _html(text: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).render(without_myst(text)).strip()
