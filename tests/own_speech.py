"""What tests of corpora of one's own share: a cache and a store of their own, and what is said of a wrong corpus."""

from pathlib import Path

import pytest

from fairlib.corpora import CorpusError, load_corpus


@pytest.fixture(autouse=True)
def in_folders_of_their_own(tmp_path: Path, monkeypatch) -> None:
    for name in ("FAIRLIB_CACHE", "FAIRLIB_STORE"):
        monkeypatch.setenv(name, str(tmp_path / name))


def complaint(path: Path) -> str:
    """The one sentence that loading a corpus gets."""
    with pytest.raises(CorpusError) as caught:
        load_corpus(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)
