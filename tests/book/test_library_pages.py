"""The library's pages: whatever is public stands on one of them, with an example, and chapters' code leads there."""

import re

import pytest
from test_book_pages import BOOK, built

import fairlib
from fairlib.book import chapters

FOLDER = chapters.ROOT / "book"
ENTRY = re.compile(r"^\.\. auto(?:function|class|exception):: (fairlib\.[\w.]+)", re.M)
OVERVIEW = re.findall(r"^   (fairlib\.[\w.]+)$", (FOLDER / "library.md").read_text(encoding="utf-8"), re.M)
ENTRIES = [name for page in (FOLDER / "library").glob("*.md") for name in ENTRY.findall(page.read_text("utf-8"))]
NOT_LISTED = ("Error", "Warning")  # what can go wrong stands on its room's page only


def test_every_public_name_has_one_entry_and_is_in_the_overview():
    public = {f"fairlib.{name}" for name in fairlib.__all__ if name != "charts"}
    assert public <= set(ENTRIES)
    assert sorted(OVERVIEW) == sorted(name for name in ENTRIES if not name.endswith(NOT_LISTED))
    assert len(set(ENTRIES)) == len(ENTRIES)


@pytest.mark.parametrize("name", [f"fairlib.{name}" for name in fairlib.__all__ if name != "charts"])
def test_every_public_function_has_an_example(name):
    there = getattr(fairlib, name.removeprefix("fairlib."))
    assert ">>>" in there.__doc__ or ">>>" in there.of_arrays.__doc__  # of features, where one makes them oneself


@built
def test_code_of_a_chapter_leads_to_the_functions_that_it_calls():
    html = (BOOK / "notebooks" / "05_speaker_identification.html").read_text(encoding="utf-8")
    calls = re.findall(r'<a class="call" href="\.\./book/library/(\w+)\.html#(fairlib\.[\w.]+)">', html)
    assert {("probes", "fairlib.probe_speakers"), ("bias", "fairlib.group_bias")} <= set(calls)
    assert len(set(calls)) == len(calls)
