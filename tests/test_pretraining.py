"""Pretraining in miniature: it learns, and stopping and resuming gives the weights of never having stopped."""

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

from fairlib import pretraining
from fairlib.encoders import load_encoder
from fairlib.pretraining import PretrainingError, RecipeError, read_recipe, span_mask, train

RECIPE = """
name = "tiny"
seed = 3
[[data]]
corpus = "synthetic"
[targets]
clusters = 4
smoothing_frames = 5
[training]
steps = {steps}
seconds_per_step = 6.0
longest_crop_s = 2.0
learning_rate = {rate}
warm_up = 0.1
weight_decay = 0.01
gradient_clip = 1.0
mask_share = 0.4
mask_span = 5
unmasked_weight = 0.5
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
conv_dim = [16, 16, 16, 16, 16, 16, 16]
num_conv_pos_embeddings = 16
num_conv_pos_embedding_groups = 2
do_stable_layer_norm = true
"""


@pytest.fixture
def recipe(tmp_path):
    def write(steps=40, rate="3e-3", more=""):
        path = tmp_path / "tiny.toml"
        path.write_text(RECIPE.format(steps=steps, rate=rate) + more)
        return read_recipe(path)

    return write


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Utterances that walk through four pitches: targets that masked prediction can learn."""
    folder, rng, paths = tmp_path_factory.mktemp("walks"), np.random.default_rng(0), []
    for number in range(12):
        pitch = np.repeat(rng.choice([200, 500, 1100, 2500], 12), 3200)
        audio = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.005 * rng.standard_normal(len(pitch))
        paths.append(str(folder / f"{number:02d}.wav"))
        soundfile.write(paths[-1], audio, 16000)
    return paths


def prepared(recipe, paths, output):
    output.mkdir(exist_ok=True)
    names = ("audio", "audio_starts", "targets", "target_starts")
    arrays = {name: output / f"{name}.npy" for name in names}
    pretraining._prepare(recipe, paths, arrays)
    return pretraining.Speech(**{name: np.load(file, mmap_mode="r") for name, file in arrays.items()})


def test_it_learns_and_loads_anywhere(recipe, files, tmp_path):
    settings = recipe(steps=150)
    speech = prepared(settings, files, tmp_path / "run")
    folder = train(settings, speech, tmp_path / "run")
    log = np.loadtxt(tmp_path / "run" / "losses.csv", delimiter=",", skiprows=1)
    assert log[-1, 1] < 0.8 * np.log(4)
    assert log[-1, 2] > 0.45  # chance is about a quarter
    assert AutoModel.from_pretrained(folder).config.model_type == "hubert"
    layers = load_encoder(str(folder), device="cpu").layers_of([np.zeros(16000, np.float32) + 0.01])
    assert set(layers) == {"cnn", "0", "1", "2"}


def test_stopping_and_resuming_changes_no_weight(recipe, files, tmp_path, monkeypatch):
    settings = recipe(steps=20)
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 8)
    whole = train(settings, prepared(settings, files, tmp_path / "whole"), tmp_path / "whole")

    speech = prepared(settings, files, tmp_path / "halves")
    cut, calls = pretraining.crop, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return cut(*arguments)

    monkeypatch.setattr(pretraining, "crop", stops)
    with pytest.raises(KeyboardInterrupt):
        train(settings, speech, tmp_path / "halves")
    monkeypatch.setattr(pretraining, "crop", cut)
    halves = train(settings, speech, tmp_path / "halves")
    one, other = (AutoModel.from_pretrained(f, dtype=torch.float32).state_dict() for f in (whole, halves))
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=0)


def test_a_loss_that_is_no_number_stops_with_one_sentence(recipe, files, tmp_path, monkeypatch):
    settings = recipe(steps=20)
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 4)
    speech = prepared(settings, files, tmp_path / "run")
    cut, steps = pretraining.crop, iter(range(100))

    def poisoned(recipe, speech, utterances, rng):
        audio, targets = cut(recipe, speech, utterances, rng)
        return (audio * float("nan") if next(steps) == 9 else audio), targets

    monkeypatch.setattr(pretraining, "crop", poisoned)
    with pytest.raises(PretrainingError, match="loss at step 10 is nan"):
        train(settings, speech, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    assert all(torch.isfinite(tensor).all() for tensor in state["encoder"].values())


def test_masks_cover_their_share_in_spans():
    mask = span_mask((200, 300), 0.5, 10, np.random.default_rng(0)).numpy()
    assert abs(mask.mean() - 0.5) < 0.02
    edges = np.diff(mask[:, :].astype(int), axis=1)
    assert mask.sum() / (edges == 1).sum() > 10  # spans overlap, so they are longer than 10 on average


def test_targets_stand_where_the_encoders_frames_are():
    """A tone that begins at 0.5 s changes the MFCC of frames centred after it, and the numbers of frames agree."""
    audio = 0.001 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    audio[8000:] += 0.3 * np.sin(np.arange(8000) / 3).astype(np.float32)
    mfcc = pretraining.frame_mfcc(audio, smoothing=1)
    assert len(mfcc) == (16000 - 400) // 320 + 1
    jump = np.abs(np.diff(mfcc[:, 0])).argmax()
    assert abs((320 * (jump + 0.5) + 200) - 8000) <= 320


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("steps =", "stepps ="), "training.steps: field required; training.stepps: extra inputs"),
        (("clusters = 4", "clusters = 1"), "targets.clusters: input should be greater than 1"),
        (("[model]", "[model"), "is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, change, sentence):
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.format(steps=5, rate="1e-3").replace(*change))
    with pytest.raises(RecipeError, match=sentence):
        read_recipe(path)


def test_an_unknown_recipe_names_the_shipped_ones():
    with pytest.raises(RecipeError, match="no recipe 'pocket-bert'.*pocket-hubert"):
        read_recipe("pocket-bert")
