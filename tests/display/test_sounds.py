"""Clips on a page: what is heard is what was given, it travels with the page, and synthetic speech is called so."""

import base64
import io
import re

import numpy as np
import soundfile

from fairlib.corpora.audio import read_audio
from fairlib.corpora.synthetic import PLANTED, examples
from fairlib.display.sounds import players


def heard(page: str) -> dict[str, np.ndarray]:
    clips = re.findall(r'aria-label="([^"]+)" src="data:audio/mpeg;base64,([^"]+)"', page)
    return {name: soundfile.read(io.BytesIO(base64.b64decode(data)))[0] for name, data in clips}


def test_a_clip_sounds_as_the_audio_that_was_given():
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    page = players({"a <tone>": tone}, "A tone").data
    (name, clip), *_ = heard(page).items()
    assert name == "a &lt;tone&gt;" and "http" not in page
    spectrum = np.abs(np.fft.rfft(clip[:16000]))
    assert abs(spectrum.argmax() - 440) <= 1 and abs(len(clip) - len(tone)) < 4000  # the codec pads


def test_the_examples_are_one_sentence_of_a_voice_in_each_group(tmp_path):
    paths = examples(tmp_path)
    assert list(paths) == list(PLANTED)
    audio = {group: read_audio(path) for group, path in paths.items()}
    assert len(audio["hurried"]) < 0.7 * len(audio["clear"])
    high = {group: np.abs(np.fft.rfft(sound, 32000))[5000:].sum() for group, sound in audio.items()}  # above 2,500 Hz
    assert high["telephone"] < 0.3 * high["clear"] < high["very_noisy"]
