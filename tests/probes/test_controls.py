"""Controls of probes: what they say of noise, of random labels, and of what is really there."""

import numpy as np
import pandas as pd
import pytest

from fairlib.probes import ProbeError, control_labels, description_length, selectivity
from fairlib.probes.alignment import guess_sounds
from fairlib.probes.codes import online_code
from fairlib.probes.softmax import fit_softmax


def _classes(signal: float, rows: int = 1200, classes: int = 8):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    matrix = signal * rng.standard_normal((classes, 16))[labels] + rng.standard_normal((rows, 16))
    return matrix.astype(np.float32), labels


CODE = {"seed": 0, "l2": 1e-3, "iterations": 20}


def test_random_labels_cost_the_logarithm_of_their_number():
    matrix, labels = _classes(0.0)
    bits = online_code(matrix, labels, groups=np.arange(len(labels)), **CODE)
    assert bits.mean() == pytest.approx(3.0, abs=0.03)


def test_the_code_shortens_with_what_the_features_tell():
    lengths = []
    for signal in (0.0, 0.5, 1.0, 4.0):
        matrix, labels = _classes(signal)
        lengths.append(online_code(matrix, labels, groups=np.arange(len(labels)), **CODE).mean())
    assert all(more > less + 0.05 for more, less in zip(lengths, lengths[1:]))
    # All but the first block, a thirty-second of the labels at three bits, costs next to nothing.
    assert 3 / 32 < lengths[-1] < 3 / 32 + 0.2


def test_the_code_learns_only_from_what_came_before():
    """The last half's cost is that of a probe on the first half, tempered by a factor up to one."""
    matrix, labels = _classes(1.0)
    groups = np.arange(len(labels))
    bits = online_code(matrix, labels, groups=groups, **CODE)
    rank = np.random.default_rng(0).permutation(len(labels))[groups]
    known = rank < len(labels) / 2
    scores = fit_softmax(matrix, labels, known, iterations=20, l2=1e-3)

    def cost(factor):
        tempered = factor * scores[~known].astype(float)
        log = tempered - np.log(np.exp(tempered).sum(axis=1, keepdims=True))
        return -log[np.arange(len(log)), labels[~known]] / np.log(2)

    assert any(np.allclose(cost(factor), bits[~known], atol=1e-3) for factor in np.linspace(0, 1, 21))


def test_frames_of_one_utterance_are_not_torn_apart():
    """Features that name the utterance and nothing else, with one label an utterance: nothing to be learned."""
    owner = np.repeat(np.arange(120), 8)
    labels = np.random.default_rng(1).integers(0, 4, 120)[owner]
    matrix = np.random.default_rng(2).standard_normal((120, 40))[owner].astype(np.float32)
    torn = online_code(matrix, labels, groups=np.arange(len(owner)), **CODE).mean()
    whole = online_code(matrix, labels, groups=owner, **CODE).mean()
    assert torn < 1.5 and whole == pytest.approx(2.0, abs=0.1)


def test_a_class_met_late_costs_bits_and_no_error():
    matrix, labels = _classes(4.0, rows=200, classes=3)
    labels[np.argsort(np.random.default_rng(0).permutation(200))[-1]] = 3  # the last class comes last, once
    bits = online_code(matrix, labels, groups=np.arange(200), **CODE)
    assert np.isfinite(bits).all() and bits.max() > 2


def test_control_labels_belong_to_types_and_keep_frequencies():
    types = np.repeat(np.arange(2000), 3)
    labels = np.where(np.arange(6000) % 10 < 7, 0, 1)
    control = control_labels(types, labels, seed=0)
    assert (control.reshape(-1, 3) == control.reshape(-1, 3)[:, :1]).all()
    assert control.mean() == pytest.approx(0.3, abs=0.04)
    assert (control_labels(types, labels, seed=1) != control).any()


def _outcomes(errors) -> pd.DataFrame:
    return pd.DataFrame({"encoder": "e", "task": "phone", "unit": "phone", "layer": "1", "errors": errors, "length": 1})


def test_selectivity_is_near_zero_on_noise_and_large_on_what_is_there():
    table = {}
    for signal in (0.0, 3.0):
        matrix, labels = _classes(signal)
        types = np.random.default_rng(3).integers(0, 300, len(labels))  # types that the features know nothing of
        train = np.arange(len(labels)) < 800
        errors = []
        for taught in (labels, control_labels(types, labels, seed=0)):
            scores = fit_softmax(matrix, taught, train, iterations=20, l2=1e-3)
            errors.append((scores.argmax(axis=1) != taught)[~train].astype(int))
        table[signal] = selectivity(_outcomes(errors[0]), _outcomes(errors[1]))["selectivity"].item()
    assert abs(table[0.0]) < 0.08
    assert table[3.0] > 0.7
    with pytest.raises(ProbeError, match="share no encoder"):
        selectivity(_outcomes([1]), _outcomes([1]).assign(layer="2"))


def test_description_length_names_its_tasks():
    with pytest.raises(ProbeError, match="choose sid or phone"):
        description_length("logmel", pd.DataFrame({"corpus": ["c"]}), task="asr")


@pytest.mark.parametrize(
    ("word", "sounds"),
    [("henny", "HH EH N IY"), ("sheck", "SH EH K"), ("dora's", "D AO R AE S"), ("brome", "B R AA M")],
)
def test_guessed_sounds(word, sounds):
    assert guess_sounds(word) == sounds
