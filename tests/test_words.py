"""Words that readers do not meet: neither in what the library writes into pages and terminals nor on the book's pages.

The list stands in CONTRIBUTING.md, section "Words".
"""

import ast
import re
from pathlib import Path

import pytest

from fairlib.book.chapters import ROOT

NOT_USED = {
    "tell speakers": r"\btell(?:s|ing)? (?:the |its |these |whose )*speakers\b",
    "told": r"\btold\b(?! apart)",
    "told apart": r"\b(?:told|tells?|telling) \w*\s?apart\b",
    "the ruler": r"\brulers?\b",
    "dealt to": r"\bdealt\b",
    "mind groups": r"\bminds? (?:the )?groups?\b",
    "brings along": r"\bbr(?:ings?|ought) (?:it|them|the gap) along\b",
    "the encoder's doing": r"\bencoder['’]s (?:own )?doing\b",
    "misheard": r"\bmisheard\b",
    "taken for somebody else": r"\btaken for (?:somebody|another|others|two people)\b",
    "Beware": r"\bbeware\b",
    "Compared are": r"(?-i:\bCompared are\b)",
    "Looked at is": r"\blooked at (?:is|are)\b",
    "four out of five studies": r"\bfour (?:out of|studies of|of) five\b",
    "taught on": r"\btaught on\b",
    "Undecided": r"\bundecided\b",
    "per cent": r"\bper cent\b",
}
# Rooms whose strings become sentences, titles and tables.
WRITERS = [
    *(path for room in ("findings", "display", "book") for path in sorted((ROOT / "fairlib" / room).glob("*.py"))),
    ROOT / "fairlib" / "base" / "tasks.py",
    ROOT / "fairlib" / "base" / "writing.py",
    ROOT / "fairlib" / "bias" / "contrasts.py",
]
WRITTEN_ELSEWHERE = {"methods.py"}
PAGES = [
    *sorted((ROOT / "book").glob("*.md")),
    ROOT / "README.md",
    ROOT / "fairlib" / "assets" / "rules.toml",
    ROOT / "fairlib" / "assets" / "sentences.toml",
]
# What stands in files under these names, or is the name of a kind of number; no reader meets it as a word.
NAMES = {"per cent", "taught on ", "heard such speakers"}


def unused_words(text: str) -> list[str]:
    """The words of the list that stand in a text."""
    return [word for word, pattern in NOT_USED.items() if re.search(pattern, text, re.IGNORECASE)]


def strings(source: str) -> list[str]:
    """Strings of a module that are no docstrings, what stands between an f-string's numbers taken together."""
    tree = ast.parse(source)
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, bodies) and node.body and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "0" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inside:
            found.append(node.value)
    return [text for text in found if text not in NAMES]


@pytest.mark.parametrize(
    "text",
    [
        "Beware: hardly a gap can show", "adults are misheard", "a difference of 1 in four out of five studies",
        "children are taken for somebody else", "Compared are children", "not told apart from log-mel's",
        "the encoder’s own doing", "Looked at is the layer", "which layer tells speakers best", "taught on adults",
    ],
)  # fmt: skip
def test_the_rule_finds_what_is_not_used(text):
    assert unused_words(text)
    assert unused_words(" ".join(strings(f'def f(x):\n    """Told."""\n    return f"{{x}} {text}"')))


def test_the_rule_leaves_the_rest_alone():
    assert not unused_words(
        "Many people were identified; the encoder's gap is shown in 80 % of studies, apart from one."
    )
    assert not strings('"""Beware."""\n')


@pytest.mark.parametrize("source", WRITERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_library_writes_in_the_field_s_words(source: Path):
    if source.name not in WRITTEN_ELSEWHERE:
        assert not {
            text: words for text in strings(source.read_text(encoding="utf-8")) if (words := unused_words(text))
        }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages_are_written_in_the_field_s_words(page: Path):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not {line: words for line in lines if (words := unused_words(line))}
