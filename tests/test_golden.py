"""Nothing moves by itself: the published outcomes' keys, and what each chapter finds, are as they were last accepted.

Verdicts and numbers, not prose. After a change that is meant to move them, look at what moved, say it in the CHANGELOG,
and accept it:  make book && .venv/bin/python tests/test_golden.py
"""

import json
import math
from pathlib import Path

import pytest

from fairlib.book.chapters import ROOT, chapters
from fairlib.book.runs import facts_in
from fairlib.outcomes import published_names

GOLDEN = Path(__file__).with_name("golden")
BUILT = ROOT / "_build" / "source" / "notebooks"


def rounded(value):
    """Numbers to six digits: what another processor's arithmetic cannot change."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in sorted(value.items())}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def found(notebook: Path) -> list[dict]:
    """Verdict and evidence of each of an executed chapter's findings."""
    findings = facts_in(notebook).get("findings", [])
    return [{"verdict": one["verdict"], "evidence": rounded(one["evidence"])} for one in findings]


def same(one, other) -> bool:
    """Whether two pieces of evidence agree, numbers to one in ten thousand."""
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_published_outcomes_keep_their_keys():
    accepted = (GOLDEN / "published.txt").read_text().split("\n")
    assert published_names() == [line for line in accepted if line]


@pytest.mark.parametrize("chapter", [chapter.notebook for chapter in chapters().values()])
def test_chapters_find_what_they_found(chapter):
    notebook = BUILT / f"{chapter}.ipynb"
    if not notebook.exists():
        pytest.skip(f"the book is not built ({notebook} is not there): run make book")
    every = json.loads((GOLDEN / "findings.json").read_text())
    if chapter not in every:
        pytest.skip(f"{chapter} was added to this clone, and what it finds was not accepted yet")
    accepted = every[chapter]
    now = found(notebook)
    assert [one["verdict"] for one in now] == [one["verdict"] for one in accepted]
    for before, after in zip(accepted, now, strict=True):
        assert same(before["evidence"], after["evidence"])


def accept() -> None:
    GOLDEN.mkdir(exist_ok=True)
    chapters = {notebook.stem: found(notebook) for notebook in sorted(BUILT.glob("*.ipynb"))}
    (GOLDEN / "findings.json").write_text(json.dumps(chapters, indent=0, ensure_ascii=False) + "\n")
    (GOLDEN / "published.txt").write_text("\n".join(published_names()) + "\n")


if __name__ == "__main__":
    accept()
