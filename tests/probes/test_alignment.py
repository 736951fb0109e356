"""Published alignments stand for those that would be made, of the same texts only."""

import pandas as pd
import pytest

from fairlib.corpora import load_corpus
from fairlib.probes import alignment


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    plain = {"disadvantages": {"one": {}, "other": {}}, "speakers_per_group": 2, "utterances_per_speaker": 1}
    return load_corpus("synthetic", root=tmp_path_factory.mktemp("voices"), **plain)


@pytest.fixture
def made(voices, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(alignment, "PUBLISHED", tmp_path / "published")
    made = alignment.align(voices)
    assert made, "pocketsphinx aligned nothing"
    alignment.publish(voices)
    monkeypatch.setattr(alignment, "_align_one", lambda job: [("made", 0.0, float("nan"))])
    monkeypatch.setattr(alignment, "ProcessPoolExecutor", _Here)
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "another"))
    return made


class _Here:
    def __init__(self, max_workers):
        self.map = lambda work, jobs, chunksize: map(work, jobs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_what_is_published_is_what_was_made(voices, made):
    read = alignment.align(voices)
    assert list(read) == [name for name in voices["utterance_id"] if name in made]
    for name, segments in made.items():
        assert [phone for phone, _, _ in read[name]] == [phone for phone, _, _ in segments]
        assert [t for s in read[name] for t in s[1:]] == pytest.approx([t for s in segments for t in s[1:]])


def test_a_part_of_the_corpus_is_read_too(voices, made):
    part = voices.iloc[[1]]
    assert set(alignment.align(part)) <= set(part["utterance_id"])


@pytest.mark.parametrize("changed", ["text", "utterance_id"])
def test_another_text_or_utterance_is_aligned_anew(voices, made, changed):
    other = voices.assign(**{changed: ["something else", *voices[changed].iloc[1:]]})
    assert next(iter(alignment.align(other).values()))[0][0] == "made"


def test_an_utterance_without_alignment_stays_absent(voices, made, tmp_path):
    path = tmp_path / "published" / "synthetic.parquet"
    table = pd.read_parquet(path)
    for column in ("phone", "start", "end"):
        table[column] = [[], *table[column].iloc[1:]]
    table.to_parquet(path)
    assert voices["utterance_id"].iloc[0] not in alignment.align(voices)


def test_an_utterance_that_fails_is_absent_at_once_and_when_read_again(voices, made, monkeypatch):
    monkeypatch.setattr(alignment, "_align_one", lambda job: None)
    other = voices.assign(text="something else")
    assert alignment.align(other) == alignment.align(other) == {}
