"""Each probe on a problem whose answer is known, and stacked probes against probes trained one by one."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from fairlib.corpora import CorpusError, load_corpus
from fairlib.probing import (
    ProbeError,
    held_out,
    phone_labels,
    probe_characters,
    probe_phones,
    probe_speakers,
)
from fairlib.probing.ctc import CTCStack, fit_ctc
from fairlib.probing.softmax import fit_softmax
from fairlib.probing.text import count_errors, plain_text

CTC = {
    "passes": 40, "seconds_per_batch": 8.0, "learning_rate": 2e-2, "warm_up": 0.05, "clip": 5.0,
    "width": 16, "kernel": 5, "stride": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))


# ------------------------------------------------------------------------------------------------- linear softmax


@pytest.fixture(scope="module")
def gaussians():
    """Three classes: a layer that separates them, a wider one that half does, and one of noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    centres = rng.standard_normal((3, 8))
    clear = centres[labels] * 6 + rng.standard_normal((600, 8))
    blurred = np.hstack([centres[labels], np.zeros((600, 4))]) + rng.standard_normal((600, 12))
    noise = rng.standard_normal((600, 8))
    return [m.astype(np.float32) for m in (clear, blurred, noise)], labels, np.arange(600) < 400


def test_softmax_reads_what_is_there_and_nothing_else(gaussians):
    matrices, labels, train = gaussians
    predicted = fit_softmax(matrices, labels, train, steps=200, learning_rate=0.05, l2=1e-3)
    errors = [(guess[~train] != labels[~train]).mean() for guess in predicted]
    assert errors[0] == 0
    assert 0.02 < errors[1] < 0.5
    assert 0.5 < errors[2] < 0.8  # chance is 2/3


def test_softmax_agrees_with_scikit_learn(gaussians):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    matrices, labels, train = gaussians
    l2 = 1e-2
    predicted = fit_softmax(matrices[1:2], labels, train, steps=800, learning_rate=0.05, l2=l2)[0]
    x = StandardScaler().fit(matrices[1][train]).transform(matrices[1])
    # scikit-learn weighs the summed loss by C against half the squared weights.
    reference = LogisticRegression(C=1 / (l2 * train.sum()), max_iter=1000).fit(x[train], labels[train])
    assert (predicted == reference.predict(x)).mean() > 0.99


def test_stacked_softmax_probes_equal_probes_trained_alone(gaussians):
    matrices, labels, train = gaussians
    settings = {"steps": 60, "learning_rate": 0.05, "l2": 1e-3, "batch": 64, "seed": 3}
    together = fit_softmax(matrices, labels, train, **settings)
    for matrix, guess in zip(matrices, together, strict=True):
        assert (fit_softmax([matrix], labels, train, **settings)[0] == guess).mean() > 0.995


# ------------------------------------------------------------------------------------------------------------ CTC


@pytest.fixture(scope="module")
def spelled():
    """Utterances whose frames spell their text: every character lasts five frames, a gap three; one layer is noise."""
    rng = np.random.default_rng(1)
    patterns = rng.standard_normal((4, 6))
    texts, clear = [], []
    for _ in range(160):
        text = "".join(rng.choice(list("ABC"), rng.integers(4, 9)))
        codes = [c for character in text for c in ["ABC".index(character) + 1] * 5 + [0] * 3]
        texts.append(text)
        clear.append((patterns[codes] + 0.1 * rng.standard_normal((len(codes), 6))).astype(np.float16))
    noise = [rng.standard_normal((len(frames), 4)).astype(np.float16) for frames in clear]
    return clear, noise, texts


def character_error(texts, hypotheses):
    counts = count_errors(texts, hypotheses, "char")
    return counts["errors"].sum() / counts["length"].sum()


@pytest.mark.parametrize("context", [False, True], ids=["linear", "context"])
def test_ctc_reads_spelled_frames_and_not_noise(spelled, context):
    clear, noise, texts = spelled
    decoded = fit_ctc([clear, noise], texts, training=120, context=context, seed=0, **CTC)
    assert character_error(texts[120:], decoded[0]) < 0.05
    assert character_error(texts[120:], decoded[1]) > 0.4


@pytest.mark.parametrize("context", [False, True], ids=["linear", "context"])
def test_stacked_ctc_heads_learn_what_each_learns_alone(context):
    """Three layers' heads in one stack against three heads of the same initial weights, trained one by one."""
    torch.manual_seed(0)
    shape = {"outputs": 5, "context": context, "width": 8, "kernel": 5, "stride": 2}
    stack = CTCStack([6] * 3, means=torch.zeros(3, 6), scales=torch.ones(3, 6), **shape)
    alone = [CTCStack([6], means=torch.zeros(1, 6), scales=torch.ones(1, 6), **shape) for _ in range(3)]
    with torch.no_grad():
        for layer, head in enumerate(alone):
            for mine, theirs in zip(head.parameters(), stack.parameters(), strict=True):
                mine.copy_(theirs.view(3, -1)[layer].view_as(mine))

    def step(head, optimizer, frames):
        logits = head(frames).log_softmax(dim=-1).flatten(0, 1).transpose(0, 1)
        rows = logits.shape[1]
        loss = torch.nn.functional.ctc_loss(
            logits, targets.repeat(rows // 4, 1), (logits.shape[0],) * rows, (3,) * rows, reduction="sum"
        )
        optimizer.zero_grad()
        loss.backward()
        head.clip_gradients(1.0)
        optimizer.step()

    optimizers = [torch.optim.Adam(head.parameters(), lr=0.01) for head in (stack, *alone)]
    for _ in range(15):
        frames, targets = torch.randn(4, 24, 3, 6), torch.randint(1, 5, (4, 3))
        step(stack, optimizers[0], frames)
        for layer, head in enumerate(alone):
            step(head, optimizers[layer + 1], frames[:, :, layer : layer + 1])
    for layer, head in enumerate(alone):
        for mine, theirs in zip(head.parameters(), stack.parameters(), strict=True):
            torch.testing.assert_close(mine.flatten(), theirs.view(3, -1)[layer], atol=1e-4, rtol=1e-4)


def test_ctc_heads_share_nothing_between_layers():
    """The gradient of one layer's scores touches that layer's weights only."""
    stack = CTCStack([6, 4], 5, torch.zeros(2, 6), torch.ones(2, 6), True, 8, 5, 2)
    stack(torch.randn(2, 20, 2, 6))[0].sum().backward()
    for parameter in stack.parameters():
        first, second = parameter.grad.view(2, -1)
        assert first.abs().sum() > 0
        assert second.abs().sum() == 0


def test_clipping_one_layer_leaves_the_other_alone():
    stack = CTCStack([4, 4], 3, torch.zeros(2, 4), torch.ones(2, 4), False, 8, 5, 2)
    for parameter in stack.parameters():
        parameter.grad = torch.ones_like(parameter)
        parameter.grad.view(2, -1)[0] *= 100
    stack.clip_gradients(5.0)
    norms = sum(p.grad.view(2, -1).square().sum(dim=1) for p in stack.parameters()).sqrt()
    assert norms[0] == pytest.approx(5.0, rel=1e-3)
    assert norms[1] == pytest.approx(np.sqrt(sum(p.numel() / 2 for p in stack.parameters())), rel=1e-3)


# ------------------------------------------------------------------------------------------- text, splits, phones


def test_count_errors_against_counts_by_hand():
    counts = count_errors(["THE CAT SAT", "A DOG"], ["THE BAT", "A A DOG"], "word")
    assert counts.to_numpy().tolist() == [[2, 3, 1, 1, 0], [1, 2, 0, 0, 1]]
    counts = count_errors(["ABCD"], ["AXCDE"], "char")
    assert counts.to_numpy().tolist() == [[2, 4, 1, 0, 1]]


def test_plain_text():
    assert plain_text("It’s  a QUOTE: 'tis—2 fine!") == "IT'S A QUOTE TIS FINE"
    assert plain_text(None) == ""
    assert plain_text(pd.NA) == ""


def test_held_out_takes_each_speakers_share_and_differs_between_seeds():
    speakers = pd.Series(["a"] * 20 + ["b"] * 8 + ["c"] * 20)
    marks = [held_out(speakers, 0.25, seed) for seed in (0, 0, 1)]
    assert [int(marks[0][speakers == s].sum()) for s in "abc"] == [5, 2, 5]
    assert (marks[0] == marks[1]).all()
    assert (marks[0] != marks[2]).any()


def test_phone_labels_follow_frame_centres():
    # Frame i is centred on (320 i + 200) / 16000 s: 12.5, 32.5, 52.5, 72.5 ms.
    assert phone_labels([("AH", 0.0, 0.03), ("T", 0.05, 0.06)], 4).tolist() == ["AH", "", "T", ""]


# ----------------------------------------------------------------------------------------------- from audio to outcomes


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A corpus of speakers who are pure tones of their own pitch, and two who share one."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    rows = []
    for number, pitch in enumerate([300, 600, 1200, 2400, 4000, 4000]):
        for take in range(8):
            t = np.arange(8000 + 800 * take) / 16000
            audio = 0.3 * np.sin(2 * np.pi * pitch * t + rng.uniform(0, 6)) + 0.01 * rng.standard_normal(len(t))
            path = folder / f"s{number}-{take}.wav"
            soundfile.write(path, audio, 16000)
            rows.append((path.stem, str(path), f"s{number}", len(t) / 16000))
    table = pd.DataFrame(rows, columns=["utterance_id", "path", "speaker_id", "duration_s"])
    table["group"] = np.where(table["speaker_id"].isin(["s4", "s5"]), "alike", "apart")
    return table.assign(corpus="tones", text="", split=None)


def test_probe_speakers_knows_tones_apart_and_confuses_twins(tones):
    outcomes = probe_speakers("logmel", tones, seeds=2)
    assert len(outcomes) == 6 * 2 * 2
    assert (outcomes["length"] == 1).all()
    error = outcomes.groupby("group")["errors"].mean()
    assert error["apart"] == 0
    assert error["alike"] > 0.2
    wrong = outcomes[outcomes["errors"] == 1]
    assert set(wrong["predicted"]) <= {"s4", "s5"}
    assert outcomes.attrs["provenance"]["origin"] == "computed"
    again = probe_speakers("logmel", tones, seeds=2)
    assert again.attrs["provenance"]["origin"] == "stored"
    pd.testing.assert_frame_equal(again, outcomes, check_dtype=False)


def test_speakers_with_too_few_utterances_are_named_not_dropped_in_silence(tones, capsys):
    few = tones[~((tones["speaker_id"] == "s0") & (tones.groupby("speaker_id").cumcount() >= 3))]
    outcomes = probe_speakers("logmel", few, seeds=1)
    assert "s0" not in set(outcomes["speaker_id"])
    assert "1 speakers with fewer than 4" in capsys.readouterr().err
    with pytest.raises(ProbeError, match="at least two with 4 utterances"):
        probe_speakers("logmel", tones[tones["speaker_id"] == "s1"], seeds=1)


def test_probe_characters_refuses_what_it_cannot_do(tones):
    with pytest.raises(ProbeError, match="choose linear or context"):
        probe_characters("logmel", tones, probe="big")
    with pytest.raises(CorpusError, match="48 of 48 utterances have no transcript"):
        probe_characters("logmel", tones)
    with pytest.raises(ProbeError, match=r"in tones holds no letter: '\(\?\)'"):
        probe_characters("logmel", tones.assign(text="(?)"))


def test_probe_phones_on_synthetic_speech():
    corpus = load_corpus("synthetic")
    few = corpus[corpus["group"] != "noisy"]
    outcomes = probe_phones("logmel", few)
    error = outcomes["errors"].sum() / outcomes["length"].sum()
    # Some forty phones: guessing the commonest would be wrong in nine frames of ten.
    assert 0.05 < error < 0.75
