"""Fine-tuning in miniature: a pretrained encoder learns to spell tones, and a stopped run goes on unchanged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from transformers import (
    AutoModel,
    AutoModelForCTC,
    AutoProcessor,
    BertConfig,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)
from transformers import WavLMModel as WavLM

from fairlib.corpora import CorpusError
from fairlib.encoders import EncoderError, finetuned_from, load_encoder
from fairlib.training import finetuning, loop
from fairlib.training.finetuning import FinetuningError, finetune
from fairlib.training.loop import RunError, Schedule

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "final_dropout": 0.0, "layerdrop": 0.0,
}  # fmt: skip
TONES = {"A": 250, "B": 600, "C": 1400, "D": 3000}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**SMALL)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def spelt_tones(tmp_path, monkeypatch):
    """Each letter is a tone of 0.2 s: eight speakers, twelve utterances each."""
    rng, rows = np.random.default_rng(0), []
    for number in range(96):
        letters = "".join(rng.choice(list(TONES), 5))
        pitch = np.repeat([TONES[letter] for letter in letters], 3200)
        audio = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.003 * rng.standard_normal(len(pitch))
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, audio, 16000)
        row = {"utterance_id": str(number), "path": str(path), "speaker_id": f"s{number % 8}", "text": letters}
        rows.append(row | {"duration_s": 1.0, "corpus": "tones"})
    table = pd.DataFrame(rows)
    monkeypatch.setattr(finetuning, "load_corpus", lambda name: table)
    monkeypatch.setattr(finetuning, "SECONDS_PER_STEP", 12)
    return table


def schedule(steps):
    return Schedule(
        steps=steps, learning_rate=5e-3, warm_up_steps=20, decay_share=0.4, weight_decay=0.0, gradient_clip=1.0
    )


def test_it_learns_to_spell_and_loads_anywhere(encoder, spelt_tones, tmp_path):
    folder = finetune(encoder, "tones", tmp_path / "run", schedule=schedule(250))
    record = json.loads((folder / "finetuning.json").read_text())
    assert record["test_character_error"] < 0.4  # blanks alone would be 1, one letter everywhere about 0.75
    assert finetuned_from(str(folder)) == (encoder, "tones")
    assert set(load_encoder(str(folder), device="cpu").layers) == {"cnn", "0", "1", "2"}

    # As a stranger would use it: the scores turn into text, with as many errors as were written down.
    model, processor = AutoModelForCTC.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    test = spelt_tones[finetuning.halves(spelt_tones) == "test"]
    hypotheses = []
    for path in test["path"]:
        inputs = processor(soundfile.read(path)[0], sampling_rate=16000, return_tensors="pt").input_values
        with torch.inference_mode():
            hypotheses += processor.batch_decode(model(inputs).logits.argmax(dim=-1))
    errors = finetuning.count_errors(test["text"].tolist(), hypotheses, "char")
    assert errors["errors"].sum() / errors["length"].sum() == pytest.approx(record["test_character_error"], abs=0.03)


def test_the_convolutions_stay_as_they_were(encoder, spelt_tones, tmp_path):
    folder = finetune(encoder, "tones", tmp_path / "run", schedule=schedule(3))
    before, after = (AutoModel.from_pretrained(f).state_dict() for f in (encoder, folder))
    for name in before:
        same = torch.allclose(before[name], after[name], atol=1e-3, rtol=1e-3)  # half precision when saved
        assert same or not name.startswith("feature_extractor"), name
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.allclose(before[name], after[name], atol=1e-3, rtol=1e-3)


def test_stopping_and_resuming_changes_no_weight(encoder, spelt_tones, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)
    whole = finetune(encoder, "tones", tmp_path / "whole", schedule=schedule(12))
    log_probs, calls = finetuning._log_probs, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return log_probs(*arguments)

    monkeypatch.setattr(finetuning, "_log_probs", stops)
    with pytest.raises(KeyboardInterrupt):
        finetune(encoder, "tones", tmp_path / "halves", schedule=schedule(12))
    monkeypatch.setattr(finetuning, "_log_probs", log_probs)
    halves = finetune(encoder, "tones", tmp_path / "halves", schedule=schedule(12))
    one, other = (AutoModelForCTC.from_pretrained(f).state_dict() for f in (whole, halves))
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=0)


def test_wavlm_can_be_fine_tuned_too(spelt_tones, tmp_path):
    WavLM(WavLMConfig(**SMALL)).save_pretrained(tmp_path / "wavlm")
    folder = finetune(str(tmp_path / "wavlm"), "tones", tmp_path / "run", schedule=schedule(3))
    assert AutoModel.from_pretrained(folder).config.model_type == "wavlm"


def test_an_encoder_without_weights_is_refused_before_the_folder_is_claimed(spelt_tones, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))  # where nobody has trained them
    HubertConfig(**SMALL).save_pretrained(tmp_path / "bare")
    with pytest.raises(EncoderError, match="bare holds no weights"):
        finetune(str(tmp_path / "bare"), "tones", tmp_path / "run")
    with pytest.raises(EncoderError, match="weights of midi-hubert do not ship; make them"):
        finetune("midi-hubert", "tones", tmp_path / "run")
    for name in ("logmel", "logmel-25ms", "random:pocket-hubert"):
        with pytest.raises(FinetuningError, match=f"^{name} has no trained weights to fine-tune: give a shipped"):
            finetune(name, "tones", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_record_names_what_lies_here_from_any_folder(encoder, spelt_tones, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(encoder).parent)
    (tmp_path / "list.csv").touch()
    listed = os.path.relpath(tmp_path / "list.csv")
    folder = finetune(Path(encoder).name, listed, tmp_path / "run", schedule=schedule(2))
    assert finetuned_from(str(folder)) == (encoder, str(tmp_path / "list.csv"))


@pytest.fixture
def heard(monkeypatch):
    """What the convolutions of a fine-tuning are given."""
    waveforms, make = [], finetuning._ctc_model

    def watched(*arguments):
        model = make(*arguments)
        extractor = model.base_model.feature_extractor
        extractor.register_forward_pre_hook(lambda _, given: waveforms.append(given[0].clone()))
        return model

    monkeypatch.setattr(finetuning, "_ctc_model", watched)
    return waveforms


@pytest.mark.parametrize("normalise", [True, False])
def test_waveforms_are_heard_as_the_checkpoint_wants_them(normalise, encoder, heard, spelt_tones, tmp_path):
    shutil.copytree(encoder, tmp_path / "own")
    Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(tmp_path / "own")
    folder = finetune(str(tmp_path / "own"), "tones", tmp_path / "run", schedule=schedule(2))
    deviations = torch.stack([waveform.std() for waveform in heard])
    assert torch.allclose(deviations, torch.tensor(1.0 if normalise else 0.3 / 2**0.5), rtol=0.01)
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"] is normalise
    # Ours are not, and their records stay as they were.
    assert json.loads((folder / "finetuning.json").read_text()).get("normalised", False) is normalise


@pytest.mark.parametrize("settings", [{"apply_spec_augment": False}, {"mask_time_prob": 0.0}, {}])
def test_frames_are_masked_whatever_the_checkpoint_says_of_its_own_masks(settings, spelt_tones, tmp_path, monkeypatch):
    torch.manual_seed(0)
    HubertModel(HubertConfig(**SMALL, **settings)).save_pretrained(tmp_path / "own")
    log_probs, same = finetuning._log_probs, []

    def watched(model, features, lengths, mask):
        if mask is not None and not same:
            everything = torch.ones_like(mask)
            one, other = (log_probs(model, each, lengths, everything) for each in (features, features.flip(1)))
            same.append(torch.equal(one, other) and bool(torch.isfinite(one).all()))
        return log_probs(model, features, lengths, mask)

    monkeypatch.setattr(finetuning, "_log_probs", watched)
    folder = finetune(str(tmp_path / "own"), "tones", tmp_path / "run", schedule=schedule(2))
    assert same == [True]  # of what is masked nothing is heard
    load_encoder(str(folder), device="cpu")


def test_a_family_without_ctc_is_refused(spelt_tones, tmp_path):
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(FinetuningError, match="family bert, for which fine-tuning is not made"):
        finetune(str(tmp_path / "bert"), "tones", tmp_path / "run")


def test_speech_without_transcripts_is_refused(encoder, spelt_tones, tmp_path):
    spelt_tones["text"] = None
    with pytest.raises(CorpusError, match="Corpus 'tones' has no transcripts"):
        finetune(encoder, "tones", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_nobody_wrote_down_is_left_out_with_a_count_and_the_halves_stay(encoder, spelt_tones, tmp_path):
    hours = spelt_tones.groupby(finetuning.halves(spelt_tones))["duration_s"].sum() / 3600
    spelt_tones.loc[spelt_tones["speaker_id"] == "s3", "text"] = ["", None, "(?)", "[noise]"] * 3
    with pytest.warns(UserWarning, match="12 of 96 utterances of corpus 'tones' are left out"):
        folder = finetune(encoder, "tones", tmp_path / "run", schedule=schedule(2))
    record = json.loads((folder / "finetuning.json").read_text())
    lost = 12 / 3600 if (finetuning.halves(spelt_tones)[spelt_tones["speaker_id"] == "s3"] == "train").all() else 0
    assert record["hours_of_speech"] == pytest.approx(hours["train"] - lost, abs=0.006)


def test_a_transcript_that_cannot_be_spelt_is_refused_before_any_work(encoder, spelt_tones, tmp_path):
    spelt_tones.loc[5, "text"] = "ДА"
    with pytest.raises(FinetuningError, match="transcript of 5 in tones has 'А', 'Д', which is not among A to Z"):
        finetune(encoder, "tones", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_runs_folder_is_refused(encoder, spelt_tones, tmp_path):
    finetune(encoder, "tones", tmp_path / "run", schedule=schedule(2))
    with pytest.raises(RunError, match="holds another run"):
        finetune(encoder, "tones", tmp_path / "run", seed=1, schedule=schedule(2))
