"""Published outcomes answer for the corpus that they are of, and never for somebody else's under its name."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fairlib.book.provenance import provenance_box
from fairlib.corpora import corpus_fingerprint, identity, load_corpus
from fairlib.corpora.identity import ABSENT, OTHER, RECODED, SAME, published_for
from fairlib.corpora.recordings import recording_noise
from fairlib.outcomes import (
    anything_published,
    find_entry,
    provenance,
    published_names,
    published_outcomes,
    read_published,
    used_speech,
)
from fairlib.probes import probe_phones, probe_speakers

SPEAKERS = {"19": "F", "26": "M"}


@pytest.fixture
def librispeech(tmp_path, monkeypatch) -> Path:
    """Two people of one's own, in LibriSpeech's layout, where FAIRLIB_DATA says that LibriSpeech is."""
    rng, folder = np.random.default_rng(0), tmp_path / "data" / "LibriSpeech"
    lines = [f"{name} | {sex} | train-clean-5 | 1.0 | Somebody" for name, sex in SPEAKERS.items()]
    for name in SPEAKERS:
        chapter = folder / "train-clean-5" / name / "1"
        chapter.mkdir(parents=True)
        texts = []
        for number in range(5):
            utterance = f"{name}-1-{number:04d}"
            soundfile.write(chapter / f"{utterance}.flac", 0.1 * rng.standard_normal(8000), 16000)
            texts.append(f"{utterance} HELLO NUMBER {number}\n")
        (chapter / f"{name}-1.trans.txt").write_text("".join(texts))
    (folder / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    _ask_again()
    return folder


def _ask_again() -> None:
    identity._published_for.cache_clear()


def test_people_of_ones_own_never_get_what_is_published_of_others(librispeech):
    # There would be something to be given.
    assert any(name.startswith("sid-logmel-librispeech-") for name in published_names())
    assert published_for("librispeech") == OTHER
    assert published_outcomes("logmel", "librispeech").empty
    assert not anything_published("logmel", "librispeech", "sid", 0)
    assert set(recording_noise("librispeech").index) == set(load_corpus("librispeech")["utterance_id"])
    outcomes = probe_speakers("logmel", "librispeech", seeds=1)
    assert provenance(outcomes)["origin"] == "computed" and set(outcomes["speaker_id"]) == set(SPEAKERS)


def test_outcomes_that_were_also_trained_on_such_speech_do_not_answer_either(librispeech, monkeypatch):
    name = next(name for name in published_names() if name.startswith("asr-logmel-speechocean762-"))
    key = find_entry(name, rows=False).key
    assert key["extra"] == ["librispeech"]
    marks = ("corpus_fingerprint", "extra_fingerprints")
    asked = {name: value for name, value in key.items() if name not in marks}
    assert read_published(asked) is None
    monkeypatch.delenv("FAIRLIB_DATA")
    assert read_published(asked) is not None


def test_the_same_table_answers_whatever_its_audio_is_encoded_in(librispeech, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "PUBLISHED", tmp_path / "corpora.json")
    identity.publish_corpora(["librispeech", "planted"])
    assert list(identity.known_corpora()) == ["librispeech"]  # synthetic speech needs no word
    assert published_for("librispeech") == SAME

    for path in librispeech.rglob("*.flac"):
        soundfile.write(path.with_suffix(".wav"), soundfile.read(path)[0], 16000)
        path.unlink()
    _ask_again()
    assert published_for("librispeech") == RECODED

    transcript = next(librispeech.rglob("*.trans.txt"))
    transcript.write_text(transcript.read_text().replace("HELLO", "GOODBYE", 1))
    _ask_again()
    assert published_for("librispeech") == OTHER


def test_where_no_speech_is_what_is_published_answers_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))
    _ask_again()
    assert published_for("librispeech") == ABSENT
    origin = provenance(probe_phones("logmel", "librispeech"))["origin"]
    assert origin == "published (the corpus is not here)"
    mark = identity.known_corpora()["librispeech"]["files"]
    assert any(speech["corpus_fingerprint"] == mark and speech["entries"] > 0 for speech in used_speech())
    parameters = {"corpus": "librispeech", "group": "sex"}
    box = provenance_box(published_outcomes("logmel", "librispeech", "phone"), parameters, "speaker-identification")
    assert "speech of librispeech" in box.data and mark[:12] in box.data


def test_a_corpus_that_cannot_be_read_gets_nothing(librispeech):
    (librispeech / "SPEAKERS.TXT").unlink()
    assert published_for("librispeech") == OTHER


def test_a_corpus_is_read_once_and_again_when_a_file_has_changed(librispeech, monkeypatch):
    reads = []

    def counted(table):
        reads.append(len(table))
        return corpus_fingerprint(table)

    monkeypatch.setattr(identity, "corpus_fingerprint", counted)
    for _ in range(2):
        _ask_again()
        published_for("librispeech")
    assert reads == [10]
    # Other samples in as many bytes under the same time, as a restored copy has them.
    path = next(librispeech.rglob("*.flac"))
    before, samples = path.stat(), bytearray(path.read_bytes())
    samples[-1] ^= 1
    path.write_bytes(bytes(samples))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    _ask_again()
    published_for("librispeech")
    assert reads == [10, 10]


@pytest.mark.parametrize("corpus", sorted(identity.known_corpora()))
def test_every_published_entry_is_of_the_copy_that_is_noted(corpus):
    marks = {
        mark
        for entry in published_names()
        if f"-{corpus}-seed" in entry
        for key in [find_entry(entry, rows=False).key]
        for name, mark in zip([key["corpus"], *key["extra"]], [key["corpus_fingerprint"], *key["extra_fingerprints"]])
        if name == corpus
    }
    assert marks == {identity.known_corpora()[corpus]["files"]}


@pytest.mark.skipif("FAIRLIB_DATA" not in os.environ, reason="FAIRLIB_DATA names no corpora")
def test_the_loaders_still_give_the_tables_that_are_published_of():
    _ask_again()
    assert {published_for(name) for name in identity.known_corpora()} <= {SAME, RECODED, ABSENT}
