"""Published outcomes: none is stale, and a slice of them is computed again from audio where the corpus is at hand."""

import io
import json
import os
import struct

import pandas as pd
import pytest

from fairlib.book.picture import CARD, CARD_SIZE, PICTURE, card, card_png, card_words, picture
from fairlib.corpora import corpus_fingerprint, load_corpus
from fairlib.encoders import encoder_fingerprint, shipped_encoders
from fairlib.outcomes import (
    METHOD,
    anything_published,
    check_outcomes,
    entry_name,
    find_entry,
    provenance,
    published_names,
)
from fairlib.probes import probe_of, probe_speakers

ENTRIES = published_names()
VIEWS = (
    "linear, candidates by age_group",
    "online code",
    "verification, lda by age_group",
    "cross-taught by age_group",
    "geometry",
    "erased age_group",
    "erased sex",
    "erased age",
)  # functions, no plain probe


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_what_todays_code_would_look_for(name):
    entry = find_entry(name)
    key = entry.key
    assert key["encoder_fingerprint"] == encoder_fingerprint(key["encoder"])
    probe = probe_of(key)
    assert (probe is None) == (key["probe"] in VIEWS)
    if probe:
        mine = json.loads(json.dumps(probe.key()))
        assert mine == {name: key[name] for name in mine}  # to the type of each number, as the entry's name has it
        assert entry_name(key | probe.key()) == name
    assert key["method"] == METHOD[key["task"]]
    check_outcomes(entry.outcomes)


def test_one_entry_answers_each_question():
    keys = [find_entry(name, rows=False).key for name in ENTRIES]
    questions = [tuple(key[part] for part in ("task", "probe", "encoder", "corpus", "seed")) for key in keys]
    assert len(questions) == len(set(questions)) > 300


def test_the_default_chapters_find_every_entry_they_need():
    names = {name.rsplit("-", 1)[0] for name in ENTRIES}
    encoders = ("pocket-hubert", "random-pocket-hubert", "logmel")
    assert {f"sid-{encoder}-speechocean762-seed{seed}" for encoder in encoders for seed in range(5)} <= names
    assert {f"asr-{encoder}-speechocean762-seed0" for encoder in encoders} <= names


def identified() -> list[str]:
    """Encoders that ship and whose identification of speechocean762's speakers is published."""
    return [name for name in shipped_encoders() if anything_published(name, "speechocean762", "sid", 0, "linear")]


@pytest.mark.slow
@pytest.mark.skipif("FAIRLIB_DATA" not in os.environ, reason="FAIRLIB_DATA names no corpora")
@pytest.mark.parametrize("name", ["logmel", *identified()])
def test_a_slice_is_computed_again_from_audio(name, tmp_path, monkeypatch):
    published = probe_speakers(name, "speechocean762", seeds=1)
    assert provenance(published)["origin"] == "published"
    corpus = load_corpus("speechocean762")
    if corpus_fingerprint(corpus) != provenance(published)["corpus_fingerprint"]:
        pytest.skip("this copy of speechocean762 is not the one that the published outcomes were computed on")
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    computed = probe_speakers(name, corpus, seeds=1, force=True)
    both = published.merge(computed, on=["layer", "utterance_id"], suffixes=("", "_again"))
    assert len(both) == len(published) == len(computed)
    # Sums in another order (another processor, another number of threads) end at a slightly other place within the
    # probe's tolerance.
    assert (both["predicted"] != both["predicted_again"]).mean() <= 0.005
    assert abs(both["errors"].mean() - both["errors_again"].mean()) <= 0.003


def test_the_picture_of_the_readme_shows_what_is_published():
    shown = pd.read_csv(PICTURE.with_suffix(".csv"))
    today = pd.read_csv(io.StringIO(picture().usermeta["csv"]))
    pd.testing.assert_frame_equal(shown, today, atol=1e-6)
    assert PICTURE.read_bytes().startswith(b"\x89PNG")


def test_the_social_card_shows_what_is_published_in_the_size_that_is_asked_for():
    chart = card()
    shown = pd.read_csv(CARD.with_suffix(".csv"))
    pd.testing.assert_frame_equal(shown, pd.read_csv(io.StringIO(chart.usermeta["csv"])), atol=1e-6)
    assert CARD.with_suffix(".txt").read_text(encoding="utf-8").strip() == card_words(chart)
    for png in (CARD.read_bytes(), card_png(chart)):
        assert png.startswith(b"\x89PNG") and struct.unpack(">II", png[16:24]) == CARD_SIZE
