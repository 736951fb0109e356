"""The language model and the beam search by which `bench.character_heads` decodes."""

import itertools
import math

import numpy as np
import pytest

from bench import character_heads as heads
from fairlib.probes.text import greedy_text


def test_a_wide_beam_finds_the_text_whose_paths_weigh_most(monkeypatch):
    monkeypatch.setattr(heads, "LM_WEIGHT", 0.0)
    monkeypatch.setattr(heads, "LETTER_BONUS", 0.0)
    monkeypatch.setattr(heads, "LEAST_LOG_P", -50.0)
    rng = np.random.default_rng(0)
    other = 0
    for _ in range(40):
        p = rng.dirichlet(np.ones(3), 5)
        weights: dict[str, float] = {}
        for path in itertools.product(range(3), repeat=5):
            text = greedy_text(np.array(path), "AB")
            weights[text] = weights.get(text, 0) + float(np.prod([p[t, code] for t, code in enumerate(path)]))
        best = max(weights, key=weights.get)
        assert heads.beam_text(np.log(p), "AB", heads.count_letters(["AB"]), {}) == best
        other += best != greedy_text(p.argmax(axis=1), "AB")
    assert other > 3  # the single best path is often not of the best text


def test_the_language_model_is_a_distribution_that_prefers_what_it_has_seen():
    counts, alphabet = heads.count_letters(["THE CAT", "THE HAT"]), " ACEHT"
    each = [math.exp(heads.letter_log_p(counts, "     TH", letter, alphabet, {})) for letter in alphabet]
    assert sum(each) == pytest.approx(1) and alphabet[int(np.argmax(each))] == "E"


def test_it_decides_between_letters_that_sound_alike():
    frames = np.log(np.array([[0.02, 0.96, 0.01, 0.01], [0.1, 0.02, 0.46, 0.42]]))
    counts = heads.count_letters(["AC"] * 20)
    assert heads.beam_text(frames, "ABC", counts, {}) == "AC" != greedy_text(frames.argmax(axis=1), "ABC")
