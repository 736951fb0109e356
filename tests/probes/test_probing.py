"""Each probe on a problem whose answer is known, and stacked probes against probes trained one by one."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.special import log_softmax

from fairlib import outcomes as outcomes_module
from fairlib.corpora import CorpusError, load_corpus
from fairlib.outcomes import provenance
from fairlib.probes import (
    ProbeError,
    held_out,
    phone_labels,
    probe_characters,
    probe_phones,
    probe_speakers,
)
from fairlib.probes import characters as characters_module
from fairlib.probes import softmax as softmax_module
from fairlib.probes.ctc import CTCStack, _batches, ctc_loss, fit_ctc
from fairlib.probes.hidden import fit_hidden
from fairlib.probes.softmax import fit_softmax
from fairlib.probes.text import count_errors, plain_text

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
    scores = [fit_softmax(matrix, labels, train, iterations=20, l2=1e-3) for matrix in matrices]
    errors = [(one.argmax(axis=1)[~train] != labels[~train]).mean() for one in scores]
    assert errors[0] == 0
    assert 0.02 < errors[1] < 0.5
    assert 0.5 < errors[2] < 0.8  # chance is 2/3


def _loss(scores, labels, train, weights, l2) -> float:
    """Mean cross-entropy of the training rows and penalty, in double precision."""
    logs = log_softmax(scores[train].astype(float), axis=1)
    return float(-logs[np.arange(train.sum()), labels[train]].mean() + l2 / 2 * np.square(weights).sum())


def _speakers(speakers=30, width=40):
    """Few utterances of many speakers, as a corpus has them: training rows are told without an error."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(speakers), 12)
    matrix = rng.standard_normal((speakers, width))[labels] + 1.5 * rng.standard_normal((len(labels), width))
    return (matrix @ rng.standard_normal((width, width))).astype(np.float32), labels, np.arange(len(labels)) % 4 > 0


@pytest.mark.parametrize(("l2", "width"), [(3e-4, None), (1e-2, None), (3e-4, 400)], ids=str)
def test_softmax_ends_at_the_optimum_that_scikit_learn_finds(l2, width):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    matrix, labels, train = _speakers() if width is None else _speakers(width=width)  # or more features than rows
    x = StandardScaler().fit(matrix[train].astype(float)).transform(matrix.astype(float))
    # scikit-learn weighs the summed loss by C against half the squared weights.
    model = LogisticRegression(C=1 / (l2 * train.sum()), max_iter=5000, tol=1e-8).fit(x[train], labels[train])
    theirs = _loss(model.decision_function(x), labels, train, model.coef_, l2)

    def found(**how):
        scores = fit_softmax(matrix, labels, train, l2=l2, **how)
        weights = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))])[train], scores[train], rcond=1e-5)[0]
        return scores, _loss(scores, labels, train, weights[:-1], l2)

    scores, ours = found()
    assert -1e-6 < ours - theirs < 1e-5  # what the tolerance promises
    assert (scores.argmax(axis=1) == model.predict(x)).mean() >= 0.997
    assert found(iterations=5)[1] > theirs + 1e-3  # which an early stop does not reach


def test_softmax_says_when_its_tolerance_is_beyond_single_precision():
    matrix, labels, train = _speakers()
    with pytest.warns(UserWarning, match="above the minimum of its loss"):
        fit_softmax(matrix, labels, train, l2=3e-4, tolerance=0.0)
    with pytest.raises(ValueError, match="no minimum"):
        fit_softmax(matrix, labels, train, l2=0.0)


@pytest.mark.filterwarnings("error")
def test_softmax_ends_where_features_are_constant_repeated_or_huge_and_classes_tiny():
    matrix, labels, train = _speakers(speakers=4, width=6)
    odd = np.column_stack([matrix, matrix, np.zeros(len(matrix)), 1e6 + matrix[:, :1]]).astype(np.float32)
    scores = fit_softmax(odd, labels, train, l2=1e-3)
    assert np.isfinite(scores).all()
    few = np.isin(np.arange(len(labels)), [0, 12, 24, 36])  # one row a class
    assert (fit_softmax(odd, labels, few, l2=1e-3).argmax(axis=1)[few] == labels[few]).all()


def test_softmax_in_half_precision_ends_where_single_precision_does(monkeypatch):
    if softmax_module.half_precision_of_gradients("cpu") is None:
        pytest.skip("this processor computes in single precision only")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 30)
    matrix = (rng.standard_normal((20, 32))[labels] + 2 * rng.standard_normal((600, 32))).astype(np.float32)
    single = fit_softmax(matrix, labels, np.ones(600, bool), iterations=20, l2=1e-3)
    monkeypatch.setattr(softmax_module, "_LARGE", 0)
    half = fit_softmax(matrix, labels, np.ones(600, bool), iterations=20, l2=1e-3)
    assert not np.array_equal(single, half)
    assert (single.argmax(axis=1) == half.argmax(axis=1)).mean() > 0.98


def test_a_hidden_layer_reads_what_no_line_can():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((800, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    train = np.arange(800) < 500
    linear = fit_softmax(x, labels, train, iterations=20, l2=1e-3)
    larger = fit_hidden(x, labels, train, hidden=16, steps=400, batch=128, learning_rate=0.01, l2=1e-4, seed=0)
    assert (linear.argmax(axis=1) != labels)[~train].mean() > 0.35
    assert (larger.argmax(axis=1) != labels)[~train].mean() < 0.08


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
    errors = []
    # From most beginnings a linear head settles on a reading that lacks a letter, whatever computes the loss.
    for seed in (0,) if context else (7, 8):
        decoded = fit_ctc([clear, noise], texts, training=120, context=context, seed=seed, **CTC)
        errors.append([character_error(texts[120:], layer) for layer in decoded])
    assert min(clear_error for clear_error, _ in errors) < 0.05
    assert min(noise_error for _, noise_error in errors) > 0.4


@pytest.mark.parametrize("spread", [1.0, 6.0], ids=["unsure", "sure and wrong"])
def test_ctc_loss_and_gradient_are_torchs(spread):
    """Sure and wrong scores leave single precision, so both ways of computing are met."""
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(2, 5, 60, 7, generator=generator)
    lengths, target_lengths = torch.tensor([60, 52, 31, 9, 4]), torch.tensor([20, 3, 1, 9, 5])
    targets = torch.randint(1, 7, (5, 20), generator=generator)
    targets[0, 3:8] = 2  # equal neighbours need a blank between them
    targets[3, :9] = torch.tensor([1, 2, 3, 1, 2, 3, 1, 2, 3])  # as many frames as characters: one path
    targets[4, :5] = torch.tensor([1, 2, 3, 4, 5])  # does not fit
    exact = logits.double().requires_grad_()
    expected = torch.nn.functional.ctc_loss(
        exact.log_softmax(dim=-1).flatten(0, 1).transpose(0, 1), targets.repeat(2, 1), lengths.repeat(2),
        target_lengths.repeat(2), reduction="none", zero_infinity=True,
    )  # fmt: skip
    expected.sum().backward()
    loss, gradient = ctc_loss(logits, targets, lengths, target_lengths)
    assert (loss[:, 4] == 0).all()
    torch.testing.assert_close(loss.flatten(), expected.float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, exact.grad.float(), rtol=1e-4, atol=2e-5)


def _step(stack, optimizer, frames, targets):
    lengths = torch.full((len(targets),), frames.shape[2])
    logits = stack(frames, lengths)
    _, gradient = ctc_loss(logits.detach(), targets, lengths, torch.full((len(targets),), targets.shape[1]))
    optimizer.zero_grad()
    logits.backward(gradient)
    stack.clip_gradients(1.0)
    optimizer.step()


@pytest.mark.parametrize("context", [False, True], ids=["linear", "context"])
def test_stacked_ctc_heads_learn_what_each_learns_alone(context):
    shape = {"outputs": 5, "context": context, "width": 8, "kernel": 5, "seed": 3}
    stack, alone = CTCStack([6] * 3, **shape), [CTCStack([6], **shape) for _ in range(3)]
    optimizers = [torch.optim.Adam(head.parameters(), lr=0.01) for head in (stack, *alone)]
    torch.manual_seed(0)
    for _ in range(15):
        frames, targets = torch.randn(3, 4, 24, 6), torch.randint(1, 5, (4, 3))
        _step(stack, optimizers[0], frames, targets)
        for layer, head in enumerate(alone):
            _step(head, optimizers[layer + 1], frames[layer : layer + 1], targets)
    for layer, head in enumerate(alone):
        for mine, theirs in zip(head.parameters(), stack.parameters(), strict=True):
            torch.testing.assert_close(mine[0], theirs[layer], atol=1e-4, rtol=1e-4)


def test_ctc_heads_start_alike_and_share_nothing():
    stack = CTCStack([6, 4, 6], 5, True, 8, 5, seed=1)
    for parameter in stack.parameters():
        assert torch.equal(parameter[0], parameter[2])
    stack(torch.randn(3, 2, 20, 6), torch.tensor([20, 20]))[0].sum().backward()
    for parameter in stack.parameters():
        assert parameter.grad[0].abs().sum() > 0
        assert parameter.grad[1:].abs().sum() == 0
    other = CTCStack([6], 5, True, 8, 5, seed=2)
    assert not torch.equal(other.weights[0][0], stack.weights[0][0])


def test_ctc_scores_do_not_depend_on_the_padding():
    stack = CTCStack([6], 5, True, 8, 5, seed=0)
    short = torch.randn(1, 1, 11, 6)
    padded = torch.cat([short, torch.zeros(1, 1, 9, 6)], dim=2)
    alone = stack(short, torch.tensor([11]))
    torch.testing.assert_close(stack(padded, torch.tensor([11]))[:, :, :11], alone)


def test_ctc_batches_hold_every_row_once_in_few_shapes():
    lengths = np.random.default_rng(0).integers(40, 900, 700)
    groups = _batches(lengths, 3200)
    assert sorted(row for rows, _ in groups for row in rows) == list(range(700))
    assert all(max(lengths[rows]) <= time and len(rows) * time <= 3200 for rows, time in groups)
    assert all(min(lengths[rows]) > time / 1.1 - 2 for rows, time in groups)
    assert len({(len(rows), time) for rows, time in groups}) < 90


def test_clipping_one_layer_leaves_the_other_alone():
    stack = CTCStack([4, 4], 3, False, 8, 5, seed=0)
    for parameter in stack.parameters():
        parameter.grad = torch.ones_like(parameter)
        parameter.grad[0] *= 100
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
    assert plain_text("It’s  a QUOTE: 'tis—2 fine!") == "IT'S A QUOTE TIS TWO FINE"
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


def test_probe_speakers_knows_tones_apart_and_confuses_twins(tones, monkeypatch):
    outcomes = probe_speakers("logmel", tones, seeds=2)
    assert len(outcomes) == 6 * 2 * 2
    assert (outcomes["length"] == 1).all()
    error = outcomes.groupby("group")["errors"].mean()
    assert error["apart"] == 0
    assert error["alike"] > 0.2
    wrong = outcomes[outcomes["errors"] == 1]
    assert set(wrong["predicted"]) <= {"s4", "s5"}
    assert provenance(outcomes)["origin"] == "computed"
    monkeypatch.setattr(outcomes_module, "_made", set())  # as in another process
    again = probe_speakers("logmel", tones, seeds=2)
    assert provenance(again)["origin"] == "stored"
    pd.testing.assert_frame_equal(again, outcomes, check_dtype=False)


def test_speakers_with_too_few_utterances_are_named_not_dropped_in_silence(tones, capsys):
    few = tones[~((tones["speaker_id"] == "s0") & (tones.groupby("speaker_id").cumcount() >= 3))]
    outcomes = probe_speakers("logmel", few, seeds=1)
    assert "s0" not in set(outcomes["speaker_id"])
    assert "1 speakers with fewer than 4" in capsys.readouterr().err
    assert provenance(outcomes)["left_out"] == ["s0"]
    assert provenance(probe_speakers("logmel", few, seeds=1))["left_out"] == ["s0"]  # from the store
    with pytest.raises(ProbeError, match="at least two with 4 utterances"):
        probe_speakers("logmel", tones[tones["speaker_id"] == "s1"], seeds=1)


def test_probe_characters_refuses_what_it_cannot_do(tones):
    with pytest.raises(ProbeError, match="choose linear or context"):
        probe_characters("logmel", tones, probe="big")
    for probe in (probe_characters, probe_phones):
        with pytest.raises(CorpusError, match="Corpus 'tones' has no transcripts"):
            probe("logmel", tones)
        with pytest.raises(CorpusError, match="Corpus 'tones' has no transcripts"):
            probe("logmel", tones.drop(columns="text"))
    with (
        pytest.warns(UserWarning, match="48 for no letter"),
        pytest.raises(ProbeError, match="No transcript in the tr"),
    ):
        probe_characters("logmel", tones.assign(text="?!"))
    with pytest.warns(UserWarning, match="another language"), pytest.raises(ProbeError, match="could be aligned with"):
        probe_phones("logmel", tones.assign(text="die Stadt", language="de"))


@pytest.fixture
def read_without_error(monkeypatch):
    """Recognition that reads everything; what it was given is kept."""
    seen = []

    def watched(frames, texts, *, training, **settings):
        seen.append((len(frames), training, [len(one) for one in frames[0]], texts))
        return [texts[training:] for _ in frames]

    monkeypatch.setattr(characters_module, "fit_ctc", watched)
    return seen


def test_utterances_without_words_are_left_out_by_count_and_the_halves_stay(tones, read_without_error):
    words = tones.assign(text="take it")
    before = probe_characters("logmel", words)
    gone = words["speaker_id"].isin(["s0"]) | words["utterance_id"].str.endswith("-7")
    holes = words.assign(text=words["text"].mask(gone, pd.Series(["", None, "(?)", "in 1984"] * 12)))
    with pytest.warns(UserWarning, match=r"13 of 48 utterances .* by group: 4? ?.*alike") as told:
        outcomes = probe_characters("logmel", holes)
    assert sum("left out" in str(one.message) for one in told) == 1
    kept = before[~before["utterance_id"].isin(holes.loc[gone, "utterance_id"])]
    assert sorted(outcomes["utterance_id"]) == sorted(kept["utterance_id"])  # the same people are tested
    left_out = provenance(outcomes)["utterances_left_out"]
    assert (left_out["utterances"], left_out["of"]) == (13, 48)
    assert left_out["by"]["group"] == {"alike": [2, 16], "apart": [11, 32]}
    again = probe_characters("logmel", holes)
    assert provenance(again)["utterances_left_out"] == left_out


def test_what_is_written_without_spaces_has_no_words(tones, read_without_error):
    language = np.where(tones["utterance_id"].str.endswith("-0"), "en", "zh-CN")
    mixed = tones.assign(text=np.where(language == "en", "take it", "你好，世界"), language=language)
    with pytest.warns(UserWarning, match="7 of 8 test utterances of tones are written without spaces"):
        outcomes = probe_characters("logmel", mixed)
    lengths = outcomes.groupby("unit")["length"].agg(list)
    assert set(lengths["word"]) == {2} and len(lengths["word"]) == len(lengths["char"]) / 8
    assert set(lengths["char"]) == {4, 7}
    with pytest.warns(UserWarning, match="8 of 8 test"):
        assert set(probe_characters("logmel", tones.assign(text="你好", language="zh-CN"))["unit"]) == {"char"}


def test_probe_characters_trains_on_the_train_half_alone_and_balances_it(tones, read_without_error):
    seen = read_without_error
    table = tones.assign(text=tones["utterance_id"].map(lambda name: f"take {'abcdefgh'[int(name[-1])]}"))
    table["split"] = np.where(table["speaker_id"].isin(["s3", "s5"]), "test", "train")
    outcomes = probe_characters("logmel", table)
    assert set(outcomes["unit"]) == {"char", "word"} and outcomes["errors"].sum() == 0
    assert set(outcomes["speaker_id"]) == {"s3", "s5"}
    layers, training, lengths, texts = seen[0]
    assert (layers, training, len(texts)) == (1, 32, 48)
    train = table[table["split"] == "train"]
    np.testing.assert_allclose(lengths[:32], train["duration_s"] * 50, atol=1.5)
    assert texts[:32] == train["text"].str.upper().tolist()
    balanced = probe_characters("logmel", table, balance="group")
    assert seen[1][1] == 16  # one of the four training speakers is "alike": eight utterances of each group
    assert set(balanced["probe"]) == {"context, balanced by group"}


def test_probe_phones_on_synthetic_speech():
    corpus = load_corpus("synthetic")
    few = corpus[corpus["group"] != "noisy"]
    outcomes = probe_phones("logmel", few)
    error = outcomes["errors"].sum() / outcomes["length"].sum()
    # Some forty phones: guessing the commonest would be wrong in nine frames of ten.
    assert 0.05 < error < 0.75


def test_probe_phones_leaves_out_who_has_no_words_and_keeps_the_halves(tones, monkeypatch):
    def align(table):
        assert table["text"].notna().all()
        return {name: [("AH", 0.0, 0.2), ("B", 0.2, 0.4)] for name in table["utterance_id"]}

    monkeypatch.setattr("fairlib.probes.alignment.align", align)
    words = tones.assign(text="take it")
    before = probe_phones("logmel", words)
    trained_on = sorted(set(words["speaker_id"]) - set(before["speaker_id"]))
    silent = words["speaker_id"] == trained_on[0]
    with pytest.warns(UserWarning, match="8 of 48 .* left out where their words are needed: 8 for no transcript"):
        outcomes = probe_phones("logmel", words.assign(text=words["text"].mask(silent)))
    assert sorted(set(outcomes["utterance_id"])) == sorted(set(before["utterance_id"]))
    assert provenance(outcomes)["utterances_left_out"]["utterances"] == 8
    with pytest.warns(UserWarning), pytest.raises(ProbeError, match="No utterance in the train half of tones has a ph"):
        probe_phones("logmel", words.assign(text=words["text"].where(~words["speaker_id"].isin(trained_on))))
