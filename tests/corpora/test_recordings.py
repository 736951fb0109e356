"""How noisy a recording is, against noise that was put in."""

import numpy as np
import pandas as pd
import pytest

from fairlib.corpora import load_corpus
from fairlib.corpora.audio import read_audio
from fairlib.corpora.recordings import recording_noise, signal_to_noise


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    plain = {"disadvantages": {"one": {}, "other": {}}, "speakers_per_group": 2, "utterances_per_speaker": 2}
    return load_corpus("synthetic", root=tmp_path_factory.mktemp("voices"), **plain)


@pytest.mark.parametrize("decibels", [0, 10, 20])
def test_noise_that_was_added_is_found(voices, decibels):
    rng, errors = np.random.default_rng(1), []
    for path in voices["path"]:
        speech = np.pad(read_audio(path), 3200)  # pauses before and after, as any recording has
        noise = rng.standard_normal(len(speech))
        noise *= np.sqrt(np.square(speech).mean() / np.square(noise).mean()) * 10 ** (-decibels / 20)
        errors.append(signal_to_noise(speech + noise) - decibels)
    assert abs(np.median(errors)) < 1.5 and np.abs(errors).max() < 4


def test_loudness_does_not_matter(voices):
    audio = read_audio(voices["path"].iloc[0])
    assert signal_to_noise(audio / 10) == pytest.approx(signal_to_noise(audio), abs=0.1)


@pytest.mark.parametrize("audio", [np.zeros(16000), np.zeros(0), np.ones(10)])
def test_what_holds_no_speech_has_a_value(audio):
    assert -20 <= signal_to_noise(audio) <= 80


def test_a_corpus_is_measured_once(voices, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path))
    first = recording_noise(voices)
    assert first.index.tolist() == voices["utterance_id"].tolist()
    monkeypatch.setattr("fairlib.corpora.recordings.read_audio", lambda path: pytest.fail("measured again"))
    pd.testing.assert_series_equal(first, recording_noise(voices))
