"""What a GPU computes is what a processor computes, within the precision of each. Skipped where there is none; where
there is one, tests/training runs on it too."""

import numpy as np
import pytest
import torch

from fairlib.encoders import load_encoder
from fairlib.encoders.extraction import extract
from fairlib.probes.ctc import fit_ctc
from fairlib.probes.hidden import fit_hidden
from fairlib.probes.softmax import fit_softmax
from tests.tiny import noises, tiny_encoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CTC = {
    "context": True, "seed": 0, "passes": 12, "seconds_per_batch": 40.0, "learning_rate": 4e-3, "warm_up": 0.1,
    "clip": 1.0, "width": 64, "kernel": 5, "stride": 2,
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-4), (None, 0.03)])
def test_every_layer_of_every_utterance_is_as_a_processor_extracts_it(tmp_path, dtype, most):
    """`None` is the default, half precision: a batch of many utterances, pinned copies, shards on disk."""
    corpus = noises(tmp_path, 40)
    there = extract(tiny_encoder(tmp_path / "tiny"), corpus, tmp_path / "cpu", frames=True)
    here = extract(
        load_encoder(str(tmp_path / "tiny"), device="cuda", dtype=dtype), corpus, tmp_path / "gpu", frames=True
    )
    for layer in there.layers:
        for utterance in corpus["utterance_id"]:
            one, other = (features.frames(layer, utterance) for features in (there, here))
            assert np.linalg.norm(other.astype(np.float64) - one) < (most + 1e-3) * np.linalg.norm(one)


@pytest.fixture
def classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 4000)
    return rng.normal(size=(12, 24))[labels] + 2 * rng.normal(size=(4000, 24)), labels, rng.random(4000) < 0.7


@pytest.mark.parametrize("end", [{}, {"iterations": 20}])
def test_the_softmax_probe_gives_the_labels_that_a_processor_gives(classes, end):
    matrix, labels, train = classes
    guesses = [
        fit_softmax(matrix, labels, train, l2=1e-3, device=device, **end).argmax(axis=1) for device in ("cpu", "cuda")
    ]
    assert (guesses[0] == guesses[1]).mean() > 0.995


def test_the_hidden_probe_errs_as_often_as_on_a_processor(classes):
    matrix, labels, train = classes
    settings = {"hidden": 32, "steps": 300, "batch": 256, "learning_rate": 0.01, "l2": 1e-4, "seed": 0}
    errors = [
        (fit_hidden(matrix, labels, train, device=device, **settings).argmax(axis=1) != labels)[~train].mean()
        for device in ("cpu", "cuda")
    ]
    assert errors[0] == pytest.approx(errors[1], abs=0.02)


def test_ctc_probes_read_on_a_gpu_what_they_read_on_a_processor():
    """Frames that spell: each letter is six frames of its own direction; the first 120 utterances teach."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, 16))
    words = ["".join(rng.permutation(list("abcd"))) for _ in range(160)]
    texts = [" ".join(rng.permutation(words)[:2]) for _ in range(160)]
    frames = [
        (np.repeat(directions[["abcd ".index(letter) for letter in text]], 6, axis=0)
         + 0.3 * rng.normal(size=(6 * len(text), 16))).astype(np.float32)
        for text in texts
    ]  # fmt: skip
    for device in ("cpu", "cuda"):
        [decoded] = fit_ctc([frames], texts, training=120, device=device, **CTC)
        assert np.mean([one == other for one, other in zip(decoded, texts[120:], strict=True)]) > 0.9, device
