"""Pretraining in miniature: each family learns, and a stopped and resumed run gives the weights of one that went on."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from transformers import AutoModel

from fairlib.encoders import EncoderError, devices, load_encoder
from fairlib.training import loop, pretraining
from fairlib.training import speech as speech_module
from fairlib.training.batches import batch_plan, crop, mix, noise_under, span_mask
from fairlib.training.loop import RunError, Schedule, TrainingError, snapshot_steps, train
from fairlib.training.objectives import MaskedPrediction, SelfDistillation, in_context
from fairlib.training.pretraining import RecipeError, pretrain, read_recipe
from fairlib.training.recipe import RECIPES, Augmentation, Batches, Data, Mixing, Targets
from fairlib.training.speech import Speech, frame_count

RECIPE = """
name = "tiny"
family = "{family}"
seed = 3
[[data]]
corpus = "synthetic"
[batches]
seconds = 6
longest_crop_s = 3
mask_share = 0.4
mask_span = 5
[schedule]
steps = {steps}
learning_rate = {rate}
warm_up_steps = 10
decay_share = 0.5
weight_decay = 0.01
gradient_clip = 1.0
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
TARGETS = """
[targets]
features = "mfcc"
smoothing_frames = 5
clusters = 4
unmasked_weight = 0.5
"""
MIXING = """
[mixing]
share = 0.3
noise_share = 0.3
"""
CONTRAST = """
num_codevectors_per_group = 8
num_codevector_groups = 2
codevector_dim = 16
proj_codevector_dim = 16
[contrast]
negatives = 10
temperature = 0.1
diversity_weight = 0.1
gumbel_start = 2.0
gumbel_end = 0.5
"""
DISTILLATION = """
[distillation]
top_blocks = 2
decay_start = 0.9
decay_end = 0.99
decay_rise = 0.5
"""
LINE = Schedule(steps=2, learning_rate=0.1, warm_up_steps=0, decay_share=0, weight_decay=0, gradient_clip=1)
FAMILIES = {"hubert": TARGETS, "wavlm": TARGETS + MIXING, "wav2vec2": CONTRAST, "data2vec": DISTILLATION}


@pytest.fixture
def recipe(tmp_path):
    def write(family="hubert", steps=40, rate="3e-3", more=""):
        path = tmp_path / f"{family}-{steps}.toml"
        path.write_text(RECIPE.format(family=family, steps=steps, rate=rate) + FAMILIES[family] + more)
        return path

    return write


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Utterances that walk through four pitches: targets that masked prediction can learn."""
    folder, rng, paths = tmp_path_factory.mktemp("walks"), np.random.default_rng(0), []
    for number in range(12):
        pitch = np.repeat(rng.choice([200, 500, 1100, 2500], 12), 4800)
        audio = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.005 * rng.standard_normal(len(pitch))
        paths.append(str(folder / f"{number:02d}.wav"))
        soundfile.write(paths[-1], audio, 16000)
    return paths


@pytest.fixture(autouse=True)
def walks_for_a_corpus(files, monkeypatch):
    monkeypatch.setattr(speech_module, "_paths", lambda part: files)


def weights(folder):
    return AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()


@pytest.mark.parametrize(("family", "least"), [("hubert", 0.45), ("wavlm", 0.45), ("wav2vec2", 0.2)])
def test_each_family_learns_and_loads_anywhere(recipe, family, least, tmp_path):
    folder = pretrain(recipe(family, steps=120), tmp_path / "run")
    log = pd.read_csv(folder / "pretraining.csv")
    # Chance is a quarter among four clusters, and one in eleven in the contrastive task.
    assert log["masked_accuracy"].iloc[-1] > least
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["recipe"]["family"] == family and record["cores"] == torch.get_num_threads()
    assert record["hours_heard"] == pytest.approx(120 * 6 / 3600, abs=0.05)
    assert AutoModel.from_pretrained(folder).config.model_type == family
    layers = load_encoder(str(folder), device="cpu").layers_of([np.zeros(16000, np.float32) + 0.01])
    assert set(layers) == {"cnn", "0", "1", "2"}


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "data2vec"])
def test_a_task_can_be_learnt_in_another_familys_network(recipe, family, tmp_path):
    path = recipe(family, steps=3)
    text = (
        path.read_text().replace("seed = 3", 'seed = 3\nnetwork = "wavlm"').replace("embeddings = 16", "embeddings = 1")
    )
    path.write_text(text.replace("embedding_groups = 2", 'embedding_groups = 1\nfeat_extract_norm = "layer"'))
    folder = pretrain(path, tmp_path / "run")
    assert AutoModel.from_pretrained(folder).config.model_type == "wavlm"
    speech = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    changed = np.concatenate([speech[:8000], speech[:8000]])
    one, other = (load_encoder(str(folder), device="cpu").layers_of([audio]) for audio in (speech, changed))
    # Its positional convolution is one frame wide: what comes later reaches the blocks, but not layer 0.
    torch.testing.assert_close(one["0"][0][:20], other["0"][0][:20])
    assert not torch.allclose(one["1"][0][:20], other["1"][0][:20])


def test_wav2vec2_can_be_kept_from_loud_convolutions(recipe, tmp_path):
    sizes = {}
    for penalty in (0.0, 1.0):
        path = recipe("wav2vec2", steps=60)
        path.write_text(path.read_text().replace("negatives = 10", f"negatives = 10\nfeature_penalty = {penalty}"))
        encoder = load_encoder(str(pretrain(path, tmp_path / str(penalty))), device="cpu")
        speech = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
        sizes[penalty] = float(encoder.layers_of([speech])["cnn"][0].square().mean())
    assert sizes[1.0] < sizes[0.0] / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_stopping_and_resuming_changes_no_weight(recipe, family, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 8)
    path = recipe(family, steps=20)
    whole = pretrain(path, tmp_path / "whole")

    cut, calls = pretraining.crop, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return cut(*arguments)

    monkeypatch.setattr(pretraining, "crop", stops)
    with pytest.raises(KeyboardInterrupt):
        pretrain(path, tmp_path / "halves")
    monkeypatch.setattr(pretraining, "crop", cut)
    one, other = weights(whole), weights(pretrain(path, tmp_path / "halves"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=0)


def test_a_student_learns_what_its_slow_copy_hears(recipe, tmp_path):
    folder = pretrain(recipe("data2vec", steps=150), tmp_path / "run")
    log = pd.read_csv(folder / "pretraining.csv")
    assert log["explained"].iloc[-1] > 0.2  # of the variance over time; of nothing learnt it would be none
    assert AutoModel.from_pretrained(folder).config.model_type == "wav2vec2"


def test_the_teacher_of_data2vec_follows_its_student_slowly(recipe):
    torch.manual_seed(0)
    model = SelfDistillation(read_recipe(recipe("data2vec")))
    block, copied = model.encoder.encoder.layers[0].attention.q_proj, model.teacher.layers[0].attention.q_proj
    before = copied.weight.clone()
    with torch.no_grad():
        block.weight.add_(1.0)
    audio, mask = torch.randn(2, 16000), torch.rand(2, 49) < 0.5
    model(audio, torch.zeros(0), mask, 0.0)
    torch.testing.assert_close(copied.weight - before, torch.full_like(before, 0.1), atol=1e-5, rtol=0)
    assert not copied.weight.requires_grad
    # The target comes from unmasked speech: with everything masked the student knows nothing of it, the loss does.
    everything = torch.ones_like(mask)
    one, other = (model(sound, torch.zeros(0), everything, 0.0)[0] for sound in (audio, audio.flip(1)))
    assert one != other


def test_gradients_of_several_batches_make_one_step(tmp_path):
    """Two batches a step move the weights as their mean would."""

    def trained(folder, losses, batches):
        folder.mkdir()
        model = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.constant_(model.weight, 0.5)
        schedule = Schedule(
            steps=3, learning_rate=0.1, warm_up_steps=0, decay_share=0.0, weight_decay=0.0, gradient_clip=9.0
        )
        log = train("sum", model, lambda n: (losses(model, n), 2.0, {}), schedule, 0, folder, batches_per_step=batches)
        return model.weight.detach(), log

    inputs = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    alone = trained(tmp_path / "a", lambda m, n: (m(inputs[n - 1]) - 1).square().mean(), 2)
    joined = trained(tmp_path / "b", lambda m, n: (m(inputs[2 * n - 2 : 2 * n].flatten(0, 1)) - 1).square().mean(), 1)
    half = trained(tmp_path / "c", lambda m, n: (m(inputs[2 * n - 2]) - 1).square().mean(), 1)
    torch.testing.assert_close(alone[0], joined[0], atol=1e-3, rtol=0)  # half precision, where a processor has it
    assert (half[0] - joined[0]).abs().max() > 1e-2  # as it would be if only the first of the two counted
    assert alone[1]["hours_heard"].iloc[-1] == 2 * joined[1]["hours_heard"].iloc[-1]


def test_targets_move_with_speech_that_is_played_faster_or_slower():
    """A tone that begins at 1.5 s is heard, and its target found, at 1.5 s over the speed."""
    samples = 5 * 16000
    audio = (3000 * np.sin(np.arange(samples) / 3)).astype(np.int16)
    audio[:24000] = 0
    frames = int(frame_count(samples))
    targets = (np.arange(frames) * 320 + 200 >= 24000).astype(np.uint16)
    speech = Speech(audio, np.array([0, samples]), targets)
    for speed in (0.9, 1.0, 1.1):
        augmentation = Augmentation(share=1.0, speeds=(speed,))
        for seed in range(5):
            heard, names = crop(speech, 3, np.array([0]), np.random.default_rng(seed), augmentation)
            assert heard.shape == (1, 48000) and names.shape == (1, 149)
            loud = np.array([heard[0, 320 * i : 320 * i + 400].square().mean() > 1e-3 for i in range(149)])
            assert (loud != names[0].numpy().astype(bool)).sum() <= 1
            if 0 < loud.sum() < 149:
                crossings = ((heard[0, 1:] > 0) != (heard[0, :-1] > 0)).float()[320 * np.argmax(loud) + 400 :].mean()
                assert crossings == pytest.approx(speed / 3 / np.pi, rel=0.03)


def test_noise_lies_so_far_under_the_speech():
    audio = np.random.default_rng(1).standard_normal(32000).astype(np.float32)
    noise = noise_under(audio, 12.0, np.random.default_rng(0))
    assert 10 * np.log10(np.square(audio).mean() / np.square(noise).mean()) == pytest.approx(12, abs=0.01)


def test_targets_from_a_batched_teacher_are_those_of_one_utterance_at_a_time(recipe, files, tmp_path):
    first = pretrain(recipe(steps=20), tmp_path / "first")
    teacher = load_encoder(str(first), device="cpu")
    lengths = [16000, 300, 40000, 24000]  # one is too short for a frame
    rng = np.random.default_rng(0)
    audio = (3000 * rng.standard_normal(sum(lengths))).astype(np.int16)
    speech = Speech(audio, np.cumsum([0, *lengths]), None)
    targets = Targets(features=str(first), layer="2", clusters=4, unmasked_weight=0.5)
    together = speech_module._target_features(targets, teacher, speech)
    alone = [teacher.layers_of([speech.utterance(row)])["2"][0].numpy() for row in (0, 2, 3)]
    assert np.abs(together - np.concatenate(alone)).max() < 5e-3


def test_encoders_along_the_way_are_kept(recipe, tmp_path):
    folder = pretrain(recipe(steps=120), tmp_path / "run")
    kept = sorted(int(step.name) for step in (tmp_path / "run" / "steps").iterdir())
    assert kept == snapshot_steps(120) == [0, 100, 120]
    first, last, final = (weights(f) for f in (tmp_path / "run/steps/0", tmp_path / "run/steps/120", folder))
    name = "encoder.layers.0.attention.q_proj.weight"
    assert torch.equal(last[name], final[name])
    assert not torch.equal(first[name], last[name])


def test_a_second_iteration_learns_from_the_first_ones_layers(recipe, files, tmp_path):
    first = pretrain(recipe(steps=20), tmp_path / "first")
    second = tmp_path / "second.toml"
    targets = TARGETS.replace('"mfcc"', f'"{first}"\nlayer = "1"').replace("clusters = 4", "clusters = 6")
    second.write_text(RECIPE.format(family="hubert", steps=20, rate="1e-3") + targets)
    pretrain(second, tmp_path / "second")
    codes = np.load(tmp_path / "second" / "targets.npy")
    assert set(codes) == set(range(6))
    assert len(codes) == 12 * ((12 * 4800 - 400) // 320 + 1)

    second.write_text(second.read_text().replace('layer = "1"', 'layer = "7"'))
    with pytest.raises(RecipeError, match="has no layer '7'; it has cnn, 0, 1, 2"):
        pretrain(second, tmp_path / "third")
    assert not (tmp_path / "third" / "audio.int16").exists()  # told before any audio was decoded


def test_wav2vec2_can_start_from_the_convolutions_of_another_encoder(recipe, tmp_path):
    first = pretrain(recipe(steps=20), tmp_path / "first")
    path = recipe("wav2vec2", steps=2)
    path.write_text(path.read_text().replace("negatives", f'convolutions = "{first}"\nnegatives'))
    pretrain(path, tmp_path / "second")
    name = "feature_extractor.conv_layers.3.conv.weight"
    assert torch.equal(weights(tmp_path / "second/steps/0")[name], weights(first)[name])
    path.write_text(path.read_text().replace(str(first), "pocket-hubert-it1"))
    with pytest.raises(RecipeError, match="convolutions of pocket-hubert-it1 are not of the recipe's shape"):
        pretrain(path, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_convolutions_that_cannot_be_had_are_refused_in_one_sentence(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))  # where nobody has trained them
    first = pretrain(recipe(steps=2), tmp_path / "first")
    path = recipe("wav2vec2", steps=2)
    text = path.read_text()
    for name, error, sentence in (
        ("logmel", RecipeError, "^logmel has no convolutions to start from"),
        ("midi-hubert", EncoderError, "weights of midi-hubert do not ship; make them: fairlib pretrain midi-hubert"),
    ):
        path.write_text(text.replace("negatives", f'convolutions = "{name}"\nnegatives'))
        with pytest.raises(error, match=sentence):
            pretrain(path, tmp_path / "second")
    # Older checkpoints hold a pickle.
    torch.save(weights(first), first / "pytorch_model.bin")
    (first / "model.safetensors").unlink()
    path.write_text(text.replace("negatives", f'convolutions = "{first}"\nnegatives'))
    pretrain(path, tmp_path / "second")


def test_a_loss_that_is_no_number_stops_with_one_sentence(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 4)
    cut, steps = pretraining.crop, iter(range(100))

    def poisoned(*arguments):
        audio, targets = cut(*arguments)
        return (audio * float("nan") if next(steps) == 9 else audio), targets

    monkeypatch.setattr(pretraining, "crop", poisoned)
    # On a GPU the loss is read where something is kept.
    found = 12 if torch.cuda.is_available() else 10
    with pytest.raises(TrainingError, match=f"loss at step {found} is nan.*checkpoint.pt is intact"):
        pretrain(recipe(steps=20), tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_a_gradient_that_is_no_number_stops_before_the_checkpoint_takes_it(tmp_path):
    """Of a finite loss too: the root of 0 is 0, and its slope infinite."""
    model, schedule = torch.nn.Linear(1, 1), LINE.model_copy(update={"steps": 1})
    with pytest.raises(TrainingError, match="^x: the norm of the gradient at step 1 is nan: lower the learning rate"):
        train("x", model, lambda step: ((model.weight * 0).sum().sqrt(), 1.0, {}), schedule, 0, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists() and torch.isfinite(model.weight).all()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, None])
def test_half_precision_is_used_only_where_small_gradients_survive_it(half, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "half_precision", lambda kind: half)
    model, seen = torch.nn.Linear(1, 1), []

    def loss_of(step):
        made = model(torch.ones(1, 1))
        seen.append(made.dtype)
        return made.float().square().sum(), 1.0, {}

    train("x", model, loss_of, LINE, 0, tmp_path)
    assert set(seen) == {torch.bfloat16 if half == torch.bfloat16 else torch.float32}


@pytest.mark.parametrize("family", ["hubert", "wavlm"])
def test_masked_speech_goes_through_the_encoder_as_the_model_itself_does_it(recipe, family):
    torch.manual_seed(0)
    encoder = MaskedPrediction(read_recipe(recipe(family))).encoder.train()  # in evaluation it would not mask
    audio, mask = torch.randn(2, 16000), torch.rand(2, 49) < 0.5
    own = encoder(audio, mask_time_indices=mask).last_hidden_state
    assert torch.equal(in_context(encoder, encoder.feature_extractor(audio), mask), own)


def test_what_is_made_ahead_comes_in_order_and_no_further_than_asked():
    asked = []

    def task_of(number):
        asked.append(number)
        return lambda: number**2

    for threads in (0, 2):
        asked.clear()
        ahead = pretraining._ahead(task_of, 7, threads)
        assert [ahead(number) for number in range(3, 8)] == [9, 16, 25, 36, 49]
        assert asked == [3, 4, 5, 6, 7]


def test_masked_frames_are_hidden_from_the_encoder(recipe):
    """A mask that reached no frame would let the model see what it is to guess."""
    torch.manual_seed(0)
    model = MaskedPrediction(read_recipe(recipe())).eval()
    audio, targets = torch.randn(1, 16000), torch.zeros(1, 49, dtype=torch.long)
    mask = torch.zeros(1, 49, dtype=torch.bool)
    bare = model(audio, targets, ~mask, 0.0)[0]
    other = model(torch.randn(1, 16000), targets, ~mask, 0.0)[0]
    assert bare == other  # all is masked: nothing of the audio is left
    assert model(audio, targets, mask, 0.0)[0] != bare


def test_masks_cover_their_share_in_spans():
    mask = span_mask((200, 300), 0.5, 10, np.random.default_rng(0)).numpy()
    assert abs(mask.mean() - 0.5) < 0.02
    edges = np.diff(mask[:, :].astype(int), axis=1)
    assert mask.sum() / (edges == 1).sum() > 10  # spans overlap, so they are longer than 10 on average


def test_an_epoch_hears_all_speech_in_batches_of_equal_length():
    lengths = (np.array([1.5, 2.2, 2.9, 3.5, 4.0, 9.0, 12.5] * 4) * 16000).astype(int)
    batch = batch_plan(lengths, Batches(seconds=8, longest_crop_s=4, mask_share=0.4, mask_span=5), seed=0)
    steps = [batch(step) for step in range(1, 500)]
    assert {seconds for seconds, _ in steps} == {2, 3, 4}
    for seconds, utterances in steps:
        assert len(utterances) == 8 // seconds
        assert (lengths[utterances] >= seconds * 16000).all()
    heard = np.bincount(np.concatenate([utterances for _, utterances in steps]), minlength=28).reshape(4, 7).sum(0)
    assert heard[0] == 0  # shorter than two seconds
    assert heard[6] / heard[4] == pytest.approx(3, rel=0.1)  # 12 s hold three crops of 4 s
    assert [u.tolist() for _, u in map(batch, [3, 400])] == [u.tolist() for _, u in (steps[2], steps[399])]


def test_mixing_covers_up_to_half_and_at_the_stated_energy():
    audio = torch.randn(400, 8000)
    mixed = mix(audio, Mixing(share=0.25, noise_share=0.0), np.random.default_rng(0))
    touched = (mixed != audio).float().mean(dim=1)
    assert (touched > 0).float().mean() == pytest.approx(0.25, abs=0.06)
    assert touched.max() <= 0.5
    added = [(m - a)[m != a].square().mean() for m, a in zip(mixed, audio) if (m != a).sum() > 500]
    ratios = -10 * torch.log10(torch.stack(added))  # the audio's own power is one
    assert ratios.min() > -6 and ratios.max() < 6


def test_targets_stand_where_the_encoders_frames_are():
    """A tone that begins at 0.5 s changes the MFCC of frames centred after it, and the numbers of frames agree."""
    audio = 0.001 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    audio[8000:] += 0.3 * np.sin(np.arange(8000) / 3).astype(np.float32)
    mfcc = speech_module.frame_mfcc(audio, smoothing=1)
    assert len(mfcc) == (16000 - 400) // 320 + 1
    jump = np.abs(np.diff(mfcc[:, 0])).argmax()
    assert abs((320 * (jump + 0.5) + 200) - 8000) <= 320


def test_hours_and_halves_choose_the_speech(monkeypatch):
    monkeypatch.undo()
    corpus = pd.DataFrame(
        {
            "path": [f"{n}.wav" for n in range(200)],
            "speaker_id": [f"s{n % 8}" for n in range(200)],
            "duration_s": 36.0,
            "corpus": "made",
        }
    )
    monkeypatch.setattr(speech_module, "load_corpus", lambda name: corpus)
    train_half = speech_module._paths(Data(corpus="made", split="train"))
    assert len(train_half) == 150  # six of eight speakers
    some = speech_module._paths(Data(corpus="made", split="train", hours=1.0))
    assert len(some) == 100 and set(some) < set(train_half)
    assert some == speech_module._paths(Data(corpus="made", split="train", hours=1.0))


def test_the_rate_rises_stays_and_falls():
    schedule = Schedule(
        steps=100, learning_rate=2.0, warm_up_steps=10, decay_share=0.5, weight_decay=0.0, gradient_clip=1.0
    )
    rates = [schedule.rate(step) for step in range(1, 101)]
    assert rates[:10] == pytest.approx(np.linspace(0.2, 2, 10))
    assert set(rates[10:50]) == {2.0}
    assert rates[50:] == pytest.approx(np.linspace(2, 0.04, 50))


def test_frozen_parameters_stay(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    model[0].requires_grad_(False)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    schedule = Schedule(
        steps=5, learning_rate=0.1, warm_up_steps=0, decay_share=0.0, weight_decay=0.1, gradient_clip=1.0
    )
    train("frozen", model, lambda step: (model(torch.ones(1, 3)).square().sum(), 1.0, {}), schedule, 0, tmp_path)
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters())]
    assert changed == [False, False, True, True]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("\nsteps =", "\nstepps ="), "schedule.steps: field required; schedule.stepps: extra inputs"),
        (("clusters = 4", "clusters = 1"), "targets.clusters: input should be greater than 1"),
        (("[model]", "[model"), "is not valid TOML"),
        (("hidden_size", "hiden_size"), r"no model.hiden_size, did you mean 'hidden_size'\? allowed are .*Hubert"),
        (("[model]", "[model]\nhidden_dropout = 0.1"), "model.hidden_dropout cannot be chosen: it is 0 in all recipes"),
        (("[model]", "[model]\nnum_codevectors_per_group = 8"), "there is no model.num_codevectors_per_group"),
        (('"hubert"', '"wav2vec2"'), r"wav2vec2 needs the parts \['contrast'\], not \['targets'\]"),
        (('"mfcc"', '"pocket-hubert"'), "targets from an encoder need its layer"),
    ],
)
def test_a_wrong_recipe_is_refused(recipe, change, sentence):
    path = recipe()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(RecipeError, match=sentence):
        read_recipe(path)


def test_a_recipe_in_another_encoding_is_refused(recipe):
    path = recipe()
    path.write_bytes(path.read_bytes() + "# für".encode("latin-1"))
    with pytest.raises(RecipeError, match="is not valid TOML: 'utf-8' codec can't decode"):
        read_recipe(path)


def test_a_corpus_without_speech_is_refused(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(speech_module, "_paths", lambda part: [])
    with pytest.raises(RecipeError, match="no utterance of at least two seconds"):
        pretrain(recipe(), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.npy"))


def test_another_recipes_folder_is_refused(recipe, tmp_path):
    pretrain(recipe(steps=2), tmp_path / "run")
    with pytest.raises(RunError, match="holds another run"):
        pretrain(recipe(steps=3), tmp_path / "run")


def test_a_folder_in_which_another_process_trains_is_refused_until_that_one_ends(recipe, tmp_path):
    output = tmp_path / "run"
    hold = "import sys, pathlib; from fairlib.training.loop import claimed\n"
    hold += "with claimed(pathlib.Path(sys.argv[1]), sys.argv[2]): print('in', flush=True); sys.stdin.read()"
    run = read_recipe(recipe(steps=2)).model_dump_json(indent=1)
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(output), run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(RunError, match=f"another process is training in {output}"):
            pretrain(recipe(steps=2), output)
        assert not (output / "starts.npy").exists()
        other.kill()  # a lock is not left behind by one that dies
    pretrain(recipe(steps=2), output)


def test_an_unknown_recipe_names_the_shipped_ones():
    with pytest.raises(RecipeError, match="no recipe 'pocket-bert'.*pocket-hubert"):
        read_recipe("pocket-bert")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_sound(path):
    assert read_recipe(path.stem).name == path.stem
